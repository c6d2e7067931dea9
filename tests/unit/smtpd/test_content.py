"""The content of a message on the wire: its one end, and what others could take for one."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avcheck.smtpd.content import END, FIRST_DOT, LONE_DOT, Content

WIRE = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\0\xff", b"\r\n.", b"\n."]),
    max_size=30,
).map(b"".join)

ENDS = (b"\r", b"\n", b"\r\n")


class Read:
    """What was made of the pieces, up to the end and after it."""

    def __init__(self, *pieces: bytes) -> None:
        content = Content()
        self.content = self.rest = b""
        for piece in pieces:
            if content.ended:
                self.rest += piece
            else:
                self.content += content.feed(piece)
                self.rest = content.rest
        self.ended, self.doubt = content.ended, content.doubt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and vars(self) == vars(other)


def expected(wire: bytes) -> tuple[bytes, bytes] | None:
    """Content and rest by the words of RFC 5321 4.5.2, line by line; None without an end."""
    lines = wire.split(b"\r\n")
    for number, line in enumerate(lines[:-1]):
        if line == b".":
            found = [each.removeprefix(b".") for each in lines[:number]]
            return b"".join(each + b"\r\n" for each in found), b"\r\n".join(lines[number + 1 :])
    return None


@given(WIRE, WIRE)
@example(b"", b"QUIT\r\n")
@example(b".", b"")
def test_the_end_is_where_the_standard_has_it(wire: bytes, more: bytes) -> None:
    read = Read(wire + END + more)
    assert (read.content, read.rest) == expected(wire + END + more)
    assert read.ended


@given(WIRE, st.lists(st.integers(0, 80), max_size=6))
def test_every_cut_of_the_bytes_gives_the_same(wire: bytes, cuts: list[int]) -> None:
    wire += END + b"REST"
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[first:last] for first, last in itertools.pairwise(places)]
    assert Read(*pieces) == Read(wire)
    assert Read(*[wire[at : at + 1] for at in range(len(wire))]) == Read(wire)


@given(WIRE)
def test_without_its_end_it_never_ends(wire: bytes) -> None:
    assert Read(wire).ended == (expected(wire) is not None)


# What servers were seen to take for a line end, and more than that.
LENIENT = (rb"\r\n|\n", rb"\r\n|\r", rb"\r\n|\n|\r", rb"\r?\n", rb"\r+\n|\n")


@given(WIRE, st.sampled_from(LENIENT))
def test_where_another_server_sees_another_end_there_is_a_doubt(wire: bytes, ends: bytes) -> None:
    """The first dot that is alone in its line, as that server sees lines, is not our end."""
    whole = b"\r\n" + wire + END
    theirs = re.search(rb"(?:%b)(\.)(?:%b)" % (ends, ends), whole)
    assert theirs
    if theirs.start(1) != whole.find(END) + 2:
        assert Read(wire + END).doubt == LONE_DOT


@given(WIRE)
def test_where_another_server_takes_another_dot_away_there_is_a_doubt(wire: bytes) -> None:
    """By bare LFs, which Postfix, sendmail and Exim take for line ends unless told otherwise."""
    read = Read(wire + END)
    lines = re.split(rb"\r?\n", read.content)
    if any(line.startswith(b".") for line in lines) and not read.doubt:
        # They are all below a CRLF, so what we send has two of them.
        assert read.content.count(b"\n.") == read.content.count(b"\r\n.")


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("last", ENDS)
def test_a_lone_dot_between_any_two_line_ends_is_a_doubt(first: bytes, last: bytes) -> None:
    read = Read(b"a" + first + b"." + last + b"b" + END)
    assert read.doubt == (b"" if first == last == b"\r\n" else LONE_DOT)
    above = Read(b"." + last + b"b" + END)  # the first line
    assert above.doubt == (b"" if last == b"\r\n" else LONE_DOT)


def test_a_dot_below_a_bare_lf_is_a_doubt() -> None:
    assert Read(b"a\n.b" + END).doubt == FIRST_DOT
    assert Read(b"a\r\n..b\r.c\r\n.d" + END).doubt == b""


def test_what_is_usual_is_no_doubt() -> None:
    read = Read(b"Subject: x\r\n\r\n..\r\n...\r\na bare \r, a bare \n", b"\r\n.\r\n")
    assert read.doubt == b""
    assert read.content == b"Subject: x\r\n\r\n.\r\n..\r\na bare \r, a bare \n\r\n"
