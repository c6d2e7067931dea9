"""What the tests of avcheckctl share: the command, and a clamd that knows a virus."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from avcheck.admin import group
from tests.support.fakes import FakeClamd
from tests.support.letters import EICAR
from tests.support.servers import packages

# The name of an entry in a quarantine.
ENTRY = "20260102T030405Z-0123456789ab"

VERSION = b"ClamAV 1.4.6/27412/Sun Jan  4 09:22:37 2026"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


def avcheckctl(*words: str | os.PathLike[str], stdin: bytes = b"", colour: bool = False) -> Said:
    """Run the command in this process; a bug in it is the test's error."""
    result = runner().invoke(group, [os.fspath(word) for word in words], stdin, color=colour)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


def ctl(place: Path, what: str, *words: str | os.PathLike[str]) -> Said:
    """Run a command of `avcheckctl quarantine` on that quarantine."""
    return avcheckctl("quarantine", what, "--directory", place, *words)


def entry(place: Path, name: str = ENTRY, **facts: Any) -> Path:
    """An entry in a quarantine, which is made if it is not there; facts are of its sidecar."""
    place.mkdir(mode=0o700, exist_ok=True)
    made = place / name
    made.mkdir(mode=0o700)
    (made / "message").write_text("Subject: x\n\nx\n")
    good = {"time": "2026-01-02T03:04:05Z", "verdict": "infected", "sender": "a@b"}
    about = {**good, "recipients": ["c@d"], **facts}
    (made / "about.json").write_text(json.dumps(about))
    return made


def runner() -> CliRunner:
    """One that keeps standard error apart, which click does by itself from 8.2 on."""
    make: Any = CliRunner
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters
    made: CliRunner = make(mix_stderr=False) if apart else make()
    return made


class KnowingClamd(FakeClamd):
    """A clamd that knows the EICAR test virus, plain or as an attachment, and its own version.

    With blind it finds nothing, with eager it finds a virus in everything; judge decides
    otherwise, and gives the words after the name of the object.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        version: bytes = VERSION,
        blind: bool = False,
        eager: bool = False,
        judge: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.version = version
        self.blind = blind
        self.eager = eager
        self.judge = judge or self._judge
        super().__init__(path)

    def __enter__(self) -> KnowingClamd:
        return self

    def play(self, client: socket.socket) -> None:
        words = client.recv(9, socket.MSG_PEEK)
        if words.startswith(b"nPING"):
            client.sendall(b"PONG\n")
        elif words.startswith(b"nVERSION"):
            client.sendall(self.version + b"\n")
        elif words.startswith(b"n"):
            client.sendall(b"UNKNOWN COMMAND\n")
        else:
            question, name = self._question(client)
            self.questions.append(question)
            client.sendall(name + b": " + self.judge(question.content) + b"\0")

    def _judge(self, content: bytes) -> bytes:
        if self.eager or (not self.blind and holds_virus(content)):
            return b"Eicar-Test-Signature FOUND"
        return b"OK"


def holds_virus(content: bytes) -> bool:
    """Whether EICAR is in there, or in an attachment in base64."""
    texts = re.findall(rb"(?:^[A-Za-z0-9+/=]+\r?\n)+", content, re.MULTILINE)
    return EICAR in content or any(EICAR in base64.b64decode(text + b"===") for text in texts)


def postfix_says(config: Path, master: str, main: Mapping[str, str]) -> Path:
    """A configuration directory for postconf(1): these services, these parameters."""
    packages.need("postfix", commands=["postconf"])
    config.mkdir(exist_ok=True)
    (config / "master.cf").write_text(master)
    (config / "main.cf").write_text(
        "".join(
            f"{name} = {value}\n" for name, value in {"compatibility_level": "3.6", **main}.items()
        )
    )
    os.utime(config / "main.cf", (0, 0))  # Postfix waits for one that was changed just now
    return config
