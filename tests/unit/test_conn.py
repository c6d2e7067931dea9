"""One connection: what a read gives, who speaks out of turn, and what a with block adds."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import conn
from avcheck.address import Address
from avcheck.conn import LINE_MAX, Conn
from avcheck.exits import BROKEN, Defer
from tests.support.wire import Wire, listening_tcp, soon

# Reading.


@pytest.mark.parametrize("one_by_one", [False, True])
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=6))
def test_lines_are_lines_however_they_come(one_by_one: bool, lines: list[bytes]) -> None:
    with Wire(b"".join(line + b"\n" for line in lines), one_by_one=one_by_one) as wire:
        assert [wire.conn.line() for _ in lines] == lines
        with pytest.raises(Defer, match=r"closed the connection$"):
            wire.conn.line()


@pytest.mark.parametrize("one_by_one", [False, True])
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_so_many_bytes_and_then_the_rest(one_by_one: bool, first: bytes, rest: bytes) -> None:
    with Wire(first + rest, one_by_one=one_by_one) as wire:
        assert wire.conn.exactly(len(first)) == first
        assert wire.conn.rest() == rest


def test_a_line_ends_where_the_protocol_says() -> None:
    with Wire(b"a\nb\r\nc\0d\r\n\r\n") as wire:
        assert wire.conn.line(b"\r\n") == b"a\nb"
        assert wire.conn.line(b"\0") == b"c"
        assert wire.conn.line(b"\r\n\r\n") == b"d"


def test_a_line_cut_off_by_the_end_is_no_line() -> None:
    with Wire(b"250 O\x1bK") as wire:
        with pytest.raises(Defer) as why:
            wire.conn.line()
        assert why.value.text == "closed the connection after '250 O?K'"
        assert why.value.code == BROKEN


def test_too_few_bytes_are_not_enough() -> None:
    with Wire(b"abc") as wire, pytest.raises(Defer, match="closed the connection after 'abc'"):
        wire.conn.exactly(4)


def test_a_line_has_an_end_some_time() -> None:
    with Wire(b"x" * (LINE_MAX + 1), stays=True) as wire:
        with pytest.raises(Defer, match=f"a line of more than {LINE_MAX} bytes") as why:
            wire.conn.line()
        assert why.value.code == BROKEN


def test_a_line_may_be_as_long_as_the_limit() -> None:
    with Wire(b"x" * LINE_MAX + b"\n", one_by_one=True) as wire:
        assert len(wire.conn.line()) == LINE_MAX


def test_the_rest_has_a_limit() -> None:
    with Wire(b"x" * 101) as wire, pytest.raises(Defer, match="a reply of more than 100 bytes"):
        wire.conn.rest(100)
    with Wire(b"x" * 100) as wire:
        assert wire.conn.rest(100) == b"x" * 100


def test_who_says_no_more_can_still_be_told_something() -> None:
    with Wire(b"", stays=True) as wire:
        wire.conn.send(b"QUIT")
        wire.conn.say_no_more()
        assert (wire._theirs.recv(9), wire._theirs.recv(9)) == (b"QUIT", b"")
        wire._theirs.sendall(b"221 bye\n")
        assert wire.conn.line() == b"221 bye"


def test_who_says_no_more_to_nobody_is_not_disturbed() -> None:
    with Wire(b"") as wire:
        wire.conn.sock.close()
        wire.conn.say_no_more()


# Who speaks out of turn.


def test_a_peer_that_waits_has_not_spoken() -> None:
    with Wire(b"", stays=True) as wire:
        assert not wire.conn.has_spoken()
        wire.conn.send(b"x")
        assert wire.heard() == b"x"


def test_what_a_peer_said_unasked_is_kept() -> None:
    with Wire(b"451 too busy\r\n", stays=True) as wire:
        assert wire.conn.has_spoken()
        assert wire.conn.has_spoken()
        assert wire.conn.line() == b"451 too busy\r"


def test_hanging_up_is_speaking() -> None:
    with Wire(b"") as wire:
        assert wire.conn.has_spoken()


def test_a_reset_before_we_look_is_speaking() -> None:
    class Reset(socket.socket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            raise ConnectionResetError

    with Conn(Reset(), Address(path=b"/x"), soon()) as link:
        assert link.has_spoken()
        assert link.gone is not None


def test_a_reset_is_speaking() -> None:
    with listening_tcp() as (server, address), conn.connect((address,), soon()) as link:
        client, _ = server.accept()
        link.send(b"unread")
        client.recv(1)
        client.close()
        with contextlib.suppress(Defer):
            link.line()  # until the reset has come
        assert link.has_spoken()


def test_under_tls_only_what_was_read_counts() -> None:
    with Wire(b"a\nb") as wire:
        wire.conn.encrypted = True
        assert not wire.conn.has_spoken()
        wire.conn.line()
        assert wire.conn.has_spoken()


def test_words_in_the_clear_are_not_taken_for_words_under_tls() -> None:
    with Wire(b"220 go\r\n250 forged\r\n", stays=True) as wire:
        wire.conn.line()
        with pytest.raises(Defer, match="went on talking after its reply to STARTTLS"):
            wire.conn.start_tls(b"mx.example", b"")


# The with block.


def test_a_defer_that_leaves_names_the_peer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(Defer) as why, Conn(ours, Address(host=b"::1", port=b"25"), soon()):
            raise Defer("is silent")
        assert why.value.text == "[::1]:25: is silent"
        assert theirs.recv(1) == b""


def test_another_exception_leaves_as_it_is() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(KeyError, match=r"^'x'$"), Conn(ours, Address(path=b"/x"), soon()):
            raise KeyError("x")
        assert theirs.recv(1) == b""
