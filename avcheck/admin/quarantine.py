"""avcheckctl quarantine: list, show, release, delete and expire what was kept."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

import click

from avcheck.admin import account, entries, given, output, release
from avcheck.admin.entries import BEGUN, DELETED, EXPIRED, Act, Entry
from avcheck.admin.output import Trouble
from avcheck.printable import printable

DIRECTORY = "/var/spool/avcheck/quarantine"

# Lines of the header, and of the body, that show prints.
HEADER_MAX = 60
BODY_MAX = 40


@click.group()
def command() -> None:
    """List, show, release and delete quarantined mail.

    An entry is named by as much of the beginning of its name as is needed.

    Exit status: 0 done, 1 some of it was not, 2 none of it was.
    """


def directory_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--directory",
        metavar="DIR",
        default=DIRECTORY,
        envvar="AVCHECK_QUARANTINE",
        show_default=True,
        show_envvar=True,
        type=click.Path(),
        help="The quarantine.",
    )(function)


names_argument = click.argument("names", nargs=-1, required=True, metavar="ENTRY...")


@command.command("list")
@output.json_option
@directory_option
@click.option("--since", type=output.duration, metavar="TIME", help="Not older than 90s, 2h, 7d.")
@click.option("--verdict", metavar="VERDICT", help="Only those of this verdict.")
@click.option(
    "--match",
    metavar="TEXT",
    help="Only those with TEXT in an address, a name found or a queue ID.",
)
@click.option("--held", is_flag=True, help="Only those that were not released.")
def list_entries(
    as_json: bool,
    directory: str,
    since: float | None,
    verdict: str | None,
    match: str | None,
    held: bool,
) -> None:
    """List the entries, the oldest first."""
    with entries.opened(directory) as quarantine:
        found = [
            each
            for each in quarantine.entries()
            if (since is None or each.age <= since)
            and verdict in (None, each.verdict)
            and (match is None or _matches(each, match))
            and not (held and each.released())
        ]
        others = quarantine.others()
    if others:
        output.note(others)
    if as_json:
        output.as_json([facts(each) for each in found])
        return
    output.table([_row(each) for each in found], HEADER)
    total = sum(each.size for each in found)
    output.note(f"{len(found)} entries, {output.size(total)}")


def _matches(entry: Entry, text: str) -> bool:
    words = (entry.sender, *entry.recipients, entry.virus, entry.queue_id)
    return any(text.lower() in word.lower() for word in words)


HEADER = ("ENTRY", "AGE", "VERDICT", "FOUND", "SIZE", "FROM", "TO", "STATE")


def _row(entry: Entry) -> list[str | output.Styled]:
    more = f" and {len(entry.recipients) - 1} more" if len(entry.recipients) > 1 else ""
    act = entry.released()
    state: str | output.Styled = ""
    if act is not None:
        colour = output.DOUBTFUL if act.what == BEGUN else output.GOOD
        state = output.Styled(printable(f"{act.what} by {act.by}", 80), colour)
    return [
        entry.name,
        output.age(entry.age),
        output.Styled(printable(entry.verdict, 12), output.BAD),
        printable(entry.virus or entry.wrong or "-", 40),
        output.size(entry.size),
        f"<{printable(entry.sender, 40)}>",
        (f"<{printable(entry.recipients[0], 40)}>{more}" if entry.recipients else "-"),
        state,
    ]


def facts(entry: Entry) -> dict[str, Any]:
    """The entry for a program; addresses are as they came."""
    return {
        **asdict(entry),
        "time": entry.time.isoformat(),
        "acts": [asdict(a) for a in entry.acts],
    }


@command.command()
@output.json_option
@directory_option
@click.option("--body", is_flag=True, help="The beginning of the body, too.")
@click.option("--raw", is_flag=True, help="The message itself, to a file or a pipe.")
@click.argument("name", metavar="ENTRY")
def show(as_json: bool, directory: str, body: bool, raw: bool, name: str) -> None:
    """Show what is known of an entry, and its header, with nothing that moves a terminal."""
    with entries.opened(directory) as quarantine:
        entry = quarantine.one(name)
        with open(quarantine.message(entry), "rb") as file:
            if raw:
                _raw(file)
                return
            if as_json:
                output.as_json(facts(entry))
                return
            _show(entry)
            _lines(file, body)


def _raw(file: IO[bytes]) -> None:
    if on_terminal(sys.stdout):
        raise Trouble("this is infected mail, and no text for a terminal", "add: > FILE")
    while piece := file.read(65536):
        click.echo(piece, nl=False)  # bytes, to where no terminal is


def on_terminal(stream: IO[str]) -> bool:
    return stream.isatty()


def _show(entry: Entry) -> None:
    rows: list[tuple[str, str | output.Styled]] = [
        ("Entry", entry.name),
        ("Time", f"{entry.time.isoformat()} ({output.age(entry.age)} ago)"),
        ("Verdict", output.Styled(printable(entry.verdict), output.BAD)),
        ("Found", printable(entry.virus)),
        ("Scanner", printable(entry.scanner)),
        ("It said", printable(entry.text)),
        ("Queue ID", printable(entry.queue_id)),
        ("From", f"<{printable(entry.sender)}> (often forged)"),
        *[("To", f"<{printable(each)}>") for each in entry.recipients],
        ("Size", f"{entry.size} bytes"),
        ("SHA-256", printable(entry.sha256)),
    ]
    if entry.wrong:
        rows.append(("Wrong", output.Styled(entry.wrong, output.DOUBTFUL)))
    for act in entry.acts:
        to = f" to {', '.join(printable(each, 80) for each in act.to)}" if act.to else ""
        said = f": {act.said}" if act.said else ""
        rows.append(("Log", printable(f"{act.time} {act.what}{to} by {act.by}{said}", 4000)))
    output.table(rows)


def _lines(file: IO[bytes], body: bool) -> None:
    """The header, and the beginning of the body, each line as printable ASCII and marked."""
    output.say()
    left = HEADER_MAX
    in_header = True
    while left and (line := file.readline(1000)):
        if in_header and line in (b"\n", b"\r\n"):
            if not body:
                return
            in_header, left = False, BODY_MAX
        indent = "    " if line[:1] in (b" ", b"\t") else ""
        output.say(f"  | {indent}{printable(line, 200)}")
        left -= 1
    if not left:
        output.say("  | ...")


@command.command("release")
@directory_option
@click.option("--to", multiple=True, metavar="ADDRESS", help="To this address, not as before.")
@click.option("--again", is_flag=True, help="Even if it has been released already.")
@given.takes(
    "program", "sender",
    words={
        "sender": "Sender, in the place of the recorded one; empty or <> for a bounce.",
        "program": "Program, or host:port, that takes the mail; as recorded unless given.",
    },
)  # fmt: skip
@names_argument
def release_entries(
    site: given.Site, directory: str, to: tuple[str, ...], again: bool, names: tuple[str, ...]
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
        os.fsdecode(service.sure.sender) if _sender_given(service) else None,
        _words(service),
    )
    with entries.opened(directory, change=True) as quarantine:

        def one(entry: Entry) -> str:
            if not again:
                _unless_released(entry, set(order.to or entry.recipients))
            who = account.name(os.geteuid())
            return f"released as {who}: {release.release(quarantine, entry, order)}"

        _each(quarantine, names, one)


def _unless_released(entry: Entry, wanted: set[str]) -> None:
    """Raise Trouble if it has been released to all of these already, or may have been."""
    act = entry.released()
    if act is None or not wanted <= entry.sent_to():
        return
    if act.what == BEGUN:
        raise Trouble(
            f"{entry.name}: {act.by} began to release it at {act.time}, and perhaps it was sent",
            "look into the mail log; to send it once more: --again",
        )
    raise Trouble(
        f"{entry.name}: was {act.what} by {act.by} at {act.time}, and is not sent again",
        "to send it once more: --again",
    )


def _sender_given(service: given.Service) -> bool:
    return service.pipe is None and "sender" in service.attributes


def _words(service: given.Service) -> str:
    """The words of -S; empty if it was not given."""
    if "program" not in service.attributes:
        return ""
    settings = service.sure
    if settings.program:
        return shlex.join(os.fsdecode(word) for word in settings.program)
    return os.fsdecode(settings.server.spelled())


def _each(
    quarantine: entries.Quarantine, names: tuple[str, ...], do: Callable[[Entry], str]
) -> None:
    """Do it to each entry, and say so; leaves with 1 if it failed for some, 2 for all."""
    failed: list[Trouble] = []
    asked = dict.fromkeys(names)
    for name in asked:
        try:
            entry = quarantine.one(name)
            output.say(f"{entry.name} {do(entry)}")
        except Trouble as why:
            why.show()
            failed.append(why)
    if failed:
        raise SystemExit(2 if len(failed) == len(asked) else 1)


@command.command()
@directory_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@names_argument
def delete(directory: str, yes: bool, names: tuple[str, ...]) -> None:
    """Delete entries for good; the log remembers that."""
    with entries.opened(directory, change=True) as quarantine:
        if not yes:
            if not on_terminal(sys.stdin):
                raise Trouble("nobody can be asked whether that is meant", "add: --yes")
            if not click.confirm(f"Delete {len(names)} entries for good?", err=True):
                raise Trouble("nothing was deleted")
        _each(quarantine, names, functools.partial(_delete, quarantine, DELETED))


def _delete(quarantine: entries.Quarantine, what: str, entry: Entry) -> str:
    quarantine.remove(entry)
    quarantine.note(Act(release.now(), what, entry.name, account.who()))
    return what


@command.command()
@directory_option
@click.option("--older", type=output.duration, metavar="TIME", help="Older than 90s, 2h, 30d.")
@click.option(
    "--keep",
    type=output.number_of_bytes,
    metavar="SIZE",
    help="The oldest, until the rest is not larger than 500M, 2G.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def expire(directory: str, older: float | None, keep: int | None, dry_run: bool) -> None:
    """Delete old entries, by age, by size, or both; for cron.

    \b
    avcheckctl quarantine expire --older 30d --keep 2G
    """
    if older is None and keep is None:
        raise click.UsageError("give --older, or --keep, or both")
    done, failed = [], 0
    with entries.opened(directory, change=not dry_run) as quarantine:
        for entry in chosen(quarantine.entries(), older, keep):
            try:
                if not dry_run:
                    _delete(quarantine, EXPIRED, entry)
                output.say(f"{entry.name} {'would be expired' if dry_run else EXPIRED}")
                done.append(entry)
            except Trouble as why:
                why.show()
                failed += 1
        others = quarantine.others()
    if others:
        output.note(others)
    output.note(f"{len(done)} entries, {output.size(sum(entry.size for entry in done))}")
    if failed:
        raise SystemExit(1 if done else 2)


def chosen(found: list[Entry], older: float | None, keep: int | None) -> list[Entry]:
    """Of the entries, the oldest first, those to delete."""
    left = sum(entry.size for entry in found)
    doomed = []
    for entry in found:
        if (older is not None and entry.age > older) or (keep is not None and left > keep):
            doomed.append(entry)
            left -= entry.size
    return doomed


@command.command()
@output.json_option
@directory_option
def log(as_json: bool, directory: str) -> None:
    """Show who released, deleted and expired what, when."""
    with entries.opened(directory) as quarantine:
        acts = quarantine.acts()
    if as_json:
        output.as_json([asdict(act) for act in acts])
        return
    rows = [
        [
            *[printable(words, 80) for words in (act.time, act.entry, act.what, act.by)],
            ", ".join(printable(each, 80) for each in act.to),
        ]
        for act in acts
    ]
    output.table(rows, ("TIME", "ENTRY", "WHAT", "BY", "TO"))
