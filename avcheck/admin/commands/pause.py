"""avcheckctl pause: hold all mail back, for as long as a command takes, or until resume."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import click

from avcheck.admin import account, amounts, flight, known_answer, output, pausing, sites
from avcheck.admin.commands.resume import again, command_line, ended
from avcheck.admin.output import Trouble
from avcheck.admin.progress import Progress
from avcheck.printable import printable
from avcheck.state.waitfile import REASON_MAX, Note

# Seconds between two tests of a scanner that is starting, and two looks for a signal.
AGAIN = 0.5

# Seconds that a scanner has for an answer, however short the time is that is left.
LEAST = 5.0

# Seconds that the command has to end by itself when the pause is interrupted.
GRACE = 10.0


@click.command(context_settings={"allow_interspersed_args": False})
@output.json_option
@click.option("--reason", metavar="TEXT", default="", help="Why: senders' systems may see it.")
@click.option(
    "--for",
    "length",
    type=amounts.duration,
    metavar="TIME",
    help="How long it will take (90s, 10m, 2h): shown by status; the pause does not end by itself.",
)
@click.option("--wait", is_flag=True, help="Wait until no message is in flight any more.")
@click.option(
    "--limit",
    type=amounts.duration,
    default="15m",
    metavar="TIME",
    show_default=True,
    help="How long to wait for messages in flight, and then for the scanner.",
)
@sites.takes("waitfile", "spool", *sites.SCANNERS, need=("waitfile",))
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def command(
    site: sites.Site,
    as_json: bool,
    reason: str,
    length: float | None,
    wait: bool,
    limit: float,
    argv: tuple[str, ...],
) -> None:
    """Hold all mail back: the mail system keeps it and tries again later.

    With a COMMAND, wait until no message is in flight, run it, wait until every scanner
    can tell the test virus from a clean message again, and resume.  If a scanner does not,
    mail stays held back; so it does if this is interrupted, which ends the command.

    Exit status: 0 done, 1 the command failed or mail stays held back, 2 nothing was done.

    \b
    avcheckctl pause --postfix --reason "new clamd" -- systemctl restart clamav-daemon
    avcheckctl pause -w /var/spool/avcheck/wait -d /var/spool/avcheck --wait
    """
    places = pausing.places(site)
    if (wait or argv) and not all(place.spool for place in places):
        raise click.UsageError("-d or --spool is needed, to know what is in flight")
    if argv and not all(service.require_settings.scanners for service in site.services):
        raise click.UsageError("-s or --scanner is needed, to know when it is back")
    note = Note(
        printable(reason or (f"until {shlex.join(argv)} is done" if argv else ""), REASON_MAX),
        pausing.now(length) if length is not None else "",
        f"{account.who()} on {os.uname().nodename} since {pausing.now()}",
    )
    with pausing.alone(places[0]):
        _hold_back(places, note)
        try:
            with _handled(_interrupt):
                outcome = _held(site, places, wait, limit, argv, as_json)
        except (KeyboardInterrupt, Trouble):
            if any(pausing.read(place) for place in places):
                output.note(f"Mail is still held back.  To end it: {command_line(places)}")
            raise
    if as_json:
        output.as_json(_facts(places, outcome))
    if outcome.error or outcome.status:
        raise SystemExit(1)


def _hold_back(places: list[pausing.Place], note: Note) -> None:
    """Write every waitfile, or none; raises Trouble if that fails."""
    written: list[pausing.Place] = []
    try:
        for place in places:
            pausing.write(place, note)
            written.append(place)
    except Trouble:
        for place in written:
            pausing.remove(place)
        raise


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Whoever ends us, by ^C, kill(1) or a lost terminal, has the handler called."""
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run(argv: tuple[str, ...], as_json: bool) -> int:
    """The status of the command; raises KeyboardInterrupt, when it has ended, if we are to end.

    What it writes goes to standard error, if JSON goes to the other.
    """
    signals: list[int] = []
    # Nothing is raised from here on: it could be before we know the process.
    with _handled(lambda number, frame: signals.append(number)):
        process = subprocess.Popen(argv, stdout=2 if as_json else None)  # noqa: S603 - what was asked for
        while not signals:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(AGAIN)
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            output.note(f"{printable(argv[0])} does not end, and is killed.")
            process.kill()
            process.wait()
    raise KeyboardInterrupt


@dataclass(frozen=True)
class Outcome:
    """How it ended: mail held back or not, the status of the command, and what went wrong.

    held is how many attempts each waitfile has held back, if the pause has ended.
    """

    paused: bool = True
    status: int | None = None
    error: str = ""
    held: Sequence[int | None] = ()


def _held(
    site: sites.Site,
    places: list[pausing.Place],
    wait: bool,
    limit: float,
    argv: tuple[str, ...],
    as_json: bool,
) -> Outcome:
    """What is done while mail is held back."""
    if wait or argv:
        for spool in sites.unique([place.spool for place in places]):
            with Progress("waiting for the messages in flight", limit):
                done = pausing.drained(spool, limit)
            if not done:
                flights = flight.listed(flight.over(spool))
                error = f"after {amounts.age(limit)} messages are still in flight ({flights})"
                return _still_held(places, Outcome(error=error))
    if not argv:
        if not as_json:
            output.say(f"Mail is held back.  To end it: {command_line(places)}")
        return Outcome()
    try:
        status = _run(argv, as_json)
    except OSError as why:
        _resume(site, places, as_json)
        raise Trouble(f"{argv[0]}: {why.strerror}", "mail goes on as before") from why
    if status:
        output.note(f"{printable(argv[0])} ended with status {status}.")
    if error := "; ".join(_until_trusted(site, limit)):
        return _still_held(places, Outcome(status=status, error=f"not to be trusted: {error}"))
    return Outcome(False, status, held=_resume(site, places, as_json))


def _still_held(places: list[pausing.Place], outcome: Outcome) -> Outcome:
    output.note(f"{outcome.error[:1].upper()}{outcome.error[1:]}.")
    output.note(f"Mail is still held back.  To end it: {command_line(places)}")
    return outcome


def _facts(places: list[pausing.Place], outcome: Outcome) -> list[dict[str, Any]]:
    """The outcome for a program."""
    held = outcome.held if not outcome.paused else [pausing.held_back(each) for each in places]
    return [
        {
            "waitfile": printable(place.waitfile),
            "paused": outcome.paused,
            "held": count or 0,
            "status": outcome.status,
            "error": outcome.error,
        }
        for place, count in zip(places, held, strict=True)
    ]


def _until_trusted(site: sites.Site, limit: float) -> list[str]:
    """Why scanners cannot be trusted after the wait; none if they can."""
    until = monotonic() + limit
    with Progress("waiting for the scanner", limit):
        while True:
            left = min(max(until - monotonic(), LEAST), known_answer.PATIENCE)
            doubts = []
            for service in site.services:
                with account.account(*service.runs_as):
                    for scanner in service.require_settings.scanners:
                        doubt = known_answer.error(scanner, service.require_settings, left)
                        doubts += [f"{scanner.type} {doubt}"] if doubt else []
            if not doubts or monotonic() > until:
                return doubts
            sleep(AGAIN)


def _resume(site: sites.Site, places: list[pausing.Place], as_json: bool) -> list[int | None]:
    """End the pause, and say so; returns what was held back by each waitfile."""
    counts = [pausing.remove(place) for place in places]
    if not as_json:
        for count in counts:
            output.say(ended(count))
        if any(counts):  # -1 too: it was not counted
            output.say(again(site))
    return counts
