"""A site whose scanner knows the test virus, until a test changes its mind."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from types import TracebackType

from tests.support.fakes import FakeClamd, Question
from tests.support.letters import EICAR
from tests.support.mta import MAIL, Site

FOUND = b"Eicar-Test-Signature FOUND"

HOUR = ("--canary", "3600")


def decoded(content: bytes) -> bytes:
    """The message with its attachments decoded, as a scanner that knows mail sees it."""
    pieces = [content]
    for part in message_from_bytes(content).walk():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            pieces.append(payload)
    return b"".join(pieces)


def infected(content: bytes) -> bool:
    return EICAR in decoded(content)


class Thinking(FakeClamd):
    """A clamd whose answer to a message is that of think, a function of its content."""

    def __init__(self, path: Path, think: Callable[[bytes], bytes], hold: str = "") -> None:
        self.think = think
        self._hold = hold
        super().__init__(path, hold=hold)

    def play(self, client: socket.socket) -> None:
        self.reach("connected")
        question, name = self._question(client)
        self.questions.append(question)
        self.reach("asked")
        says = self.think(question.content)
        if says:
            client.sendall(name + b": " + says + b"\0")


def good(content: bytes) -> bytes:
    return FOUND if infected(content) else b"OK"


# Ways of being wrong.
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "knows no virus": lambda content: b"OK",
    "calls everything one": lambda content: FOUND,
    "is the wrong way round": lambda content: b"OK" if infected(content) else FOUND,
    "only suspects it": lambda content: (
        b"Heuristics.Phishing.X FOUND" if infected(content) else b"OK"
    ),
    "cannot look inside": lambda content: b"Heuristics.Encrypted.Zip FOUND",
    "has a low limit": lambda content: b"Heuristics.Limits.Exceeded.MaxFileSize FOUND",
}


class Trust:
    """A site with a scanner that can change its mind."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._scanners: list[Thinking] = []
        self.scanner = self.another(good)

    def __enter__(self) -> Trust:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def another(self, think: Callable[[bytes], bytes], hold: str = "") -> Thinking:
        path = self.site.directory / f"thinking.{len(self._scanners)}"
        scanner = Thinking(path, think, hold)
        path.chmod(0o777)
        self._scanners.append(scanner)
        self.site.scanner = scanner
        return scanner

    def close(self) -> None:
        for scanner in self._scanners:
            scanner.stop()

    @property
    def state(self) -> Path:
        """The file with the result; there is one."""
        (path,) = self.states
        return path

    @property
    def states(self) -> list[Path]:
        return [self.site.spool / name for name in self.site.left if name.startswith("canary.")]

    def age(self, seconds: float) -> None:
        """Let the last test be so long ago."""
        then = time.time() - seconds
        os.utime(self.state, (then, then))

    @property
    def tests(self) -> list[Question]:
        """The mails of known-answer tests that the scanner was asked about."""
        return [each for each in self.scanner.questions if MAIL not in each.content]

    @property
    def viruses(self) -> int:
        return sum(infected(each.content) for each in self.scanner.questions)


class Slow:
    """Makes a scanner keep its answer to the known-answer test until release()."""

    def __init__(self, scanner: Thinking) -> None:
        self._mine, self._theirs = socket.socketpair()
        scanner.think = self.think

    def think(self, content: bytes) -> bytes:
        if infected(content):
            self._theirs.sendall(b".")
            self._theirs.recv(1)
        return good(content)

    def reached(self) -> None:
        assert self._mine.recv(1)

    def release(self) -> None:
        self._mine.sendall(b".")


def is_distrusted(output: bytes) -> bool:
    return bool(re.match(rb"4\.3\.5 avcheck: .*clamd.* EICAR", output))
