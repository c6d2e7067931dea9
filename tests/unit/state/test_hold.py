"""No message is taken while the waitfile is there, and one who has the lock knows of all runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import unix
from avcheck.exits import HELD, SYSTEM, Defer
from avcheck.state import hold


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """The same directory, opened by somebody else."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_without_a_waitfile_messages_are_taken(tmp_path: Path) -> None:
    hold.refuse_while_paused(b"")
    hold.refuse_while_paused(os.fsencode(tmp_path / "wait"))
    (tmp_path / "file").touch()
    hold.refuse_while_paused(os.fsencode(tmp_path / "file" / "wait"))


@pytest.mark.parametrize("kind", ["file", "directory", "dangling"])
def test_a_waitfile_of_any_kind_holds_back(tmp_path: Path, kind: str) -> None:
    wait = tmp_path / "wait"
    if kind == "file":
        wait.touch()
    elif kind == "directory":
        wait.mkdir()
    else:
        wait.symlink_to("nowhere")
    with pytest.raises(Defer) as why:
        hold.refuse_while_paused(os.fsencode(wait))
    assert why.value.code == HELD
    assert str(wait) in why.value.text


def test_a_waitfile_that_cannot_be_looked_for_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: bytes) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(unix, "lstat", refuse)
    with pytest.raises(Defer, match="waitfile /run/wait: Permission denied") as why:
        hold.refuse_while_paused(b"/run/wait")
    assert why.value.code == SYSTEM


def test_a_waitfile_that_says_nothing_we_can_read_holds_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: bytes, flags: int, *others: int, **named: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "wait").write_bytes(b"\xff\0 is no note of avcheckctl's")
    for _ in range(2):
        with pytest.raises(Defer, match="held back while") as why:
            hold.refuse_while_paused(os.fsencode(tmp_path / "wait"))
        assert why.value.text.isprintable()
        monkeypatch.setattr(unix, "open", refuse)


def test_runs_share_the_directory(directory: int, other: int) -> None:
    hold.lock_shared(directory, b"")
    hold.lock_shared(other, b"")


def test_who_locks_the_directory_waits_for_the_runs(directory: int, other: int) -> None:
    hold.lock_shared(directory, b"")
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(directory, fcntl.LOCK_UN)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_locked_directory_holds_back(directory: int, other: int) -> None:
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(Defer, match="locked") as why:
        hold.lock_shared(directory, b"")
    assert why.value.code == HELD


def test_a_file_system_without_locks_is_no_bug(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Defer, match="locking the spool directory: No locks available"):
        hold.lock_shared(directory, b"")


def test_a_waitfile_that_came_before_the_lock_holds_back(
    directory: int, other: int, tmp_path: Path
) -> None:
    wait = tmp_path / "wait"
    hold.refuse_while_paused(os.fsencode(wait))
    wait.touch()
    with pytest.raises(Defer, match="held back while"):
        hold.lock_shared(directory, os.fsencode(wait))
