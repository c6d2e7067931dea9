"""What arrives of what was said."""

from __future__ import annotations

import pytest

from tests.campaigns.rot import kinds
from tests.campaigns.rot.kinds import BACK, Line, Rot

SAID = [b"250 o", b"k\r\n"]


def line(rot: Rot | None) -> tuple[Line, list[bytes]]:
    """The line, and what has arrived on it, when the other side has heard it all."""
    there = Line(rot)
    arrived: list[bytes] = []
    there.breaks_now()
    for piece in SAID:
        arrived += there.arrives(piece)
        there.breaks_now()
    return there, arrived


@pytest.mark.parametrize(
    ("kind", "at", "byte", "arrived"),
    [
        (kinds.CUT, 0, 0, []),
        (kinds.CUT, 2, 0, [b"25"]),
        (kinds.CUT, 8, 0, SAID),
        (kinds.RESET, 6, 0, [b"250 o", b"k"]),
        (kinds.HALF, 5, 0, [b"250 o"]),
        (kinds.LATE, 1, 0, [b"2"]),
        (kinds.IDLE, 5, 0, [b"250 o"]),
        (kinds.SPLIT, 3, 0, [b"250", b" ", b"o", b"k", b"\r", b"\n"]),
        (kinds.TWICE, 1, 0, [b"2550 o", b"k\r\n"]),
        (kinds.AGAIN, 5, 0, [b"250 o", b"k250 ok\r\n"]),
        (kinds.FLIP, 0, 4, [b"650 o", b"k\r\n"]),
        (kinds.CHANGE, 7, 0, [b"250 o", b"k\r\0"]),
        (kinds.REMOVE, 4, 0, [b"250 ", b"k\r\n"]),
        (kinds.INSERT, 3, 0x2D, [b"250- o", b"k\r\n"]),
    ],
)
def test_every_kind(kind: str, at: int, byte: int, arrived: list[bytes]) -> None:
    there, found = line(Rot(BACK, at, kind, byte))
    assert found == arrived
    assert there.struck
    assert there.said == b"".join(SAID)


def test_all_of_it_arrives_where_nothing_rots() -> None:
    for rot in (None, Rot(BACK, 9, kinds.FLIP, 1), Rot(BACK, 9, kinds.CUT)):
        there, found = line(rot)
        assert (found, there.struck) == (SAID, False)


def test_what_is_held_comes_at_once_when_it_is_let_go() -> None:
    there, found = line(Rot(BACK, 3, kinds.LATE))
    assert found == [b"250"]
    assert there.release() == b" ok\r\n"
    assert list(there.arrives(b"more")) == [b"more"]


def test_a_turn_begins_where_the_other_side_has_spoken() -> None:
    there = Line(Rot(BACK, 8, kinds.AGAIN))
    assert list(there.arrives(b"first")) == [b"first"]
    there.other_side_spoke()
    assert list(there.arrives(b"second")) == [b"secosecond"]
