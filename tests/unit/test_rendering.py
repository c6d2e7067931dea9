"""The second reading: a flat list of what is in the message, in other words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.mime import NOTHING, Header
from avcheck.rendering import DEPTH_MAX, HEADERS_MAX, LINE_MAX, Rendering
from tests.support.readings import MARK, in_pieces, rendered

FRAME = b'Content-Type: multipart/mixed; boundary="' + MARK + b'"\n\n'
PART = re.compile(
    rb"--" + MARK + rb"\nContent-Type: application/octet-stream"
    rb'(?:; name="([^"\n]*)"\nContent-Disposition: attachment; filename="\1")?\n'
    rb"(?:Content-Transfer-Encoding: (\S+)\n)?" + NOTHING + rb"\n\n"
)

MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n"
CODED = b"Content-Transfer-Encoding: base64\n"
MESSAGE = b"Content-Type: message/rfc822\n\n"


def parts(message: bytes, size: int = 1 << 30) -> list[tuple[bytes, bytes]]:
    """Of each part how it is encoded, and its body."""
    whole = rendered(in_pieces(message, size))
    assert whole.startswith(FRAME)
    first, *rest = PART.split(whole[len(FRAME) :])
    assert first == b""
    return [(coding or b"", body) for coding, body in zip(rest[1::3], rest[2::3], strict=True)]


CASES = {
    "a letter": (b"Subject: x\n\nHello.\n", [(b"", b"Hello.\n")]),
    "nothing": (b"", [(b"", b"")]),
    "no body": (b"Subject: x", [(b"", b"")]),
    "no header": (b"\nHello", [(b"", b"Hello")]),
    "no field": (b"Hello\nX: y\n", [(b"", b"Hello\nX: y\n")]),
    "a line that is no field": (b"X: y\n z\nno\nX: y\n", [(b"", b"no\nX: y\n")]),
    "an mbox": (b"From a\n>From b\nX: y\n\nFrom x\n", [(b"", b"From x\n")]),
    "a line of blanks": (b"X: y\n \t\n" + CODED + b" \x0c\n\nQUJD\n", [(b"base64", b"QUJD\n")]),
    "encoded": (CODED + b"\nQUJD", [(b"base64", b"QUJD")]),
    "parts": (
        MIXED + b"pre\n--b\n" + CODED + b"\nQUJD\n--b\t \nX: y\n\nbye\n--b--\nepi\n",
        [(b"", b"pre\n"), (b"base64", b"QUJD\n"), (b"", b"bye\n"), (b"", b"epi\n")],
    ),
    "a header above a boundary": (
        MIXED + b"--b\n" + CODED + b"--b\nX: y\n\nbye\n",
        [(b"", b""), (b"base64", b""), (b"", b"bye\n")],
    ),
    "what is no boundary": (
        MIXED + b"--b\n\n--c\n-b\n --b\n--b x\n--bb\n--B\n---b\n(c)--b\n",
        [(b"", b""), (b"", b"--c\n-b\n --b\n--b x\n--bb\n--B\n---b\n(c)--b\n")],
    ),
    "parts within parts": (
        MIXED
        + b"--b\nContent-Type: multipart/x; boundary=c\n\n--c\n\n1\n"
        + b"--c\n\n2\n--b\n\n--c\n3\n--b--\n",
        [(b"", b""), (b"", b""), (b"", b"1\n"), (b"", b"2\n"), (b"", b"--c\n3\n"), (b"", b"")],
    ),
    "the end of inner parts": (
        MIXED + b"--b\nContent-Type: multipart/x; boundary=c\n\n--c--\n--c\n--b\n\n1\n",
        [(b"", b""), (b"", b""), (b"", b"--c\n"), (b"", b"1\n")],
    ),
    "a boundary in a header within": (
        MIXED + b"--b\n" + MESSAGE + b"Subject: x\n--b\n\n1\n",
        [(b"", b""), (b"", b""), (b"", b"1\n")],
    ),
    "a message": (MESSAGE + b"Subject: x\n" + CODED + b"\nQUJD\n", [(b"base64", b"QUJD\n")]),
    "a message in a message": (MESSAGE + MESSAGE + CODED + b"\nQUJD\n", [(b"base64", b"QUJD\n")]),
    "a message that is encoded": (
        CODED + MESSAGE + b"U3ViamVjdDogeA==\n",
        [(b"base64", b"U3ViamVjdDogeA==\n")],
    ),
    "one that says so, but is not": (CODED + MESSAGE + b"X: y\n\nHello\n", [(b"", b"Hello\n")]),
    "a digest": (
        b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nX: y\n"
        + CODED
        + b"\nQUJD\n--b--\nX: y\n",
        [(b"", b""), (b"base64", b"QUJD\n"), (b"", b"X: y\n")],
    ),
    "a file in a body": (
        MIXED + b"--b\n\nhi\nbegin 644 x\n--b\n\n1\n--b\n\n2\n",
        [(b"", b""), (b"", b"hi\nbegin 644 x\nend\n=yend\n"), (b"", b"1\n"), (b"", b"2\n")],
    ),
    "a file in what is encoded": (
        MIXED
        + b"--b\n"
        + CODED
        + b"\nBeGin 644 x\n=ybegin \nabegin 6\n(This file must be converted "
        b"with BinHex 4.0)\nQUJD\n--b--\n",
        [
            (b"", b""),
            (
                b"base64",
                b" BeGin 644 x\n =ybegin \nabegin 6\n (This file must be converted "
                b"with BinHex 4.0)\nQUJD\n",
            ),
            (b"", b""),
        ],
    ),
}


@pytest.mark.parametrize("size", [1 << 30, 5, 1])
@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_in_a_message(name: str, size: int) -> None:
    message, wanted = CASES[name]
    assert parts(message, size) == wanted
    crlf = [(coding, body.replace(b"\r", b"")) for coding, body in parts(lf_to_crlf(message), size)]
    assert crlf == wanted


def lf_to_crlf(message: bytes) -> bytes:
    return message.replace(b"\n", b"\r\n")


def test_lines_of_a_body_end_as_they_came() -> None:
    assert parts(b"X: y\r\n\r\na\r\nb\rc\n") == [(b"", b"a\r\nb\rc\n")]
    # libclamav may take a CR for the end of a line, and a decoder takes it for nothing.
    assert parts(CODED + b"\r\nQU\rJD\r\n") == [(b"base64", b"QUJD\n")]


def test_a_body_is_never_left_out() -> None:
    """However it looks: a script can be written so."""
    for lines in itertools.product([b"X: y", b" z", b"no", b"", b"--b", b"--c"], repeat=4):
        text = b"\n".join(lines) + b"\n"
        assert parts(b"X: y\n\n" + text) == [(b"", text)]


@pytest.mark.parametrize("size", [LINE_MAX - 1, LINE_MAX, LINE_MAX + 1, 3 * LINE_MAX])
@pytest.mark.parametrize("piece", [1 << 30, LINE_MAX, 10_007])
def test_long_lines(size: int, piece: int) -> None:
    blanks = b" " * size
    assert parts(MIXED + b"--b" + blanks + b"\n\n1\n", piece) == [(b"", b""), (b"", b"1\n")]
    assert parts(MIXED + b"--b--" + blanks + b"\n1\n", piece) == [(b"", b""), (b"", b"1\n")]
    other = parts(MIXED + b"--b" + blanks + b"x\n--b\n\n1\n", piece)
    assert [coding for coding, _ in other] == [b"", b""]
    assert other[0][1].startswith(b"--b ") and other[0][1].endswith(b"x\n")
    assert parts(b"X: " + b"y" * size + b"\n" + CODED + b"\nQUJD\n", piece) == [
        (b"base64", b"QUJD\n")
    ]
    body = b"x" * size + b"\n--b\n"
    assert parts(b"X: y\n\n" + body, piece) == [(b"", body)]
    assert parts(MIXED + body, piece) == [(b"", body[:-4]), (b"", b"")]


def test_a_file_may_begin_behind_a_cr_of_a_long_line() -> None:
    message = MIXED + b"--b\n\n" + b"x" * LINE_MAX + b"\rbegin 644 y\n--b\n\n"
    cut = message.index(b"gin 644")
    assert b"\rbegin 644 y\nend\n" in rendered([message])
    assert rendered([message[:cut], message[cut:]]) == rendered([message])


def is_unread(message: bytes, size: int = 1 << 30) -> bool:
    rendering = Rendering(MARK)
    for piece in in_pieces(message, size):
        rendering.feed(piece)
    rendering.end()
    return rendering.unread


def test_whether_there_is_more_than_is_read() -> None:
    assert not is_unread(MIXED + b"--b\n\n" * (HEADERS_MAX - 2))
    assert is_unread(MIXED + b"--b\n\n" * HEADERS_MAX)
    assert is_unread(MESSAGE * HEADERS_MAX)
    inner = b"--b%d\nContent-Type: multipart/x; boundary=b%d\n\n"
    for depth in (DEPTH_MAX - 1, DEPTH_MAX):
        deep = b"".join(inner % (number, number + 1) for number in range(depth))
        top = b"Content-Type: multipart/x; boundary=b0\n\n"
        assert is_unread(top + deep) == (depth == DEPTH_MAX)
    for size in (1 << 30, 50_000):
        long = b"x" * (LINE_MAX + 1) + b"\n\n"
        assert is_unread(b"Content-Type: " + long, size)
        assert is_unread(b"Content-Type: a/b\n " + long, size)
        assert is_unread(b"Content-Type: a/b\n" + b" x\n" * LINE_MAX, size)
        assert not is_unread(b"Subject: " + long, size)
        assert not is_unread(b"Subject: x\n " + long, size)
        assert not is_unread(b"Subject: x\n\n" + long, size)


def test_so_many_headers_are_read() -> None:
    message = MIXED + b"--b\n\n" * (HEADERS_MAX + 5)
    found = parts(message)
    assert len(found) == HEADERS_MAX
    assert found[-1] == (b"", b"--b\n\n" * 6)
    message = MESSAGE * (HEADERS_MAX + 5)
    assert parts(message) == [(b"", MESSAGE * 5)]


def test_so_deep_may_parts_be_within_others() -> None:
    inner = b"--b%d\nContent-Type: multipart/x; boundary=b%d\n\n"
    deep = b"".join(inner % (number, number + 1) for number in range(DEPTH_MAX + 2))
    found = parts(b"Content-Type: multipart/x; boundary=b0\n\n" + deep)
    assert len(found) == DEPTH_MAX + 1
    assert found[-1] == (b"", inner % (DEPTH_MAX, DEPTH_MAX + 1) + inner % (101, 102))


LINES = [
    *(b"", b"X: y", b"no", b" z", b" \t", b"x", b"-", b"--", b"\r", b"begin 644 x", b"From x"),
    *(b"--b", b"--b--", b"--b \t", b"--b x", b"--c", b"--c--", b"QUJD", b"X: a\rb"),
    *(b"Content-Type: message/rfc822", b"Content-Type: multipart/digest;", b" boundary=c"),
    b"Content-Transfer-Encoding: base64",
]


@hypothesis.given(
    st.lists(st.sampled_from(LINES), max_size=14),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 9),
)
def test_it_matters_not_in_which_pieces_a_message_comes(
    lines: list[bytes], end: bytes, size: int
) -> None:
    message = end.join([*MIXED.splitlines(), *lines])
    whole = rendered([message])
    assert rendered(in_pieces(message, size)) == whole
    assert len(whole) <= len(message) * 8 / 7 + 500 * (len(lines) + 2)


HOSTILE = {
    "empty lines": (MIXED, b"\n"),
    "boundaries": (MIXED, b"--b\n"),
    "ends": (MIXED, b"--b--\n"),
    "headers": (MIXED, b"--b\nContent-type:\n\n"),
    "names": (MIXED, b"--b\nContent-Type: a/b; name=" + b"x" * 200 + b"\n\n"),
    "files": (MIXED + b"--b\n" + CODED + b"\n", b"begin \n"),
    "messages": (b"", MESSAGE),
    "fields": (b"", b"a:\n"),
    "types": (b"", b"Content-type:\n"),
    "blanks": (b"Content-Type: a/b\n", b" \n"),
    "dashes": (MIXED, b"--\n"),
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is done more than once for a message, but not for each of its lines."""
    taken: list[str] = []

    def counted(of: type, name: str) -> None:
        method = getattr(of, name)

        def count(self: object, *words: object, **named: object) -> object:
            taken.append(name)
            return method(self, *words, **named)

        monkeypatch.setattr(of, name, count)

    for name in ("_read_header", "_read_body", "_text", "_boundary", "_below_header"):
        counted(Rendering, name)
    counted(Header, "end")
    yield taken


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_lines_take_no_more_steps_and_bytes_than_so_many(
    steps: list[str], name: str
) -> None:
    """docs/policy.md: one byte in seven more, and a megabyte."""
    above, line = HOSTILE[name]
    message = above + line * (3_000_000 // len(line))
    pieces = in_pieces(message, 1 << 16)
    assert len(rendered(pieces)) <= len(message) * 8 / 7 + 1_000_000
    assert len(steps) < 6 * HEADERS_MAX + 4 * len(pieces)
