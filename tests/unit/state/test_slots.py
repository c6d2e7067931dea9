"""A slot is a lock on a file that is still there."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from avcheck.directory import Directory
from avcheck.state import slots
from tests.support.fakes import PATIENCE


def test_the_bound_is_below_the_patience_of_the_callers() -> None:
    """The default --deadline is 900 seconds, Postfix's limit 1000."""
    assert 1 <= slots.WAIT_MAX <= 300


def test_a_file_that_was_deleted_before_it_was_locked_is_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise there would be two holders, one of a file that nobody else can see."""
    flock = fcntl.flock
    seen: list[int] = []

    def late(fd: int, how: int) -> None:
        if not seen:
            (tmp_path / "slot.0").unlink()
        seen.append(os.fstat(fd).st_ino)
        flock(fd, how)

    monkeypatch.setattr("avcheck.files.fcntl.flock", late)
    with (
        Directory(os.fsencode(tmp_path)) as directory,
        slots.Slot(directory, 1, time.monotonic() + PATIENCE),
    ):
        assert len(seen) == 2
        with pytest.raises(BlockingIOError), open(tmp_path / "slot.0") as file:
            flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
