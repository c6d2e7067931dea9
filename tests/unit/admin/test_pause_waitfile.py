"""The waitfile as avcheckctl pause writes it, and what avcheck says of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from avcheck import unix
from avcheck.admin import amounts
from avcheck.exits import Defer
from avcheck.state import hold, waitfile
from avcheck.state.waitfile import Note

EARLY = "2000-01-01T00:00:00Z"
LATE = "2999-01-01T00:00:00Z"


def deferred(file: Path) -> str:
    with pytest.raises(Defer) as why:
        hold.refuse_while_paused(bytes(file))
    return why.value.text


def test_a_note_is_read_as_it_was_written() -> None:
    note = Note("clamd is restarted", LATE, "root on mx since then")
    again = waitfile.parse(note.render() + b"...")
    assert (again.reason, again.end, again.by) == (note.reason, note.end, note.by)
    assert again.counted == len(note.render())


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"\xff\x1b[2J", b"held", b"until tomorrow", b"x" * 5000, b"a\nuntil 99"]
)
def test_a_file_of_any_content_is_a_note(text: bytes) -> None:
    note = waitfile.parse(text)
    assert note.reason.isprintable()
    assert note.end == ""
    assert note.counted == -1


def test_the_words_tell_when_the_end_is_over() -> None:
    assert Note("x").explain(EARLY) == "x"
    assert Note("x", LATE).explain(EARLY) == f"x, until {LATE}"
    assert "was to end" in Note("", EARLY).explain(LATE)
    assert "avcheckctl resume" in Note("", EARLY).explain(EARLY)
    assert Note().explain(EARLY) == ""


def test_avcheck_says_the_reason_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "wait"
    file.write_bytes(Note("clamd is restarted", LATE, "root").render())
    expected = f"held back while {file} exists: clamd is restarted, until {amounts.local(LATE)}"
    assert deferred(file) == expected
    assert deferred(file) == expected
    assert file.read_bytes().endswith(b"\nheld ..")


def test_avcheck_says_when_it_should_be_over(tmp_path: Path) -> None:
    file = tmp_path / "wait"
    file.write_bytes(Note("r", EARLY, "root").render())
    assert "this was to end at" in deferred(file)


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [
        ("2999-06-01T22:30:00Z", "2999-06-02 00:30:00 CEST"),
        ("2999-01-01T00:00:00Z", "2999-01-01 01:00:00 CET"),
        ("2024-03-31T01:30:00Z", "2024-03-31 03:30:00 CEST"),  # in the hour that there is not
        ("2999-13-41T00:00:00Z", "2999-13-41T00:00:00Z"),
        ("0000-00-00T99:99:99Z", "0000-00-00T99:99:99Z"),
        ("9999-12-31T23:59:59Z", "10000-01-01 00:59:59 CET"),
    ],
)
def test_avcheck_says_the_time_as_mailq_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamp: str, shown: str
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        file = tmp_path / "wait"
        file.write_bytes(Note("r", stamp, "root").render())
        assert shown in deferred(file)
        assert stamp.encode() in file.read_bytes()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_avcheck_writes_to_no_file_but_ours(tmp_path: Path) -> None:
    file = tmp_path / "wait"
    file.write_text("just because\n")
    assert deferred(file) == f"held back while {file} exists: just because"
    assert file.read_text() == "just because\n"
    other = tmp_path / "other"
    other.write_bytes(Note("r", "", "x").render())
    link = tmp_path / "link"
    link.symlink_to(other)
    assert deferred(link) == f"held back while {link} exists"
    assert other.read_bytes() == Note("r", "", "x").render()


def test_avcheck_is_not_stopped_by_a_waitfile_that_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert deferred(fifo) == f"held back while {fifo} exists"

    file = tmp_path / "wait"
    file.write_bytes(Note("not yours", "", "x").render())
    really = os.open

    def refuse(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(unix, "open", refuse)
    assert deferred(file) == f"held back while {file} exists"


def test_a_message_that_is_not_held_back_costs_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "avcheck.state.waitfile")
    monkeypatch.setattr(unix, "open", None)
    hold.refuse_while_paused(bytes(tmp_path / "wait"))
    assert "avcheck.state.waitfile" not in sys.modules
