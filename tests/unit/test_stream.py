"""The bytes to and from a peer: the deadline, the errors of a socket, and large files."""

from __future__ import annotations

import errno
import os
import socket
import threading
from time import monotonic
from typing import Any

import pytest

from avcheck import dial, stream
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import BROKEN, EXPIRED, Defer
from tests.support.wire import PATIENCE, Wire, soon, tick
from tests.support.wire import given as given_file

LARGE = 4 * 1024 * 1024  # more than any socket's buffers hold


class Clock:
    """A clock that goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


# The deadline.


@pytest.mark.parametrize("read", ["line", "exactly", "rest"])
def test_a_peer_that_keeps_silent_is_not_waited_for_longer_than_the_deadline(read: str) -> None:
    with Wire(b"abc", stays=True) as wire:
        wire.conn.deadline = tick()
        with pytest.raises(Defer, match="no answer in time") as why:
            wire.conn.exactly(4) if read == "exactly" else getattr(wire.conn, read)()
        assert why.value.code == EXPIRED


def test_a_byte_now_and_then_does_not_stretch_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(stream, "monotonic", clock)
    monkeypatch.setattr(dial, "monotonic", clock)
    with Wire(b"x" * 100, steps=[1] * 100, stays=True) as wire:
        wire.conn.deadline = 10.0
        with pytest.raises(Defer, match="no answer in time"):
            wire.conn.line()
        assert 0 < len(wire.conn.seen) < 10


@pytest.mark.parametrize("how", ["send", "send_descriptor", "send_file"])
def test_after_the_deadline_nothing_is_sent(how: str) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.deadline = monotonic()
        with pytest.raises(Defer, match="does not take the message in time") as why:
            send(wire.conn, how, file)
        assert why.value.code == EXPIRED
        assert wire.heard() == b""


def send(link: Conn, how: str, file: int) -> None:
    if how == "send":
        link.send(b"words")
    elif how == "send_descriptor":
        link.send_descriptor(b"words", file)
    else:
        link.send_file(file, 0, 7)


@pytest.mark.parametrize("how", ["send", "send_file"])
def test_a_peer_that_takes_nothing_is_not_waited_for_longer_than_the_deadline(how: str) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"x" * LARGE) as file:
        wire.conn.deadline = tick()
        with pytest.raises(Defer, match="does not take the message in time"):
            if how == "send":
                wire.conn.send(b"x" * LARGE)
            else:
                wire.conn.send_file(file, 0, LARGE)


def test_no_deadline_is_no_limit() -> None:
    with Wire(b"a\n") as wire:
        wire.conn.deadline = float("inf")
        wire.conn.send(b"x")
        assert wire.conn.line() == b"a"


# Sending.


def test_what_is_sent_arrives_with_the_open_file() -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.send(b"one ")
        wire.conn.send_descriptor(b"two", file)
        assert wire.heard() == b"one two"
        assert wire.files == [b"content"]


def test_the_open_file_is_sent_with_all_words_even_if_they_go_in_two_pieces() -> None:
    class Short(socket.socket):
        def sendmsg(self, buffers: Any, *rights: Any) -> int:
            return super().sendmsg([buffers[0][:3]], *rights)

    ours, theirs = socket.socketpair()
    short = Short(fileno=ours.detach())
    with theirs, Conn(short, Address(path=b"/x"), soon()) as link, given_file(b"x") as file:
        link.send_descriptor(b"zFILDES\0x", file)
        words, files, _, _ = socket.recv_fds(theirs, 100, 1)
        assert words + theirs.recv(100) == b"zFILDES\0x"
        os.close(files[0])


@pytest.mark.parametrize("encrypted", [False, True], ids=["sendfile", "read-and-send"])
@pytest.mark.parametrize("deadline", [soon, lambda: float("inf")], ids=["deadline", "none"])
def test_a_file_arrives_at_a_slow_reader(encrypted: bool, deadline: type[float]) -> None:
    content = os.urandom(1 << 16) * (LARGE >> 16)
    ours, theirs = socket.socketpair()
    arrived = bytearray()

    def read() -> None:
        while piece := theirs.recv(5000):
            arrived.extend(piece)

    reader = threading.Thread(target=read)
    with given_file(content) as file, theirs:
        reader.start()
        with Conn(ours, Address(path=b"/x"), deadline()) as link:
            link.encrypted = encrypted
            link.send_file(file, 10, LARGE - 30)
        reader.join(PATIENCE)
    assert arrived == content[10:-20]


@pytest.mark.parametrize("encrypted", [False, True], ids=["sendfile", "read-and-send"])
def test_a_file_that_lost_bytes_is_not_sent_as_if_it_had_not(encrypted: bool) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.encrypted = encrypted
        with pytest.raises(Defer, match="the spool file was cut short"):
            wire.conn.send_file(file, 0, 8)


@pytest.mark.parametrize("how", ["send", "send_file", "encrypted"])
def test_who_hangs_up_while_we_send_has_said_why(how: str) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"size limit exceeded\0")
    theirs.close()
    with Conn(ours, Address(path=b"/x"), soon()) as link, given_file(b"x" * LARGE) as file:
        link.encrypted = how == "encrypted"
        if how == "send":
            link.send(b"x")
        else:
            link.send_file(file, 0, LARGE)
        assert link.gone is not None
        link.send(b"more")
        assert link.rest() == b"size limit exceeded\0"


def test_who_hangs_up_with_our_words_unread_has_said_something_too() -> None:
    ours, theirs = socket.socketpair()
    with Conn(ours, Address(path=b"/x"), soon()) as link:
        link.send(b"unread")
        theirs.sendall(b"words")
        theirs.close()
        assert link.rest() == b"words"


def test_who_hangs_up_while_we_send_and_says_nothing_is_broken() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with Conn(ours, Address(path=b"/x"), soon()) as link:
        link.send(b"x")
        with pytest.raises(Defer, match=r"closed the connection$") as why:
            link.line()
        assert why.value.code == BROKEN
        assert isinstance(why.value.__cause__, BrokenPipeError)


def test_who_has_hung_up_is_not_waited_for_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What he had to say is here, or will never come; -c has a deadline of 15 minutes."""
    monkeypatch.setattr(stream, "LAST_WORDS", 0.01)
    with Wire(b"no", stays=True) as wire:
        wire.conn.gone = BrokenPipeError()
        wire.conn.deadline = float("inf")
        with pytest.raises(Defer, match="closed the connection after 'no'") as why:
            wire.conn.line()
    assert why.value.code == BROKEN


def test_what_else_can_happen_while_sending_is_named() -> None:
    with Wire(b"", stays=True) as wire:
        with pytest.raises(Defer, match="sending: Bad file descriptor") as why:
            wire.conn.send_descriptor(b"x", 9999)
        assert why.value.code == BROKEN


def test_what_else_can_happen_while_receiving_is_named() -> None:
    class Unreachable(socket.socket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

    with Conn(Unreachable(), Address(path=b"/x"), soon()) as link:
        with pytest.raises(Defer, match="receiving: No route to host") as why:
            link.line()
        assert why.value.code == BROKEN
