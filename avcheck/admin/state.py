"""What is known of a service at this moment: is mail checked, what is in flight, what waits?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from time import time
from typing import TYPE_CHECKING

from avcheck.admin import amounts, deferred, flight, locks, pausing, places, sites
from avcheck.admin.asking import Answer, Asked, place
from avcheck.admin.flight import Flight
from avcheck.admin.output import Trouble
from avcheck.admin.services import Service
from avcheck.printable import printable
from avcheck.state import canary
from avcheck.state.attempts import PREFIX

if TYPE_CHECKING:
    from avcheck.settings import Scanner, Settings, Target

# The result of a known-answer test is one byte.
CANARY_MAX = 1024

# Seconds for all places of all scanners together.
PATIENCE = 5.0

HIDDEN = f"this account may not ask every scanner: {places.AS_ROOT}"


@dataclass(frozen=True)
class Canary:
    """The result of the last known-answer test of a scanner."""

    scanner: str
    where: str
    good: bool
    time: str
    age_seconds: float


@dataclass(frozen=True)
class State:
    """Of one service: its waitfile, its scanners, its spool directory; and the queue behind it.

    checked tells that mail gets a verdict: nothing holds it back, and as many scanners
    answer as are needed.  left_over names options whose files are in the spool directory
    and which are not given, left_over_files patterns of those files.  deferred is None where
    it is not known; unknown is what could not be found out, and why.
    """

    service: str
    checked: bool = True
    waitfile: str = ""
    paused: bool = False
    reason: str = ""
    until: str = ""
    by: str = ""
    overdue: bool = False
    held: int = 0
    scanners: list[Answer] = field(default_factory=list)
    spool: str = ""
    in_flight: list[Flight] = field(default_factory=list)
    slots: int = 0
    slots_taken: int = 0
    canaries: list[Canary] = field(default_factory=list)
    counted_messages: int = 0
    left_over: list[str] = field(default_factory=list)
    left_over_files: list[str] = field(default_factory=list)
    deferred: int | None = None
    oldest: str = ""
    unknown: str = ""

    @property
    def well(self) -> bool:
        """Whether all mail is checked, and none waits."""
        answers = not any(each.error and not each.hidden for each in self.scanners)
        return self.checked and answers and not self.deferred


def asking(site: sites.Site) -> Asked:
    """To ask the scanners of these services, all of their places within PATIENCE."""
    every = [target for each in site.services for _, target in _targets(each.require_settings)]
    return Asked(PATIENCE / max(len(every), 1))


def _targets(settings: Settings) -> Iterator[tuple[Scanner, Target]]:
    for scanner in (*settings.scanners, *settings.backups):
        for target in scanner.targets:
            yield scanner, target


def state(service: Service, asked: Asked) -> State:
    """The state of what this service uses; raises Trouble where it cannot be seen."""
    settings = service.require_settings
    # First what an account may not be allowed to see.
    facts = _waitfile(settings)
    if settings.spool:
        facts |= _spool(settings)
    answers = [
        [asked.answer(service, scanner, target) for target in scanner.targets]
        for scanner in (*settings.scanners, *settings.backups)
    ]
    answered = (
        sum(any(not each.error or each.hidden for each in group) for group in answers)
        >= settings.need
    )
    found = State(
        service.name,
        scanners=[each for group in answers for each in group],
        **facts,  # type: ignore[arg-type] # as the class has them
    )
    knows = all(each.good for each in found.canaries)
    checked = not found.paused and knows and (answered or not settings.scanners)
    hidden = any(each.hidden for each in found.scanners)
    return replace(found, checked=checked, unknown=HIDDEN if hidden else "")


def _waitfile(settings: Settings) -> dict[str, object]:
    facts: dict[str, object] = {"waitfile": printable(settings.waitfile)}
    if not settings.waitfile:
        return facts
    place = pausing.Place(settings.waitfile, settings.spool)
    note = pausing.read(place)
    if note is None:
        return facts
    return {
        **facts,
        "paused": True,
        "reason": note.reason,
        "until": note.end,
        "by": note.by,
        "overdue": bool(note.end) and note.end <= pausing.now(),
        "held": pausing.held_back(place),
    }


def _spool(settings: Settings) -> dict[str, object]:
    try:
        with places.opened(settings.spool) as folder:
            names = set(folder.names())
            slots = {b"slot.%d" % number for number in range(settings.slots)} & names
            tests = _tests(settings)
            counts = {name for name in names if settings.attempts and name.startswith(PREFIX)}
            return {
                "spool": printable(settings.spool),
                "in_flight": flight.inside(folder),
                "slots": settings.slots,
                "slots_taken": sum(
                    bool(locks.holders(folder.status(slot), "WRITE")) for slot in slots
                ),
                "canaries": [
                    found
                    for name in sorted(names & set(tests))
                    if (found := _canary(folder, name, *tests[name]))
                ],
                "counted_messages": len(counts),
                **_left_over(names - slots - set(tests) - counts, settings.spool),
            }
    except OSError as why:
        where = printable(settings.spool)
        raise Trouble(f"{where}: {why.strerror}", places.as_root(why)) from why


def _tests(settings: Settings) -> dict[bytes, tuple[str, str]]:
    """The files with results of known-answer tests, and the scanner and place that each is of."""
    if not settings.canary:
        return {}
    return {
        canary.state_file(scanner, target): (scanner.type, place(target))
        for scanner, target in _targets(settings)
    }


# The beginnings of the names of files that an option makes in the spool directory.
MADE_BY = {b"slot.": "--slots", b"canary.": "--canary", PREFIX: "--attempts"}


def _left_over(names: set[bytes], spool: bytes) -> dict[str, list[str]]:
    """The options that these files are of, which nobody uses, and the files."""
    found = {
        option: f"{printable(spool.rstrip(b'/') + b'/' + beginning)}*"
        for beginning, option in MADE_BY.items()
        if any(name.startswith(beginning) for name in names)
    }
    return {"left_over": list(found), "left_over_files": list(found.values())}


def _canary(folder: places.Folder, file: bytes, scanner: str, where: str) -> Canary | None:
    """The result in the file; None for what is no file of avcheck's, or has none yet."""
    try:
        result = folder.read(file, CANARY_MAX)[:1]
        when = folder.status(file).st_mtime
    except OSError:
        return None
    if not result:
        return None
    stamp = amounts.moment(when).isoformat(timespec="seconds")
    return Canary(scanner, where, result == canary.GOOD, stamp, round(time() - when, 3))


def with_queue(found: list[State], directory: str) -> list[State]:
    """The states with what waits in the queue of Postfix, for whichever service of it."""
    try:
        waiting = deferred.of_postfix(directory)
    except Trouble as why:
        return [
            replace(each, unknown="; ".join(filter(None, [each.unknown, why.message])))
            for each in found
        ]
    oldest = amounts.moment(waiting.oldest).isoformat(timespec="seconds") if waiting.oldest else ""
    return [replace(each, deferred=waiting.messages, oldest=oldest) for each in found]
