"""What scanners see of a message: the ends of its headers are where mail systems have them."""

from __future__ import annotations

import itertools
import re
from time import process_time

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.seen import LINE_MAX, Reader, is_field
from tests.support.wire import MESSAGE

FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


def seen(message: bytes, size: int = 1 << 30) -> bytes:
    """What is seen of it when it comes in pieces of that size."""
    reader = Reader()
    pieces = [reader.feed(message[at : at + size]) for at in range(0, len(message), size)]
    whole = b"".join([*pieces, reader.end()])
    assert reader.differs == (whole != message)
    return whole


def with_empty_line(message: bytes) -> bytes:
    """The message as Postfix's cleanup(8) has it: a slow and simple reading of the header."""
    lines = message.splitlines(keepends=True) if b"\r" not in message else message.split(b"\n")
    for number, line in enumerate(lines):
        if not line.strip(b"\r\n"):
            break
        top = all(re.match(b">*From ", each) for each in lines[: number + 1])
        if not (top or line.startswith((b" ", b"\t")) or FIELD.match(line)):
            return b"".join([*lines[:number], b"\n", *lines[number:]])
    return message


# The message's own header: | is where scanners see an empty line more.
HEADERS = [
    b"Subject: x\nTo: y\n\nHello\nHello: x\n",
    b"|begin 644 x\n",
    b"|: no name\n",
    b"|\xff: x\n",
    b"Subject: x\n|Hello\n",
    b"Subject: x\n|Hello, world: x\n",
    b"Subject: x\n|S\xfc: x\n",
    b"Subject: x\n|\0: x\n",
    b"Subject: x\n|\x0bTo: y\n",
    b"Subject: x\n|begin 644 x\nmore\n\nmore\n",
    b"Subject: x\n y\n\tz\n|Hello",
    b"Subject : x\nTo\t : y\n\nHello\n",
    b" goes on\nSubject: x\n|Hello\n",
    b"From a@b Thu Jan  1 00:00:00 2026\nSubject: x\n|From a@b Thu Jan  1\n",
    b"From a@b\n>From c@d\n>>From e@f\nSubject: x\n\nFrom x\n",
    b"Subject: x\n|--b\nContent-Type: text/plain\n\nHello\n",
    b"\nHello\n",
    b"\n\n\nHello\n",
    b"",
    b"\n",
    b"Subject: x",
    b"|S",
    b"Subject: \0\xff\n\nHello\n",
]


@pytest.mark.parametrize("header", HEADERS)
def test_the_first_line_that_is_no_field_is_below_an_empty_line(header: bytes) -> None:
    message = header.replace(b"|", b"")
    assert with_empty_line(message) == header.replace(b"|", b"\n")
    for size in range(1, 12):
        assert seen(message, size) == header.replace(b"|", b"\n")
        crlf = message.replace(b"\n", b"\r\n")
        first = header.startswith(b"|")  # the line above is ours
        above = b"\n" if first else b"\r\n"
        assert seen(crlf, size) == header.replace(b"\n", b"\r\n").replace(b"|", above)


LINES = [b"X: y", b"no", b" z", b"", b"--b", b"From x", b"Y : x", b"\xff: x"]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_every_short_header_is_read_as_postfix_reads_it(length: int) -> None:
    for lines in itertools.product(LINES, repeat=length):
        message = b"\n".join(lines)
        assert seen(message, 3) == with_empty_line(message), message


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t  "])
def test_a_line_of_blanks_in_a_header_goes_on(blanks: bytes, end: bytes) -> None:
    """To clamd 1.4.6 it ends the header of a part."""
    for lines, without in [
        ([b"X: a", b"|", b" b", b"Y: c", b"", b"|", b"x"], 1),
        ([b"", b"--b", b"X: a;", b"|", b" b", b"", b"|"], 3),
        ([b"", b"--b", b"|", b"X: a;", b" b", b"", b"|"], 2),
        ([b"", b"--b", b"", b"X: a", b"|", b"Y: b", b"", b"x", b"|"], 4),  # message/rfc822
        ([b"", b"x", b"y", b"--b", b"X: a", b"|", b"", b"x", b"|"], 5),
        ([b"", b"--a", b"--b", b"X: a", b"|", b"", b"x", b"|"], 4),
    ]:
        message = end.join(blanks if line == b"|" else line for line in lines)
        wanted = [*lines[:without], *lines[without + 1 :]]
        shown = end.join(blanks if line == b"|" else line for line in wanted)
        for size in range(1, 12):
            assert seen(message, size) == shown


@pytest.mark.parametrize(
    "lines",
    [
        [b"", b"x", b" ", b"", b"X: y", b" ", b""],
        [b"", b"x: y", b"z", b" ", b""],
        [b"", b"-- ", b"Anna", b" ", b"x"],
        [b"", b"--b", b"X: y", b"no", b" ", b"begin 644 x"],
        [b"", b"--b", b"X: y", b"no", b"Y: z", b"", b"x"],
    ],
)
def test_a_body_is_seen_as_it_is(lines: list[bytes]) -> None:
    for size in range(1, 12):
        assert seen(b"\n".join(lines), size) == b"\n".join(lines)


def test_the_end_of_a_header_that_was_mended_is_seen_by_everybody() -> None:
    message = b"\n--b\nX: y\n \nbegin 644 x\n--c\nno\n"
    assert seen(message, 5) == b"\n--b\nX: y\n\nbegin 644 x\n--c\nno\n"


def test_a_bare_cr_in_a_header_is_a_blank() -> None:
    message = b"X: a\rb\n\nx\ry\n--b\nY: a\r\rb\n\nx\ry\r\n"
    for size in range(1, 12):
        assert seen(message, size) == b"X: a b\n\nx\ry\n--b\nY: a  b\n\nx\ry\r\n"
        crlf = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        shown = b"X: a b\n\nx\ry\n--b\nY: a  b\n\nx\ry\n".replace(b"\n", b"\r\n")
        assert seen(crlf, size) == shown


@pytest.mark.parametrize("size", [LINE_MAX - 1, LINE_MAX, 3 * LINE_MAX])
@pytest.mark.parametrize(
    ("first", "above"), [(b"X: ", b""), (b"X-", b"\n"), (b" ", b""), (b"\xff", b"\n")]
)
def test_a_line_without_an_end_is_judged_by_its_beginning(
    first: bytes, above: bytes, size: int
) -> None:
    for rest in (b"", b"\n", b"\n--b\nX: y\n \n z\n"):
        message = first + b"x" * size + rest
        shown = above + first + b"x" * size + rest
        if above:
            shown = shown.replace(b"\n \n", b"\n")
        elif rest.startswith(b"\n-"):
            shown = shown.replace(b"\n--b", b"\n\n--b").replace(b"\n \n", b"\n")
        for piece in (1 << 30, LINE_MAX, 1000):
            assert seen(message, piece) == shown


@hypothesis.given(
    st.lists(st.sampled_from([*LINES, b" ", b"\t\r", b"X: a\rb", b"\r", b"-"]), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 9),
)
def test_it_matters_not_in_which_pieces_a_message_comes(
    lines: list[bytes], end: bytes, size: int
) -> None:
    message = end.join(lines)
    assert seen(message, size) == seen(message)
    shown = seen(message)
    assert sorted(shown.replace(b"\r", b"").replace(b" ", b"").split()) == sorted(
        message.replace(b"\r", b"").replace(b" ", b"").split()
    )


def test_most_messages_are_seen_as_they_are() -> None:
    assert seen(MESSAGE) == MESSAGE
    assert not is_field(b"")


@pytest.mark.parametrize("line", [b"X: y\n", b"--\n", b"x\n", b" x\n", b"\n", b"\n--"])
def test_the_time_grows_with_the_size(line: bytes) -> None:
    def taken(size: int) -> float:
        message = line * (size // len(line))
        began = process_time()
        seen(message, LINE_MAX)
        return process_time() - began

    taken(1 << 16)
    assert taken(1 << 22) < 40 * (taken(1 << 18) + 0.01)
