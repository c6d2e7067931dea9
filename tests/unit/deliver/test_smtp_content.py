"""The content on the wire: line ends, dots, and the header line in front of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck import process, unix
from avcheck.deliver import smtp_replies, smtp_words
from avcheck.incoming import Incoming
from tests.support.wire import spooled
from tests.unit.deliver.test_smtp_dialogue import reply

# The content on the wire.


def sent(pieces: Sequence[bytes]) -> list[bytes]:
    """What is sent of a message that comes in these pieces."""
    left = [*pieces, b""]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unix, "read", lambda fd, size: left.pop(0))
        return list(smtp_words.stuffed(Incoming(-1), b""))


def on_the_wire(content: bytes, header: bytes = b"") -> bytes:
    """The same, said in another way: line by line."""
    first, lf, _ = content.partition(b"\n")
    end = b"\r\n" if lf and first.endswith(b"\r") else b"\n"
    lines = content.replace(b"\r\n", b"\n").split(b"\n") if end == b"\r\n" else content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    lines = [b"." + line if line.startswith(b".") else line for line in lines]
    lines = [header, *lines] if header else lines
    return b"".join(line + b"\r\n" for line in [*lines, b"."])


PIECES = st.lists(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\xff\0"]), min_size=1)
    .map(b"".join)
    .map(lambda piece: piece[:12]),
    max_size=6,
)


@pytest.mark.parametrize(
    ("words", "doubtful"),
    [
        ("250 2.0.0 taken", False),
        ("250 taken", False),
        ("250 4.2.x is a version", False),
        ("250 3.0.0 is no class", False),
        ("250 2.0.0 taken/2.0.0 as 4XYZ", False),
        ("451 4.3.0 later", False),
        ("554 4.7.1 servers do that", False),
        ("450 5.1.1 and that", False),
        ("250 4.3.0 later", True),
        ("250 5.7.1 never", True),
        ("250 2.0.0 taken/4.3.0 later", True),
        ("250 taken/5.7.1 never", True),
        ("450 2.0.0 taken", True),
        ("550 5.7.1 never/2.0.0 taken", True),
        ("354 go ahead", True),
        ("354 2.0.0 go ahead", True),
    ],
)
def test_what_an_answer_to_the_dot_leaves_open(words: str, doubtful: bool) -> None:
    assert bool(smtp_replies.doubt(reply(words))) == doubtful


@hypothesis.settings(max_examples=1500)
@hypothesis.given(PIECES)
def test_the_content_goes_over_the_wire_line_by_line(pieces: list[bytes]) -> None:
    wire = b"".join(sent(pieces))
    assert wire == on_the_wire(b"".join(pieces))
    # Nothing but the end looks like the end, and no line feed is bare.
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    assert wire.endswith(b".\r\n")
    assert wire.count(b"\n") == wire.count(b"\r\n")


@hypothesis.given(PIECES.map(b"".join), st.integers(1, 9))
def test_the_header_goes_over_the_wire_first(content: bytes, size: int) -> None:
    """From a file, which is read in pieces of that size."""
    header = b"X-AV-Checked: now"
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "PIECE", size)
        with spooled(os.fsencode(name), content) as message:
            wire = b"".join(smtp_words.stuffed(message, header))
    assert wire == on_the_wire(content, header)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\nb", b"a\r\nb\r\n.\r\n"),
        (b".\n", b"..\r\n.\r\n"),
        (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\nb\r\nc\n", b"a\r\nb\r\r\nc\r\n.\r\n"),
        (b"a\n.\r\nc\n", b"a\r\n..\r\r\nc\r\n.\r\n"),
        (b"a\rb\n", b"a\rb\r\n.\r\n"),
        (b"a\r.\rb\n", b"a\r.\rb\r\n.\r\n"),
        (b"a\r\nb\r", b"a\r\nb\r\r\n.\r\n"),
        (b"\n", b"\r\n.\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"\r", b"\r\r\n.\r\n"),
    ],
)
def test_line_ends_and_dots(content: bytes, wire: bytes) -> None:
    assert b"".join(sent([content] if content else [])) == wire
    assert b"".join(sent([content[at : at + 1] for at in range(len(content))])) == wire


def test_what_is_sent_at_once_is_neither_tiny_nor_all() -> None:
    line = b"x" * 70 + b"\n"
    pieces = sent([line * 400] * 10)
    assert all(len(piece) <= 2 * smtp_words.WIRE_MAX for piece in pieces)
    assert all(len(piece) > 1000 for piece in pieces[1:-1])
    assert len(pieces) <= 11
    assert len(sent([line] * 100)) == 1


def test_only_the_last_piece_has_the_final_dot() -> None:
    pieces = sent([b"x" * smtp_words.WIRE_MAX + b"\n"] * 3)
    assert not any(piece.endswith(b".\r\n") for piece in pieces[:-1])
    assert pieces[-1].endswith(b"\r\n.\r\n")
