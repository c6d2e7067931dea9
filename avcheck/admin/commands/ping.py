"""avcheckctl ping: each scanner, each of its places: is it there, and how old is it?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

import click

from avcheck import conn
from avcheck.admin import amounts, cells, clamd_daemon, output, sites
from avcheck.admin.account import account
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.progress import Progress
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.scanners import command_parameters

if TYPE_CHECKING:
    from avcheck.admin.services import Service
    from avcheck.settings import Scanner, Settings, Target

# Seconds for each place, unless -t says otherwise: a ping is answered at once.
PATIENCE = 10.0

# Days: freshclam asks several times a day, so three without a new set are a sign.
OLD = 3


@dataclass(frozen=True)
class Answer:
    """What a scanner at one place said; error is why it did not, seconds how long it took."""

    scanner: str
    where: str
    seconds: float
    version: str = ""
    signatures: str = ""
    date: str = ""
    age_days: float | None = None
    error: str = ""

    @property
    def hidden(self) -> bool:
        """Whether it is only that we may not ask it: it may answer avcheck."""
        return os.geteuid() != 0 and os.strerror(errno.EACCES) in self.error


def place(target: Target) -> str:
    """Where a scanner is asked, for a person."""
    return str(target.address or printable(target.path))


def ask(scanner: Scanner, target: Target, settings: Settings, patience: float = PATIENCE) -> Answer:
    """Ask for a sign of life; versions where the protocol tells them (clamd)."""
    where = place(target)
    began = monotonic()
    deadline = began + min(settings.timeout, patience)
    try:
        if scanner.type == "clamd":
            return _clamd(scanner, target, settings, began, deadline)
        if target.address is not None:
            conn.connect((target.address,), deadline).sock.close()
        elif scanner.row.module == "command":
            _unless_runnable(command_parameters.program_at(target.path))
        return Answer(scanner.type, where, monotonic() - began)
    except Defer as why:
        return Answer(scanner.type, where, monotonic() - began, error=why.text)


def _unless_runnable(program: bytes) -> None:
    """Raise Defer if the program could not be run: it is run for each message, and not for us."""
    if not os.path.isfile(program):
        raise Defer(f"{printable(program)}: no such program")
    if not os.access(program, os.X_OK, effective_ids=True):
        raise Defer(f"{printable(program)}: {os.strerror(errno.EACCES)}")


def _clamd(
    scanner: Scanner, target: Target, settings: Settings, began: float, deadline: float
) -> Answer:
    link = clamd_daemon.Daemon(target, settings, deadline)
    where = str(target.address)
    pong = link.ask("ping")
    seconds = monotonic() - began
    if pong != "PONG":
        return Answer(scanner.type, where, seconds, error=f"said {printable(pong, 80)!r} to PING")
    try:
        version = clamd_daemon.parse_version(link.ask("version"))
    except Defer:  # ClamAV 1.5 can be told not to say it
        return Answer(scanner.type, where, seconds)
    return Answer(
        scanner.type,
        where,
        seconds,
        version.program,
        version.signatures,
        version.date.isoformat() if version.date else "",
        (datetime.now(UTC) - version.date).total_seconds() / 86400 if version.date else None,
    )


class Asked:
    """What the scanners say to a ping: each place once, by the account that avcheck runs as."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._answers: dict[tuple[object, ...], Answer] = {}

    def answer(self, service: Service, scanner: Scanner, target: Target) -> Answer:
        key = (scanner.type, target.way, place(target), service.runs_as)
        if key not in self._answers:
            with account(*service.runs_as):
                self._answers[key] = ask(scanner, target, service.require_settings, self.patience)
        return self._answers[key]


def every(site: sites.Site, progress: Progress | None = None) -> Iterator[Answer]:
    """One answer for each place of each scanner."""
    asked = Asked()
    seen = set()
    for service in site.services:
        settings = service.require_settings
        for scanner in (*settings.scanners, *settings.backups):
            for target in scanner.targets:
                if progress:
                    limit = min(settings.timeout, PATIENCE)
                    progress.now(f"asking {scanner.type} {place(target)}", limit)
                answer = asked.answer(service, scanner, target)
                if id(answer) not in seen:
                    seen.add(id(answer))
                    yield answer


@click.command()
@output.json_option
@sites.takes(*sites.SCANNERS, need=("scanners",))
def command(site: sites.Site, as_json: bool) -> None:
    """Ask each scanner, at each of its places, whether it is there, and how old it is.

    Exit status: 0 all of them answer, 1 one does not, 2 it could not be found out.

    \b
    avcheckctl ping -s clamd:/run/clamav/clamd.ctl,192.0.2.7
    avcheckctl ping --postfix
    """
    with Progress("asking") as progress:
        answers = list(every(site, progress))
    if as_json:
        output.as_json([asdict(answer) for answer in answers])
    else:
        output.table([_row(answer) for answer in answers], HEADER)
    if any(answer.error and not answer.hidden for answer in answers):
        raise SystemExit(1)
    if any(answer.hidden for answer in answers):
        raise Trouble("not every scanner may be asked by this account", AS_ROOT)


HEADER = ("SCANNER", "WHERE", "ANSWER", "VERSION", "SIGNATURES", "AGE")


def _row(answer: Answer) -> list[str | cells.Styled]:
    where: list[str | cells.Styled] = [answer.scanner, answer.where]
    if answer.error:
        reason = answer.error.removeprefix(f"{answer.where}: ")
        if answer.hidden:
            return [*where, cells.Styled(f"not known: {reason}", cells.DOUBTFUL)]
        return [*where, cells.Styled(f"no: {reason}", cells.BAD)]
    row = [*where, cells.Styled(f"{answer.seconds * 1000:.1f} ms", cells.GOOD)]
    row += [answer.version or "-", answer.signatures or "-"]
    if answer.age_days is None:
        return [*row, "-"]
    colour = cells.GOOD if answer.age_days <= OLD else cells.DOUBTFUL
    return [*row, cells.Styled(amounts.age(answer.age_days * 86400), colour)]
