"""avcheckctl quarantine: list, show, release, delete and expire what was kept."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Callable
from typing import IO, Any

import click
from click.shell_completion import CompletionItem

from avcheck.admin import account, amounts, listing, output, quarantine_store, recipient, sites
from avcheck.admin.commands import release
from avcheck.admin.output import Trouble
from avcheck.admin.quarantine_records import BEGUN, DELETED, EXPIRED, RELEASED, Act, Entry
from avcheck.admin.quarantine_store import NotThere
from avcheck.admin.services import Service
from avcheck.printable import printable
from avcheck.verdict import VERDICTS

DIRECTORY = "/var/spool/avcheck/quarantine"

# Lines of the header, and of the body, that show prints.
HEADER_MAX = 60
BODY_MAX = 40


@click.group()
def command() -> None:
    """List, show, release and delete quarantined mail.

    An entry is named by as much of the beginning of its name as is needed, or by the queue
    ID of its message.

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
        type=click.Path(file_okay=False, readable=False),
        help="The quarantine.",
    )(function)


def complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of entries that begin so, for a shell; none where they cannot be seen."""
    directory = context.params.get("directory") or os.environ.get("AVCHECK_QUARANTINE")
    with (
        contextlib.suppress(Trouble),
        quarantine_store.opened(directory or DIRECTORY) as quarantine,
    ):
        names = sorted(name for name in quarantine.names() if name.startswith(incomplete))
        return [CompletionItem(name) for name in names]
    return []


names_argument = click.argument(
    "names", nargs=-1, required=True, metavar="ENTRY...", shell_complete=complete
)


@command.command("list")
@output.json_option
@directory_option
@click.option("--since", type=amounts.duration, metavar="TIME", help="Not older than 90s, 2h, 7d.")
@click.option(
    "--verdict",
    type=click.Choice([each.name for each in VERDICTS], case_sensitive=False),
    help="Only those of this verdict.",
)
@click.option("--queue-id", metavar="ID", help="Only those of the message with this queue ID.")
@click.option(
    "--match",
    metavar="TEXT",
    help="Only those with TEXT in an address, a Subject, a name found or a queue ID.",
)
@click.option("--held", is_flag=True, help="Only those that were not released.")
def list_entries(
    as_json: bool,
    directory: str,
    since: float | None,
    verdict: str | None,
    queue_id: str | None,
    match: str | None,
    held: bool,
) -> None:
    """List the entries, the oldest first."""
    found: list[Entry] = []
    try:
        with quarantine_store.opened(directory) as quarantine:
            found = [
                subject
                for each in quarantine.entries()
                if (since is None or each.age <= since)
                and verdict in (None, each.verdict.lower())
                and queue_id in (None, each.queue_id)
                and not (held and each.released())
                and (subject := quarantine.with_subject(each))
                and (match is None or listing.matches(subject, match))
            ]
            others = quarantine.others()
    except NotThere as why:
        others = why.message
    if others:
        output.note(others)
    if as_json:
        output.as_json([listing.facts(each) for each in found])
        return
    output.table([listing.row(each) for each in found], listing.HEADER)
    output.note(_total(found))


def _total(found: list[Entry]) -> str:
    number = amounts.counted(len(found), "entry", "entries")
    return f"{number}, {amounts.size(sum(each.size for each in found))}"


@command.command()
@output.json_option
@directory_option
@click.option("--body", is_flag=True, help="The beginning of the body, too.")
@click.option("--raw", is_flag=True, help="The message itself, to a file or a pipe.")
@click.argument("name", metavar="ENTRY", shell_complete=complete)
def show(as_json: bool, directory: str, body: bool, raw: bool, name: str) -> None:
    """Show what is known of an entry, and its header, with nothing that moves a terminal."""
    with quarantine_store.opened(directory) as quarantine:
        entry = quarantine.with_subject(quarantine.one(name))
        with open(quarantine.message(entry), "rb") as file:
            if raw:
                _raw(file)
                return
            if as_json:
                output.as_json(listing.facts(entry))
                return
            output.table(listing.details(entry))
            _lines(file, body)


def _raw(file: IO[bytes]) -> None:
    if on_terminal(sys.stdout):
        raise Trouble("this is infected mail, and no text for a terminal", "add: > FILE")
    while piece := file.read(65536):
        click.echo(piece, nl=False)  # bytes, to where no terminal is


def on_terminal(stream: IO[str]) -> bool:
    return stream.isatty()


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
        _words(service),
    )
    with quarantine_store.opened(directory, change=True) as quarantine:

        def one(entry: Entry) -> tuple[str, str]:
            if not again:
                _unless_released(entry, set(order.to or entry.recipients))
            who = account.name(os.geteuid())
            return f"{RELEASED} as {who}", release.release(quarantine, entry, order)

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
    return service.pipe is None and "sender" in service.attributes


def _words(service: Service) -> str:
    """The words of -S; empty if it was not given."""
    if "program" not in service.attributes:
        return ""
    settings = service.require_settings
    if settings.program:
        return shlex.join(os.fsdecode(word) for word in settings.program)
    return os.fsdecode(settings.server.spelled())


# What became of an entry, for a program: one of two has words, said or wrong.
Outcome = dict[str, str]


def _outcome(entry: str, what: str = "", said: str = "", wrong: str = "") -> Outcome:
    return {"entry": entry, "what": what, "said": said, "wrong": wrong}


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
            outcomes.append(_outcome(entry or printable(name), wrong=why.message))
    _leave(outcomes, as_json)


def _leave(outcomes: list[Outcome], as_json: bool) -> None:
    """Print the outcomes for a program, and leave as they are."""
    if as_json:
        output.as_json(outcomes)
    failed = sum(bool(each["wrong"]) for each in outcomes)
    if failed:
        raise SystemExit(2 if failed == len(outcomes) else 1)


@command.command()
@output.json_option
@directory_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@names_argument
def delete(as_json: bool, directory: str, yes: bool, names: tuple[str, ...]) -> None:
    """Delete entries for good; the log remembers that."""
    with quarantine_store.opened(directory, change=True) as quarantine:
        if not yes:
            if not on_terminal(sys.stdin):
                raise Trouble("nobody can be asked whether that is meant", "add: --yes")
            number = amounts.counted(len(set(names)), "entry", "entries")
            if not click.confirm(f"Delete {number} for good?", err=True):
                raise Trouble("nothing was deleted")
        _each(quarantine, names, functools.partial(_delete, quarantine, DELETED), as_json)


def _delete(quarantine: quarantine_store.Quarantine, what: str, entry: Entry) -> tuple[str, str]:
    quarantine.remove(entry)
    quarantine.note(Act(release.now(), what, entry.name, account.who()))
    return what, ""


@command.command()
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
                    outcomes.append(_outcome(entry.name, wrong=why.message))
            others = quarantine.others()
    except NotThere as why:
        others = why.message
    if others:
        output.note(others)
    output.note(_total(done))
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


@command.command()
@output.json_option
@directory_option
def log(as_json: bool, directory: str) -> None:
    """Show who released, deleted and expired what, when."""
    acts: list[Act] = []
    try:
        with quarantine_store.opened(directory) as quarantine:
            acts = quarantine.acts()
    except NotThere as why:
        output.note(why.message)
    if as_json:
        output.as_json([listing.act(each) for each in acts])
        return
    rows = [
        [
            printable(amounts.local(each.time), 80),
            *[printable(words, 80) for words in (each.entry, each.what, each.by)],
            ", ".join(printable(address, 80) for address in each.to),
        ]
        for each in acts
    ]
    output.table(rows, ("TIME", "ENTRY", "WHAT", "BY", "TO"))
