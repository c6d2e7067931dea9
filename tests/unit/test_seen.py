"""Which messages everybody reads alike."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck import seen
from avcheck.seen import COMPARED_MAX, DEPTH_MAX, HEADER_MAX, HEADERS_MAX, MARK_LINE_MAX, Judge
from tests.live import hidden
from tests.support.readings import in_pieces, is_plain
from tests.support.wire import MESSAGE

MIXED = b"Subject: x\nContent-Type: multipart/mixed; boundary=%b\n\n"
MULTI = MIXED % b"mark"
END = b"--mark--\n"
CODED = b"Content-Transfer-Encoding: base64\n\n"

PLAIN = {
    "a letter": MESSAGE,
    "nothing": b"",
    "an empty line": b"\n",
    "no end": b"Subject: x",
    "no header": b"\n\nHello.\n",
    "a text in which nothing is odd": b"Subject: x\n\nbegin 644 x\n--b\nContent-Type: x;\n\0\r(b\n",
    "an mbox": b"From a@b Thu Jan  1\n>From c@d\nSubject: x\n\nFrom x\n",
    "parts": MULTI + b"Multi-part.\n\n--mark\n\nHello.\n--mark  \nX: y\n\nBye.\n" + END + b"End.\n",
    "parts within parts": MULTI
    + b"--mark\nContent-Type: multipart/alternative; boundary=other\n\n"
    + b"--other\n\nHello.\n--other--\n"
    + END,
    "dashes": MULTI + b"--mark\n\n- a (b)\n-- \n--\n(c - d)\n" + END,
    "encoded": b"Subject: x\n" + CODED + b"QUJD\n",
    "a message within": MULTI
    + b"--mark\nContent-Type: message/rfc822\n\n"
    + MIXED % b"other"
    + b"--other\n\nHello.\n--other--\n"
    + END,
    "a report": MULTI
    + b"--mark\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n"
    + b"Final-Recipient: rfc822; a@b\nDiagnostic-Code: smtp; 550 (no)\n\n"
    + END,
    "a long line": MULTI + b"--mark\n\n" + b"x" * (2 * MARK_LINE_MAX) + b"\n" + END,
}

NOT_PLAIN = {
    "a header without its end": b"Subject: x\nno field\n",
    "an odd From_ line": b"From a\rX: y\nSubject: x\n\n",
    "a From_ line in a part": MULTI + b"--mark\nFrom a@b\n\n" + END,
    "a header above a boundary": MULTI + b"--mark\nX: y\n" + END,
    "the end of parts that have not begun": MULTI + b"--mark--\n--mark\n\n" + END,
    "a tab after a boundary": MULTI + b"--mark\t\n\n" + END,
    "two CRs after a boundary": MULTI + b"--mark\r\r\n\n" + END,
    "a NUL after a boundary": MULTI + b"--mark\n\n--mark\0\n" + END,
    "a comment in a boundary": MULTI + b"--mark\n\n--ma(c)rk\n" + END,
    "a comment before a boundary": MULTI + b"--mark\n\n(c)--mark\n" + END,
    "one dash": MULTI + b"--mark\n\n-mark\n" + END,
    "one dash and a letter": MULTI + b"--mark\n\n-xmark\n" + END,
    "three dashes": MULTI + b"--mark\n\n---mark\n" + END,
    "large letters": MULTI + b"--mark\n\n--MARK\n" + END,
    "a boundary behind a CR": MULTI + b"--mark\n\nx\r--mark\n" + END,
    "a comment behind a CR": MULTI + b"--mark\n\nx\r(c)--mark\n" + END,
    "an outer boundary in inner parts": MULTI
    + b"--mark\nContent-Type: multipart/mixed; boundary=other\n\n--other\n\nx\n--mark\n\n"
    + END,
    "parts without an end": MULTI + b"--mark\n\nHello.\n",
    "one boundary for two": MULTI
    + b"--mark\nContent-Type: multipart/mixed; boundary=Mark\n\n--Mark\n\n--Mark--\n"
    + END,
    "a boundary that begins as another": MULTI
    + b"--mark\nContent-Type: multipart/mixed; boundary=markx\n\n--markx\n\n--markx--\n"
    + END,
    "a preamble with a field": MULTI + b"\nContent-Type: text/html\n--mark\n\n" + END,
    "a preamble with a comment": MULTI + b"\nCon(c)tent-Type: text/html\n--mark\n\n" + END,
    "a preamble with a NUL": MULTI + b"\0CONTENT-Type: text/html\n--mark\n\n" + END,
    "a report with a field of MIME": MULTI
    + b"--mark\nContent-Type: message/delivery-status\n\nX: y\n"
    + CODED
    + b"QUJD\n"
    + END,
    "a file in a part": MULTI + b"--mark\n\nbegin 644 x\n" + END,
    "a file with a large letter": MULTI + b"--mark\n\nHello.\nbEGIN 644 x\n" + END,
    "yEnc": MULTI + b"--mark\n\n=ybegin line=128\n" + END,
    "BinHex": MULTI + b"--mark\n\n(This file must be converted with BinHex 4.0)\n" + END,
    "a file in what is encoded": b"Subject: x\n" + CODED + b"QUJD\nbegin 644 xyz\n",
    "a file below the parts": MULTI + END + b"begin 644 x\n",
    "a long line that may be a boundary": MULTI + b"--mark\n\n-" + b"x" * (2 * MARK_LINE_MAX) + END,
    "a long header": b"X: y\n" * (HEADER_MAX // 5 + 1) + b"\n",
    "very many parts": MULTI + b"--mark\n\n" * (HEADERS_MAX + 1) + END,
    "very many lines of dashes": MULTI + b"--mark\n\n" + b"-\n" * (COMPARED_MAX + 1) + END,
    "very many comments": MULTI + b"--mark\n\n" + b"(\n" * (COMPARED_MAX + 1) + END,
    "messages very deep within": b"Content-Type: message/rfc822\n\n" * (DEPTH_MAX + 1),
    **hidden.SHOWN,
    **hidden.LONG,
    **hidden.NESTED,
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1 << 30, 1000, 7, 1])
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_an_ordinary_message_is_plain(name: str, size: int, end: bytes) -> None:
    message = PLAIN[name].replace(b"\n", end)
    if len(message) < 10_000 or size >= 1000:
        assert is_plain(in_pieces(message, size))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1 << 30, 1000, 7, 1])
@pytest.mark.parametrize("name", sorted(NOT_PLAIN))
def test_one_that_anybody_may_read_otherwise_is_not(name: str, size: int, end: bytes) -> None:
    message = NOT_PLAIN[name].replace(b"\n", end)
    if len(message) < 10_000 or size >= 1000:
        assert not is_plain(in_pieces(message, size))


def deep(depth: int) -> bytes:
    """Parts within parts."""
    marks = [b"%dx" % number for number in range(10, 10 + depth)]
    begin = [
        b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n" % (each, each) for each in marks
    ]
    return b"".join([*begin, b"\nx\n", *[b"--%b--\n" % each for each in reversed(marks)]])


def test_parts_are_not_plain_if_they_are_too_deep_within_others() -> None:
    assert is_plain([deep(DEPTH_MAX)])
    assert not is_plain([deep(DEPTH_MAX + 1)])


LINES = [
    *(b"", b"X: y", b"no", b" z", b"\t", b"x", b"-", b"--", b"(b", b"\r", b"\r-", b"begin 644 x"),
    *(b"--b", b"--b--", b"--b \t", b"--c", b"--c--", b"-xb", b"content-type: a/b", b"QUJD"),
    *(b"Content-Type: message/rfc822", b"Content-Type: multipart/mixed;", b" boundary=c"),
    b"Content-Transfer-Encoding: base64",
]


@hypothesis.given(
    st.lists(st.sampled_from(LINES), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 9),
)
def test_it_matters_not_in_which_pieces_a_message_comes(
    lines: list[bytes], end: bytes, size: int
) -> None:
    message = end.join([*(MIXED % b"b").splitlines(), b"", *lines, b"--b--"])
    assert is_plain(in_pieces(message, size)) == is_plain([message])


def test_nothing_is_looked_at_below_the_header_of_a_message_without_parts() -> None:
    judge = Judge()
    judge.feed(b"Subject: x\n\nHello.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "_body", None)
        patch.setattr(Judge, "_header", None)
        judge.feed(b"Hello.\n" * 1000)
        judge.end()
    assert judge.plain


HOSTILE = [b"\n", b"\r\n", b" \n", b"a:\n", b"-\n", b"--\n", b"(\n", b"x\n", b"--mark\n\n", b"\0"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The steps that are taken, with their names."""
    taken: list[str] = []

    def counted(name: str) -> None:
        method = getattr(seen.Judge, name)

        def count(self: Judge, *words: object) -> object:
            taken.append(name)
            return method(self, *words)

        monkeypatch.setattr(seen.Judge, name, count)

    for name in ("_header", "_body", "_text", "_boundary", "_compare"):
        counted(name)
    yield taken


@pytest.mark.parametrize("line", HOSTILE)
@pytest.mark.parametrize("above", [b"Subject: x\n", MULTI, MULTI + b"--mark\n\n"])
def test_the_steps_do_not_grow_with_the_lines(steps: list[str], above: bytes, line: bytes) -> None:
    pieces = in_pieces(above + line * (2_000_000 // len(line)), 1 << 16)
    is_plain(pieces)
    assert len(steps) < 3 * COMPARED_MAX + 10 * len(pieces)
