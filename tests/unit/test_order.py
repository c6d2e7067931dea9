"""The order of question and answer: what is kept back, what is early, what was heard."""

from __future__ import annotations

import socket

from avcheck.address import Address
from avcheck.conn import Conn
from tests.support.wire import Wire, soon


def test_of_a_watched_question_the_last_bytes_are_kept_until_an_answer_is_waited_for() -> None:
    with Wire(b"no", stays=True) as wire:
        wire.conn.watch(10)
        wire.conn.send(b"12345")
        assert wire.heard() == b"12345"
        wire.conn.send(b"67890")
        assert wire.heard() == b"12345678"
        wire.conn.send(b"end")
        assert wire.heard() == b"12345678"
        assert wire.conn.exactly(2) == b"no"  # which was there: nothing had to be waited for
        assert wire.conn.early
        assert wire.heard() == b"12345678"


def test_who_has_nothing_more_to_say_is_not_waited_for() -> None:
    """It will not read the rest of the question, either, and the kernel still has it."""
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with theirs, Conn(ours, Address(path=b"/run/x"), soon()) as link:
        link.watch(5)
        link.send(b"12345")
        assert link.rest() == b""


def test_a_question_that_is_not_watched_goes_out_at_once() -> None:
    with Wire(b"", stays=True) as wire:
        wire.conn.send(b"12345")
        assert wire.heard() == b"12345"


def test_all_that_was_said_since_the_last_question_is_heard() -> None:
    with Wire(b"a\nb\nc\nd", stays=True) as wire:
        wire.conn.line()
        wire.conn.send(b"x")
        wire.conn.line()
        assert wire.conn.heard() == b"b\nc\nd"
        assert wire.conn.exactly(1) == b"c"


def test_what_was_there_before_the_question_makes_it_early() -> None:
    with Wire(b"a\nb\n", stays=True) as wire:
        wire.conn.line()
        wire.conn.send(b"x")
        assert wire.conn.early
        wire.conn.line()
        wire.conn.send(b"x")
        assert not wire.conn.early
