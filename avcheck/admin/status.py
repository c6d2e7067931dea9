"""avcheckctl status: held back or not, and what is in flight."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from time import time
from typing import TYPE_CHECKING

import click

from avcheck import canary
from avcheck.admin import given, hold, output, places
from avcheck.admin.output import Trouble
from avcheck.attempts import PREFIX
from avcheck.printable import printable

if TYPE_CHECKING:
    from avcheck.settings import Settings

# The result of a known-answer test is one byte.
CANARY_MAX = 1024


@dataclass(frozen=True)
class Canary:
    """The result of the last known-answer test of a scanner, which its file is named after."""

    scanner: str
    good: bool
    time: str
    age_seconds: float


@dataclass(frozen=True)
class State:
    """Of one spool directory and one waitfile."""

    service: str
    waitfile: str
    paused: bool
    reason: str = ""
    until: str = ""
    by: str = ""
    overdue: bool = False
    held: int = 0
    spool: str = ""
    in_flight: list[int] = field(default_factory=list)
    slots: int = 0
    slots_taken: int = 0
    canaries: list[Canary] = field(default_factory=list)
    counted_messages: int = 0


def state(service: given.Service) -> State:
    """The state of what this service uses; raises Trouble where it cannot be seen."""
    settings = service.sure
    facts: dict[str, object] = {}
    if settings.waitfile:
        place = hold.Place(settings.waitfile, settings.spool)
        note = hold.read(place)
        if note is not None:
            facts |= {
                "paused": True,
                "reason": note.reason,
                "until": note.end,
                "by": note.by,
                "overdue": bool(note.end) and note.end <= hold.now(),
                "held": hold.held_back(place),
            }
    if settings.spool:
        facts |= _spool(settings)
    return State(
        service.name,
        printable(settings.waitfile),
        bool(facts.pop("paused", False)),
        spool=printable(settings.spool),
        **facts,  # type: ignore[arg-type] # as the class has them
    )


def _spool(settings: Settings) -> dict[str, object]:
    try:
        with places.opened(settings.spool) as folder:
            names = folder.names()
            slots = [name for name in names if name.startswith(b"slot.")]
            return {
                "in_flight": hold.lock_holders(os.fstat(folder.fd), "READ"),
                "slots": settings.slots or len(slots),
                "slots_taken": sum(
                    bool(hold.lock_holders(folder.status(slot), "WRITE")) for slot in slots
                ),
                "canaries": [
                    found
                    for name in names
                    if name.startswith(b"canary.") and (found := _canary(folder, name))
                ],
                "counted_messages": sum(name.startswith(PREFIX) for name in names),
            }
    except OSError as why:
        raise Trouble(f"{printable(settings.spool)}: {why.strerror}", "run this as root") from why


def _canary(folder: places.Folder, file: bytes) -> Canary | None:
    """The result in the file; None for what is no file of avcheck's."""
    try:
        good = folder.read(file, CANARY_MAX)[:1] == canary.GOOD
        when = folder.status(file).st_mtime
    except OSError:
        return None
    stamp = output.moment(when).isoformat(timespec="seconds")
    return Canary(_place(file.removeprefix(b"canary.")), good, stamp, round(time() - when, 3))


def _place(name: bytes) -> str:
    """The scanner that the file is about: its type and place, which are in the name in hex."""
    try:
        kind, _, _, where, *_ = bytes.fromhex(name.decode("ascii")).split(b"\n")
    except ValueError:  # a long one is a digest
        return printable(name, 40)
    return printable(kind + b" " + where)


@click.command()
@output.json_option
@given.takes("waitfile", "spool", "slots")
def command(site: given.Site, as_json: bool) -> None:
    """Show whether mail is held back and why, what is in flight, and the last known-answer tests.

    Exit status: 0 mail is checked, 1 it is held back, 2 it could not be found out.
    """
    states = [state(service) for service in site.services]
    if not any(each.waitfile or each.spool for each in states):
        raise click.UsageError("-w or --waitfile or -d or --spool is needed, or --postfix")
    if as_json:
        output.as_json([asdict(each) for each in states])
    else:
        for number, each in enumerate(states):
            if number:
                output.say()
            output.table(rows(each))
    if any(each.paused for each in states):
        raise SystemExit(1)


def rows(each: State) -> list[tuple[str, str | output.Styled]]:
    """The state for a person."""
    found: list[tuple[str, str | output.Styled]] = [("Service", each.service)]
    if each.paused:
        since = each.by or "unknown"
        found.append(("Mail", output.Styled(f"held back by {each.waitfile}", output.BAD)))
        if each.reason:
            found.append(("Reason", each.reason))
        if each.until:
            late = output.Styled(f"{each.until}, which is over", output.DOUBTFUL)
            found.append(("Until", late if each.overdue else each.until))
        found.append(("By", since))
        found.append(("Held back", f"{each.held} attempts" if each.held >= 0 else "not counted"))
    elif each.waitfile:
        found.append(("Mail", output.Styled("checked", output.GOOD)))
    if each.spool:
        processes = f" (processes {', '.join(map(str, each.in_flight))})" if each.in_flight else ""
        found.append(("In flight", f"{len(each.in_flight)}{processes}"))
        if each.slots:
            found.append(("Slots", f"{each.slots_taken} of {each.slots} taken"))
        if each.counted_messages:
            found.append(("Scanned in vain", f"{each.counted_messages} messages (--attempts)"))
        for canary_ in each.canaries:
            word = "knows the test virus" if canary_.good else "DOES NOT KNOW THE TEST VIRUS"
            colour = output.GOOD if canary_.good else output.BAD
            text = f"{canary_.scanner} {word}, {output.age(canary_.age_seconds)} ago"
            found.append(("Canary", output.Styled(text, colour)))
    return found
