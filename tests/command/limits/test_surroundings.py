"""File systems: read-only, without nameless files, without /proc, /dev/null or anything in /dev.

Each run has a mount namespace of its own (unshare), so nobody else sees any of it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.limits.runs import (
    CLEAN,
    DEFERRED,
    DONE,
    GOOD,
    HANDLER,
    KEPT,
    KINDS,
    Runner,
    judge,
    set_up,
    words_of,
)
from tests.support.mta import MAIL
from tests.support.servers import packages


@pytest.fixture(autouse=True)
def root() -> None:
    packages.need_root("only root can mount")


def after(script: str) -> list[str]:
    """Words that run the command after them where this has been mounted."""
    changed = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"]
    return [*changed, f'set -e; {script}; exec "$0" "$@"']


NO_PROC = ("umount --lazy /proc", "mount -t tmpfs none /proc")


@pytest.mark.parametrize("script", NO_PROC)
@pytest.mark.parametrize("kind", KINDS)
def test_without_proc_nothing_is_done_by_a_second_descriptor(
    either: Runner, kind: str, script: str
) -> None:
    """A stream is a way, and so is a copy; what is kept says what is missing."""
    outcome = either.run(kind, before=after(script))
    assert outcome.came == KEPT
    assert b"is /proc mounted?" in outcome.ended.output or kind not in GOOD
    outcome = either.run(kind, before=after(script), tcp=True)
    assert outcome.came == (DONE if kind in GOOD else KEPT)


NO_NULL = "mount -t tmpfs none /dev && mknod -m 666 /dev/urandom c 1 9"
NO_DEV = "mount -t tmpfs none /dev"


@pytest.mark.parametrize("script", [NO_NULL, NO_DEV])
@pytest.mark.parametrize("kind", KINDS)
def test_without_dev_null_only_a_handler_is_not_run(either: Runner, kind: str, script: str) -> None:
    """It is its standard input.  There is no /dev/log, either."""
    outcome = either.run(kind, before=after(script))
    assert outcome.came == (DONE if kind in GOOD and kind != HANDLER else KEPT)
    if kind == HANDLER:
        assert b"/dev/null: No such file" in outcome.ended.output


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_without_dev_null_a_closed_descriptor_cannot_be_filled(either: Runner, closed: str) -> None:
    close = ["/bin/sh", "-c", f'exec "$0" "$@" {closed}>&-']
    assert either.run(CLEAN, before=[*after(NO_NULL), *close]).came == KEPT


@pytest.mark.parametrize("mounted", ["/etc", "/sys", "/run", "/home", "/dev/shm"])
@pytest.mark.parametrize("kind", [CLEAN, HANDLER, DEFERRED])
def test_without_the_rest_of_the_system(avcheck: Runner, kind: str, mounted: str) -> None:
    """No passwd, no resolv.conf, no localtime, nothing to write to."""
    outcome = avcheck.run(kind, before=after(f"mount -t tmpfs -o ro none {mounted}"))
    assert outcome.came == (DONE if kind in GOOD else KEPT)


def test_with_everything_read_only(either: Runner) -> None:
    """An error of a disk makes a file system so."""
    script = "mount --bind / / && mount -o remount,bind,ro /"
    for kind in GOOD:
        outcome = either.run(kind, before=after(f"{script} && {ALSO_TEMPORARY}"))
        assert outcome.came == KEPT
        assert b"Read-only file system" in outcome.ended.output


# Where the sites are may be a file system of its own.
ALSO_TEMPORARY = (
    'for each in /tmp /var/tmp "${TMPDIR:-/tmp}"; do'
    ' mount --bind "$each" "$each"; mount -o remount,bind,ro "$each"; done'
)


# Without O_TMPFILE.


@contextlib.contextmanager
def plain(directory: Path) -> Iterator[None]:
    """The directory through bindfs, a FUSE file system that has no nameless files."""
    subprocess.run(["bindfs", directory, directory], check=True)
    try:
        with pytest.raises(OSError, match=r"not supported|Is a directory"):
            os.close(os.open(directory, os.O_RDWR | os.O_TMPFILE, 0o600))
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("way", ["descriptor", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_system_without_nameless_files(either: Runner, kind: str, way: str) -> None:
    """A name for a moment, then none."""
    packages.need("bindfs", commands=["bindfs"])
    with either.site() as site:
        set_up(site, kind, tcp=way == "stream")
        with plain(site.spool):
            words = words_of(site, kind, "--slots", "1")
            outcome = judge(site, site.start(words).end(MAIL))
    assert outcome.came == (DONE if kind in GOOD else KEPT)
