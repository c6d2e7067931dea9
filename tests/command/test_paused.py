"""A waitfile, or a locked spool directory, holds every message back."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.support.mta import Site, until

# Maintenance.


@pytest.mark.parametrize("kind", ["file", "directory", "dangling symbolic link"])
def test_a_waitfile_holds_every_message_back(site: Site, tmp_path: Path, kind: str) -> None:
    waitfile = tmp_path / "wait"
    if kind == "file":
        waitfile.touch()
    elif kind == "directory":
        waitfile.mkdir()
    else:
        waitfile.symlink_to("nowhere")
    site.assert_kept(site.deliver("-w", str(waitfile)), "4.3.2", str(waitfile))
    assert site.scanner.questions == []
    # Nothing else is looked at, and nothing else is a reason.
    site.assert_kept(site.deliver("-w", str(waitfile), spool=tmp_path / "none"), "4.3.2")


def test_without_its_waitfile_a_message_goes_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for waitfile in ("wait", "nowhere/wait", "file/wait"):
        assert site.deliver("-w", str(tmp_path / waitfile)).status == 0
    assert len(site.delivered) == 3


def test_a_waitfile_that_cannot_be_seen_holds_back(unprivileged: Site) -> None:
    """Otherwise a directory closed by mistake would end the maintenance."""
    closed = unprivileged.directory / "closed"
    closed.mkdir(0)
    ended = unprivileged.deliver("-w", str(closed / "wait"))
    unprivileged.assert_kept(ended, "waitfile", "Permission denied")
    assert unprivileged.scanner.questions == []


def test_a_locked_spool_directory_holds_every_message_back(site: Site) -> None:
    fd = os.open(site.spool, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        site.assert_kept(site.deliver(), "4.3.2", "locked")
        assert site.scanner.questions == []
        fcntl.flock(fd, fcntl.LOCK_UN)
        assert site.deliver().status == 0
    finally:
        os.close(fd)


def test_runs_share_the_lock_and_hold_it_to_the_end(site: Site) -> None:
    site.clamd(hold="asked")
    running = [site.start(site.words()).feed() for _ in range(2)]
    until(lambda: len(site.scanner.questions) == 2)
    fd = os.open(site.spool, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        site.scanner.release()
        for each in running:
            assert each.end().status == 0
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)
