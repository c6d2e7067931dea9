"""A quarantine as avcheck fills it, and its system calls there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support import traced
from tests.support.mta import MAIL, Running, Site
from tests.support.traced import Call

FOUND = b"Eicar-Test-Signature FOUND"

# Words for a run that can be tried again.
TRY = ("--queue-id", "4abc")

# Addresses as strangers choose them; a line break and NUL are refused at the door.
HOSTILE = [
    b"-rf",
    b"'; touch oops; '",
    b'"quoted \\" local part"@example.org',
    b"\x01\x07\x1b[31m\x7f\t@example.org",
    "jürgen@müller.example \U0001f600 \u20ac \ud7ff \U0010ffff".encode(),
    # Not UTF-8: overlong, a surrogate, too high, cut off, Latin-1.
    b"\xc0\x80 \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xf5 \xe2\x82",
    "jürgen@müller.example".encode("latin-1"),
    bytes(set(range(1, 256)) - {0x0A, 0x0D}),
]


class Quarantine:
    """A quarantine directory and what can be seen in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def action(self) -> str:
        return f"infected=quarantine:{self.path}"

    @property
    def entries(self) -> list[Path]:
        """What can be seen."""
        if not self.path.is_dir():
            return []
        return [path for path in self.path.iterdir() if path.name != ".new"]

    @property
    def unfinished(self) -> list[Path]:
        new = self.path / ".new"
        return list(new.iterdir()) if new.is_dir() else []

    @property
    def about(self) -> dict[str, Any]:
        """The sidecar of the only entry."""
        (entry,) = self.entries
        about: dict[str, Any] = json.loads((entry / "about.json").read_bytes().decode("ascii"))
        return about

    def assert_whole(self, count: int = 1, message: bytes = MAIL) -> None:
        """So many entries can be seen, and each is complete."""
        assert len(self.entries) == count
        for entry in self.entries:
            assert sorted(path.name for path in entry.iterdir()) == ["about.json", "message"]
            assert (entry / "message").read_bytes() == message
            about = json.loads((entry / "about.json").read_text())
            assert about["sha256"] == hashlib.sha256(message).hexdigest()
            assert about["entry"] == entry.name

    def assert_nothing(self) -> None:
        assert self.entries == []
        assert self.unfinished == []


def steps(site: Site, quarantine: Quarantine, *more: str) -> list[Call]:
    """The system calls of a run that have to do with the quarantine."""
    everything = traced.calls(site, site.words("--on", quarantine.action, *more))
    # (The launcher's are not avcheck's: there is a second exec where a path has blanks in it.)
    return [
        call for call in everything if str(quarantine.path) in call.words and call.name != "execve"
    ]


def at(calls: list[Call], name: str, words: str) -> int:
    """The place of the only such call among the calls."""
    (place,) = [
        number
        for number, call in enumerate(calls)
        if re.fullmatch(name, call.name) and re.search(words, call.words)
    ]
    return place


def goes_on(running: Running) -> bool:
    """Whether it has ended; it is told to go on, which it may not have stopped for yet."""
    tell(running, signal.SIGCONT)
    return running.process.poll() is not None


def tell(running: Running, number: signal.Signals) -> None:
    """Send a signal to what strace runs, if that is still there."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    with suppress(ProcessLookupError, FileNotFoundError):
        for child in children.read_text().split():
            os.kill(int(child), number)
