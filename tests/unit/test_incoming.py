"""Standard input: read once, a piece at a time."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import spool, unix
from avcheck.directory import Directory
from avcheck.exits import SYSTEM, Defer
from avcheck.incoming import Incoming
from tests.support.spooling import content, everything
from tests.support.wire import MESSAGE, given, settings


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Directory]:
    with Directory(os.fsencode(tmp_path)) as directory:
        yield directory


def test_a_standard_input_that_cannot_be_read_is_deferred(place: Directory) -> None:
    with pytest.raises(Defer, match="reading standard input: Is a directory") as why:
        spool.receive(Incoming(place.fd), place, settings())
    assert why.value.code == SYSTEM


def test_a_standard_input_that_does_not_wait_is_waited_for(
    place: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody set O_NONBLOCK on what we share with him."""
    stdin, theirs = os.pipe()
    os.set_blocking(stdin, False)
    real = select.select
    waits = []

    def wait(
        reading: list[int], writing: list[int], broken: list[int]
    ) -> tuple[list[int], list[int], list[int]]:
        waits.append(reading)
        if len(waits) == 1:
            os.write(theirs, MESSAGE)
        else:
            os.close(theirs)
        return real(reading, writing, broken)

    monkeypatch.setattr(select, "select", wait)
    with spool.receive(Incoming(stdin), place, settings()) as message:
        assert content(message) == MESSAGE
    assert waits == [[stdin], [stdin]]
    os.close(stdin)


def test_what_is_injected_is_read_once_and_not_kept() -> None:
    with given(MESSAGE) as stdin:
        incoming = Incoming(stdin)
        assert (incoming.wire_size, incoming.eight_bit, incoming.crlf) == (None, None, None)
        assert b"".join(incoming.pieces(b"")) == MESSAGE
        assert incoming.crlf is False


@pytest.mark.parametrize(
    ("pieces", "crlf"),
    [
        ([b"A: b\r\nc\n"], True),
        ([b"A: b\nc\r\n"], False),
        ([b"A: b\r", b"\nc\n"], True),
        ([b"A", b":", b" b\r", b"\n"], True),
        ([b"A: b\r", b"c\n"], False),
        ([b"\n"], False),
        ([b"\r", b"\n"], True),
        ([b"A: b\r"], None),
        ([], None),
    ],
)
def test_line_ends_are_told_by_the_first_line(
    monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], crlf: bool | None
) -> None:
    left = [*pieces, b""]
    monkeypatch.setattr(unix, "read", lambda fd, size: left.pop(0))
    incoming = Incoming(0)
    assert list(incoming.pieces(b"")) == pieces
    assert incoming.crlf is crlf


def test_a_program_gets_standard_input_itself() -> None:
    with given(MESSAGE) as stdin:
        fd = Incoming(stdin).as_stdin(b"")
        assert fd not in (stdin, 0, 1, 2)
        assert everything(fd) == MESSAGE
        os.close(fd)
