"""What daemons that answer one client at a time have in common."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.fakes import Server


class HungUpError(OSError):
    """The client has closed the connection, which it may at any time."""


class Talk:
    """One client's connection: what is read is whole, what is sent goes out in one piece."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.seen = b""

    def line(self) -> bytes:
        """The next line, without LF and CR."""
        while b"\n" not in self.seen:
            self.more()
        line, _, self.seen = self.seen.partition(b"\n")
        return line.removesuffix(b"\r")

    def exactly(self, size: int) -> bytes:
        while len(self.seen) < size:
            self.more()
        data, self.seen = self.seen[:size], self.seen[size:]
        return data

    def packet(self) -> bytes:
        """What comes next, in as large a piece as it comes: some daemons know no other end."""
        if not self.seen:
            self.more()
        data, self.seen = self.seen, b""
        return data

    def more(self) -> None:
        data = self.client.recv(1 << 16)
        if not data:
            raise HungUpError
        self.seen += data

    def say(self, *lines: bytes, end: bytes = b"\r\n") -> None:
        """Send the lines, each with its end, all at once."""
        self.client.sendall(b"".join(line + end for line in lines))


class Emulator(Server):
    """A daemon that any account may connect to, on a path or on a port of its own."""

    def __init__(self, path: Path | None = None, hold: str = "") -> None:
        super().__init__(path, hold=hold)
        if path:
            path.chmod(0o666)

    def __enter__(self) -> Emulator:
        return self

    def stalls(self) -> None:
        """From now on it answers nobody."""
        self._hold = "asked"

    def play(self, client: socket.socket) -> None:
        self.reach("connected")
        self.talk(Talk(client))

    def talk(self, talk: Talk) -> None:
        raise NotImplementedError
