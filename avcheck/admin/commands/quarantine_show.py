"""avcheckctl quarantine list, show and log: what is there, and what was done with it."""

from __future__ import annotations

import sys
from typing import IO

import click

from avcheck.admin import amounts, listing, output, quarantine_store
from avcheck.admin.commands.quarantine_options import complete, directory_option
from avcheck.admin.output import Trouble
from avcheck.admin.quarantine_records import Act, Entry
from avcheck.admin.quarantine_store import NotThere
from avcheck.printable import printable
from avcheck.verdict import VERDICTS

# Lines of the header, and of the body, that show prints.
HEADER_MAX = 60
BODY_MAX = 40


@click.command("list")
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
    output.note(total(found))


def total(found: list[Entry]) -> str:
    number = amounts.counted(len(found), "entry", "entries")
    return f"{number}, {amounts.size(sum(each.size for each in found))}"


@click.command()
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
    if output.is_terminal(sys.stdout):
        raise Trouble("this is infected mail, and no text for a terminal", "add: > FILE")
    while piece := file.read(65536):
        click.echo(piece, nl=False)  # bytes, to where no terminal is


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


@click.command()
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
            *[printable(text, 80) for text in (each.entry, each.what, each.by)],
            ", ".join(printable(address, 80) for address in each.to),
        ]
        for each in acts
    ]
    output.table(rows, ("TIME", "ENTRY", "WHAT", "BY", "TO"))
