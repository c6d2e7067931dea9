"""Questions to others: a sign of life of a scanner; any others side by side, within one limit.

A thread acts as the account that the process acts as, so whoever asks as another account
begins to before the first question, and stops after the last answer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from avcheck import conn
from avcheck.admin import clamd_daemon
from avcheck.admin.account import account
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.scanners import command_parameters

if TYPE_CHECKING:
    from avcheck.admin.services import Service
    from avcheck.settings import Scanner, Settings, Target

K = TypeVar("K")

# Seconds for everything that doctor asks of scanners, mail servers and programs.
LIMIT = 10.0

# Seconds that are left to a question when there are none.
LEAST = 0.1

# Seconds for each place, unless -t says otherwise: a ping is answered at once.
PATIENCE = 10.0

# Days: freshclam asks several times a day, so three without a new set are a sign.
OLD = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a question: its answer, or what it has raised."""

    answer: object = None
    error: Exception | None = None

    def get(self) -> object:
        """The answer; raises what the question has raised."""
        if self.error is not None:
            raise self.error
        return self.answer


def put(question: Callable[[], object]) -> Outcome:
    """What comes of the question."""
    try:
        return Outcome(question())
    except Exception as why:
        return Outcome(error=why)


def side_by_side(
    questions: Mapping[K, Callable[[], object]],
) -> dict[K, Outcome]:
    """What comes of each question; returns when the last one is answered.

    Each keeps to its limit of time by itself: a thread cannot be ended.
    """
    if not questions:
        return {}
    with ThreadPoolExecutor(max_workers=len(questions)) as threads:
        asked = {key: threads.submit(put, each) for key, each in questions.items()}
        return {key: each.result() for key, each in asked.items()}


def left(until: float) -> float:
    """Seconds until then (time.monotonic)."""
    return max(until - monotonic(), LEAST)


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
