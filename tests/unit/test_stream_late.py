"""What has arrived when the time is up: it counts, but nobody gets more time by it."""

from __future__ import annotations

import socket
from time import monotonic

import pytest

from avcheck import stream
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import BROKEN, EXPIRED, Defer
from tests.support.wire import Wire


def too_late(wire: Wire) -> Conn:
    wire.conn.deadline = monotonic() - 60
    return wire.conn


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_line_that_is_there_is_read(one_by_one: bool) -> None:
    with Wire(b"250 ok\r\n221 bye\r\n", one_by_one=one_by_one, stays=True) as wire:
        late = too_late(wire)
        assert late.line() == b"250 ok\r"
        assert late.line() == b"221 bye\r"
        with pytest.raises(Defer, match="no answer in time") as why:
            late.line()
    assert why.value.code == EXPIRED


def test_bytes_and_an_end_that_are_there_are_read() -> None:
    with Wire(b"abcdef") as wire:
        late = too_late(wire)
        assert late.exactly(3) == b"abc"
        assert late.rest() == b"def"


def test_half_a_line_is_no_line() -> None:
    with Wire(b"250 o", stays=True) as wire, pytest.raises(Defer) as why:
        too_late(wire).line()
    assert why.value.code == EXPIRED
    with Wire(b"250 o") as wire, pytest.raises(Defer, match="closed the connection") as why:
        too_late(wire).line()
    assert why.value.code == BROKEN


def test_a_connection_that_broke_is_known_to_be_broken() -> None:
    with Wire(b"", stays=True) as wire:
        wire.conn.send(b"unread")
        wire._theirs.close()
        with pytest.raises(Defer, match="closed the connection"):
            too_late(wire).line()


class Woken(socket.socket):
    """A socket whose reader is stopped while it waits: data comes, then its time is over."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.gettimeout():
            raise TimeoutError("timed out")
        return super().recv(size, flags)


def test_what_came_while_it_waited_is_read_though_the_wait_is_over() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Woken(fileno=ours.detach()) as sock:
        theirs.sendall(b"250 ok\r\n")
        assert Conn(sock, Address(path=b"/x"), monotonic() + 60).line() == b"250 ok\r"


class Endless(socket.socket):
    """A socket on which there is always more to read."""

    taken = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        size = min(size, 100)
        self.taken += size
        assert self.taken < 1 << 20, "it reads on and on"
        return (b"250-x\n" * size)[:size]


def test_who_goes_on_talking_gets_no_more_time() -> None:
    with Endless(socket.AF_UNIX) as sock:
        late = Conn(sock, Address(path=b"/x"), monotonic() - 60)
        with pytest.raises(Defer, match="no answer in time"):
            while True:
                late.line()
        assert sock.taken <= stream.RECEIVE_MAX + 100
