"""A conversation with avcheck-smtp, shown line by line, with the part of a mail server played."""

from __future__ import annotations

import re
import socket
import subprocess
from types import TracebackType

from demo.stage import AVCHECK, PATIENCE, Stage

LAST_LINE = re.compile(rb"^\d{3} ", re.MULTILINE)


class Dialogue:
    """A connection to an avcheck-smtp that refuses infected mail, started as spawn(8) does it."""

    def __init__(self, where: Stage) -> None:
        self._where = where
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(PATIENCE)
        pairs = [
            ("-d", str(where.spool)),
            ("-s", f"clamd:{where.clamd.socket}"),
            ("-S", where.sink.address),
            ("--on", "infected=reject"),
        ]
        where.screen.command("avcheck-smtp", *(where.short(" ".join(pair)) for pair in pairs))
        with theirs:
            self._process = subprocess.Popen(
                [
                    str(AVCHECK.with_name("avcheck-smtp")),
                    *(word for pair in pairs for word in pair),
                ],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=theirs.fileno(),
                env={"PATH": "/usr/bin:/bin"},
            )
        self._hear()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.wait(PATIENCE)

    def say(self, command: str) -> str:
        """The reply to a command."""
        self._show("C: ", command)
        self._socket.sendall(f"{command}\r\n".encode())
        return self._hear()

    def send(self, letter: bytes, sender: str, recipient: str) -> str:
        """The reply to a message."""
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
            self.say(command)
        lines = letter.replace(b"\n", b"\r\n")
        self._show("C: ", f"({len(lines)} bytes of message, and a line with a dot)")
        self._socket.sendall(re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n")
        return self._hear()

    def _hear(self) -> str:
        heard = b""
        while not (LAST_LINE.search(heard) and heard.endswith(b"\r\n")):
            piece = self._socket.recv(4096)
            if not piece:
                raise RuntimeError(f"avcheck-smtp hung up: {heard!r}")
            heard += piece
        text = self._where.short(heard.decode("ascii", "replace"))
        for line in text.splitlines():
            self._show("S: ", line)
        return text

    def _show(self, who: str, line: str) -> None:
        self._where.screen.output(f"{who}{line}")
