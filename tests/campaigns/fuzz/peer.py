"""A socket whose other end says what notation.py says: no kernel, no clock, no thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from avcheck import conn, dial
from avcheck.scanners import icap
from tests.campaigns.fuzz.notation import DEAF, PIECE, RESET, SILENCE, STEP, Item, mark

# More than this is asked for at once by nobody who knows how long an answer can be.
EXACTLY_MAX = 2 << 20


class Peer:
    """What the other side of all the connections of a run says, and what it was told.

    delivered is what was read, with silence that was waited for in the notation; sends has each
    thing sent, and what was or could have been read when it was.
    """

    def __init__(self, items: list[Item], *, one_by_one: bool = False) -> None:
        self._items = [item for item in items if item != PIECE] if one_by_one else list(items)
        self._items.reverse()
        self._one_by_one = one_by_one
        self.delivered = bytearray()
        self.sends: list[tuple[bytes, bytes]] = []
        self.cut = False  # something could not be sent
        self._deaf = False
        self._silent = False  # the time of a read is up, and nothing has come

    def said(self) -> bytes:
        """What was read, and what could be without waiting: nothing after a silence."""
        if self._silent:
            return bytes(self.delivered)
        available = b""
        for item in reversed(self._items):
            if isinstance(item, bytes):
                available += item
            elif item in (STEP, SILENCE, RESET):
                break
        return bytes(self.delivered) + available

    def hangs_up(self) -> None:
        """This connection is closed; what it had still to say is lost."""
        while self._items and self._items.pop() != STEP:
            pass
        self._deaf = False

    def receive(self, size: int, timeout: float | None) -> bytes:
        silent, self._silent = self._silent, False
        if silent and timeout == 0:
            raise BlockingIOError
        while self._items:
            item = self._items[-1]
            if isinstance(item, bytes):
                size = 1 if self._one_by_one else size
                if len(item) > size:
                    self._items[-1] = item[size:]
                    item = item[:size]
                else:
                    self._items.pop()
                self.delivered += item
                return item
            if item in (STEP, SILENCE) and timeout == 0:
                raise BlockingIOError
            if item == SILENCE:
                if len(self._items) > 1:
                    self._items.pop()
                self.delivered += mark(SILENCE)
                self._silent = True
                raise TimeoutError
            self._items.pop()
            if item == DEAF:
                self._deaf = True
            elif item == RESET:
                self._items.clear()
                raise ConnectionResetError
        return b""

    def take(self, data: bytes) -> None:
        while self._items and self._items[-1] in (DEAF, PIECE):
            self._deaf = self._items.pop() == DEAF or self._deaf
        if self._deaf:
            self.cut = True
            raise BrokenPipeError
        self.sends.append((data, self.said()))


class Socket:
    """Our end of a connection to the peer; what conn.Conn needs of a socket."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._timeout: float | None = None

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setsockopt(self, *_: int) -> None:
        pass

    def recv(self, size: int) -> bytes:
        return self._peer.receive(size, self._timeout)

    def sendall(self, data: bytes) -> None:
        self._peer.take(data)

    def sendmsg(self, words: list[bytes], rights: object) -> int:
        self._peer.take(b"".join(words))
        return len(b"".join(words))

    def fileno(self) -> int:
        """For sendfile(2): goes nowhere."""
        self._peer.take(b"<file>")
        return _nowhere()

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


_NOWHERE: list[int] = []


def _nowhere() -> int:
    if not _NOWHERE:
        _NOWHERE.append(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    return _NOWHERE[0]


@contextmanager
def listening(peer: Peer) -> Iterator[None]:
    """Whoever connects to an address meanwhile is connected to the peer."""
    connected = False

    def connect(address: object, deadline: float, left: int) -> Any:
        nonlocal connected
        if connected:
            peer.hangs_up()
        connected = True
        return Socket(peer)

    exactly = conn.Conn.exactly

    def exactly_so_many(self: conn.Conn, size: int) -> bytes:
        assert size <= EXACTLY_MAX, f"wants to have {size} bytes in memory"
        return exactly(self, size)

    before = dial.connected, icap.GRACE
    unread, watch = conn.Conn.unread, conn.Conn.watch
    dial.connected = connect
    conn.Conn.unread = lambda self: 0  # type: ignore[method-assign]
    conn.Conn.watch = lambda self, size: None  # type: ignore[method-assign]
    icap.GRACE = 0  # who speaks when he is waited for does not speak out of turn
    conn.Conn.exactly = exactly_so_many  # type: ignore[method-assign]
    try:
        yield
    finally:
        dial.connected, icap.GRACE = before
        conn.Conn.unread, conn.Conn.watch = unread, watch  # type: ignore[method-assign]
        conn.Conn.exactly = exactly  # type: ignore[method-assign]
