"""Sophie beyond its transcripts: an answer that only silence ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.exits import Defer
from avcheck.scanners import sophie
from avcheck.scanners.rows import PATH
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, spooled

TARGET = Target(None, PATH)


@pytest.mark.parametrize(("reply", "names"), [(b"0", None), (b"1:EICAR", ("EICAR",))])
def test_silence_ends_an_answer(
    reply: bytes, names: tuple[str, ...] | None, tmp_path: Path
) -> None:
    with spooled(tmp_path, named=True) as message, Wire(reply, stays=True) as wire:
        finding = sophie.scan(wire.conn, message, TARGET)
        assert finding.verdict is (INFECTED if names else CLEAN)
        assert finding.names == (names or ())


def test_the_end_of_the_stream_does_not(tmp_path: Path) -> None:
    with (
        spooled(tmp_path, named=True) as message,
        Wire(b"0") as wire,
        pytest.raises(Defer, match="closed the connection"),
    ):
        sophie.scan(wire.conn, message, TARGET)


def test_the_deadline_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spooled(tmp_path, named=True) as message, Wire(b"", stays=True) as wire:
        wire.conn.deadline = 0.0
        with pytest.raises(Defer, match="in time"):
            sophie.scan(wire.conn, message, TARGET)


def test_the_deadline_is_what_it_was(tmp_path: Path) -> None:
    with spooled(tmp_path, named=True) as message, Wire(b"0", stays=True) as wire:
        deadline = wire.conn.deadline
        sophie.scan(wire.conn, message, TARGET)
        assert wire.conn.deadline == deadline


def test_an_answer_without_an_end_is_not_read_for_ever(tmp_path: Path) -> None:
    with (
        spooled(tmp_path, named=True) as message,
        Wire(b"0" * 5000, stays=True) as wire,
        pytest.raises(Defer, match="unexpected"),
    ):
        sophie.scan(wire.conn, message, TARGET)


@given(st.text("0123456789-: \r", max_size=6).map(str.encode) | st.binary(max_size=10))
def test_clean_is_a_zero(answer: bytes) -> None:
    finding = finding_or_none(sophie.parse, answer)
    if finding and finding.verdict is CLEAN:
        assert answer == b"0" or answer.startswith(b"0:")
