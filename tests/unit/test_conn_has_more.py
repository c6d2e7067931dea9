"""What Conn.has_more tells: whether the peer said more than was read."""

from __future__ import annotations

from tests.support.wire import Wire

LONG = 10.0
SHORT = 0.01


def test_nothing_is_pending_after_the_last_byte() -> None:
    with Wire(b"OK\n", stays=True) as wire:
        assert wire.conn.line() == b"OK"
        assert not wire.conn.has_more()
        assert not wire.conn.has_more(SHORT)


def test_what_is_pending_is_left_for_the_next_read() -> None:
    with Wire(b"OK\nx\n", stays=True, one_by_one=True) as wire:
        assert wire.conn.line() == b"OK"
        assert wire.conn.has_more(LONG)
        assert wire.conn.has_more()
        assert wire.conn.line() == b"x"


def test_what_was_received_with_the_line_is_pending() -> None:
    with Wire(b"OK\nx", stays=True) as wire:
        wire.conn.line()
        assert wire.conn.has_more()


def test_a_peer_that_hangs_up_is_not_waited_for() -> None:
    with Wire(b"OK\n") as wire:
        wire.conn.line()
        assert not wire.conn.has_more(LONG)
        assert wire.conn.gone is None


def test_a_connection_that_breaks_is_noted() -> None:
    wire = Wire(b"", stays=True)
    with wire:
        wire.conn.send(b"unread")
        wire._theirs.close()
        assert not wire.conn.has_more(LONG)
        assert wire.conn.gone
