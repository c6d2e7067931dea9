"""The directory of a quarantine: which one will do, and one that is full."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.mta import Site
from tests.support.quarantine import FOUND, Quarantine


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o702, 0o704, 0o720, 0o777, 0o1777])
def test_a_quarantine_open_to_others_is_refused(
    infected: Site, quarantine: Quarantine, mode: int
) -> None:
    quarantine.path.mkdir()
    quarantine.path.chmod(mode)
    ended = infected.deliver("--on", quarantine.action)
    infected.assert_kept(ended, "4.3.5", str(quarantine.path), "chmod")
    quarantine.assert_nothing()


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o2750, 0o710])
def test_a_group_may_look_into_it(infected: Site, quarantine: Quarantine, mode: int) -> None:
    quarantine.path.mkdir()
    quarantine.path.chmod(mode)
    assert infected.deliver("--on", quarantine.action).status == 0
    quarantine.assert_whole()


def test_the_quarantine_of_somebody_else_is_refused(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    quarantine = Quarantine(unprivileged.directory / "quarantine")
    quarantine.path.mkdir(0o700)
    os.chown(quarantine.path, 12345, 12345)
    ended = unprivileged.deliver("--on", quarantine.action)
    unprivileged.assert_kept(ended, "4.3", str(quarantine.path))
    quarantine.assert_nothing()


@pytest.mark.parametrize("what", ["file", "link", "dangling", "no parent"])
def test_only_a_directory_is_a_quarantine(
    infected: Site, quarantine: Quarantine, what: str
) -> None:
    real = infected.directory / "real"
    real.mkdir(mode=0o700)
    if what == "file":
        quarantine.path.touch()
    elif what == "no parent":
        quarantine = Quarantine(quarantine.path / "below")
    else:
        quarantine.path.symlink_to(real if what == "link" else infected.directory / "none")
    ended = infected.deliver("--on", quarantine.action)
    infected.assert_kept(ended, "4.3", f"quarantine {quarantine.path}: ")
    assert list(real.iterdir()) == []


def test_an_unprivileged_account_makes_its_own(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    quarantine = Quarantine(unprivileged.spool / "quarantine")
    assert unprivileged.deliver("--on", quarantine.action).status == 0
    quarantine.assert_whole()
    assert unprivileged.left == ["quarantine"]


def test_an_unprivileged_account_that_may_not_make_it_defers(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    closed = unprivileged.directory / "closed"
    closed.mkdir(mode=0o755)
    ended = unprivileged.deliver("--on", f"infected=quarantine:{closed}/quarantine")
    unprivileged.assert_kept(ended, "4.3.0", "Permission denied")


def test_a_full_disk_leaves_nothing(infected: Site, small: Quarantine) -> None:
    ended = infected.deliver("--on", small.action, message=b"x" * 100_000)
    infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
    small.assert_nothing()


def test_a_disk_without_room_for_the_sidecar_leaves_nothing(
    infected: Site, small: Quarantine
) -> None:
    # tmpfs gives out whole pages: 15 of 16 for the message, one for about.json and no more.
    many = [b"bert%03d@example.net" % number for number in range(300)]
    ended = infected.deliver("--on", small.action, message=b"x" * 15 * 4096, recipients=many)
    infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
    small.assert_nothing()


@pytest.mark.parametrize("inodes", range(1, 6))
def test_a_disk_that_fills_up_on_the_way_leaves_all_or_nothing(
    infected: Site, small: Quarantine, inodes: int
) -> None:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", small.path], check=True)
    ended = infected.deliver("--on", small.action)
    if ended.status == 0:
        small.assert_whole()
    else:
        infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
        small.assert_nothing()
