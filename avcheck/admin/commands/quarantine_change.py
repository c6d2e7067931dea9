"""avcheckctl quarantine release, delete and expire: what changes entries."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable

import click

from avcheck.admin import account, amounts, output, quarantine_store, recipient, sites
from avcheck.admin.calls import GUARDS, NAME
from avcheck.admin.commands import release
from avcheck.admin.commands.quarantine_options import directory_option, names_argument
from avcheck.admin.commands.quarantine_show import total
from avcheck.admin.output import Trouble
from avcheck.admin.quarantine_records import BEGUN, DELETED, EXPIRED, RELEASED, Act, Entry
from avcheck.admin.quarantine_store import NotThere
from avcheck.admin.services import Service
from avcheck.printable import printable

# What avcheck -c says before the reply of the next hop, where an entry is released by it.
INJECTED = re.compile(rf"^\S*/(?:{'|'.join(map(re.escape, (NAME, *GUARDS)))}) injected: ")


@click.command("release")
@output.json_option
@directory_option
@click.option(
    "--to",
    multiple=True,
    metavar="ADDRESS",
    callback=recipient.parameter,
    help="To this address, not as before.",
)
@click.option("--again", is_flag=True, help="Even if it has been released already.")
@sites.takes(
    "program", "sender",
    texts={
        "sender": "Sender, in the place of the recorded one; empty or <> for a bounce.",
        "program": "Program, or host:port, that takes the mail; as recorded unless given.",
    },
)  # fmt: skip
@names_argument
def release_entries(
    site: sites.Site,
    as_json: bool,
    directory: str,
    to: tuple[str, ...],
    again: bool,
    names: tuple[str, ...],
) -> None:
    """Send entries to those they were for, past the scanner.

    By -S as avcheck has it; else by the way that the entry or the last release names.
    That is run by the account that the quarantine belongs to, never by root for it.  The
    entry stays; who released it when is kept in the log.

    \b
    avcheckctl quarantine release 20260102T03 -S 127.0.0.1:10026
    avcheckctl quarantine release 20260102T03 --to me@example.org --postfix
    """
    service = site.services[0]
    order = release.Order(
        account.who(),
        to,
        os.fsdecode(service.require_settings.sender) if _sender_given(service) else None,
        _program(service),
    )
    with quarantine_store.opened(directory, change=True) as quarantine:

        def one(entry: Entry) -> tuple[str, str]:
            if not again:
                _unless_released(entry, set(order.to or entry.recipients))
            who = account.name(os.geteuid())
            said = release.release(quarantine, entry, order)
            return f"{RELEASED}, by {who}", INJECTED.sub("", said)

        _each(quarantine, names, one, as_json)


def _unless_released(entry: Entry, wanted: set[str]) -> None:
    """Raise Trouble if it has been released to all of these already, or may have been."""
    act = entry.released()
    if act is None or not wanted <= entry.sent_to():
        return
    when = amounts.local(act.time)
    if act.what == BEGUN:
        raise Trouble(
            f"{entry.name}: {act.by} began to release it at {when}, and perhaps it was sent",
            "look into the mail log; to send it once more: --again",
        )
    raise Trouble(
        f"{entry.name}: was {act.what} by {act.by} at {when}, and is not sent again",
        "to send it once more: --again",
    )


def _sender_given(service: Service) -> bool:
    return service.call is None and "sender" in service.attributes


def _program(service: Service) -> str:
    """The value of -S; empty if it was not given."""
    if "program" not in service.attributes:
        return ""
    settings = service.require_settings
    if settings.program:
        return shlex.join(os.fsdecode(word) for word in settings.program)
    return os.fsdecode(settings.server.spelled())


# What became of an entry, for a program: either said or error is a text.
Outcome = dict[str, str]


def _outcome(entry: str, what: str = "", said: str = "", error: str = "") -> Outcome:
    return {"entry": entry, "what": what, "said": said, "error": error}


def _each(
    quarantine: quarantine_store.Quarantine,
    names: tuple[str, ...],
    do: Callable[[Entry], tuple[str, str]],
    as_json: bool,
) -> None:
    """Do it to each entry, and say so; leaves with 1 if it failed for some, 2 for all."""
    outcomes: list[Outcome] = []
    for name in dict.fromkeys(names):
        entry = ""
        try:
            found = quarantine.one(name)
            entry = found.name
            what, said = do(found)
            outcomes.append(_outcome(entry, what, said))
            if not as_json:
                output.say(f"{entry} {what}{': ' if said else ''}{said}")
        except Trouble as why:
            why.show()
            outcomes.append(_outcome(entry or printable(name), error=why.message))
    _leave(outcomes, as_json)


def _leave(outcomes: list[Outcome], as_json: bool) -> None:
    """Print the outcomes for a program, and leave as they are."""
    if as_json:
        output.as_json(outcomes)
    failed = sum(bool(each["error"]) for each in outcomes)
    if failed:
        raise SystemExit(2 if failed == len(outcomes) else 1)


@click.command()
@output.json_option
@directory_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@names_argument
def delete(as_json: bool, directory: str, yes: bool, names: tuple[str, ...]) -> None:
    """Delete entries for good; the log remembers that."""
    with quarantine_store.opened(directory, change=True) as quarantine:
        if not yes:
            if not output.is_terminal(sys.stdin):
                raise Trouble("no terminal to ask at", "add --yes")
            number = amounts.counted(len(set(names)), "entry", "entries")
            if not click.confirm(f"Delete {number} for good?", err=True):
                raise Trouble("nothing was deleted")
        _each(quarantine, names, functools.partial(_delete, quarantine, DELETED), as_json)


def _delete(quarantine: quarantine_store.Quarantine, what: str, entry: Entry) -> tuple[str, str]:
    quarantine.remove(entry)
    quarantine.note(Act(release.now(), what, entry.name, account.who()))
    return what, ""


@click.command()
@output.json_option
@directory_option
@click.option("--older", type=amounts.duration, metavar="TIME", help="Older than 90s, 2h, 30d.")
@click.option(
    "--keep",
    type=amounts.number_of_bytes,
    metavar="SIZE",
    help="The oldest, until the rest is not larger than 500M, 2G.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def expire(
    as_json: bool, directory: str, older: float | None, keep: int | None, dry_run: bool
) -> None:
    """Delete old entries, by age, by size, or both; for cron.

    \b
    avcheckctl quarantine expire --older 30d --keep 2G
    """
    if older is None and keep is None:
        raise click.UsageError("give --older, or --keep, or both")
    done: list[Entry] = []
    outcomes: list[Outcome] = []
    what = "would be expired" if dry_run else EXPIRED
    try:
        with quarantine_store.opened(directory, change=not dry_run) as quarantine:
            for entry in chosen(quarantine.entries(), older, keep):
                try:
                    if not dry_run:
                        _delete(quarantine, EXPIRED, entry)
                    done.append(entry)
                    outcomes.append(_outcome(entry.name, what))
                    if not as_json:
                        output.say(f"{entry.name} {what}")
                except Trouble as why:
                    why.show()
                    outcomes.append(_outcome(entry.name, error=why.message))
            others = quarantine.others()
    except NotThere as why:
        others = why.message
    if others:
        output.note(others)
    output.note(total(done))
    _leave(outcomes, as_json)


def chosen(found: list[Entry], older: float | None, keep: int | None) -> list[Entry]:
    """Of the entries, the oldest first, those to delete."""
    left = sum(entry.size for entry in found)
    doomed = []
    for entry in found:
        if (older is not None and entry.age > older) or (keep is not None and left > keep):
            doomed.append(entry)
            left -= entry.size
    return doomed
