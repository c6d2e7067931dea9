"""avcheckctl doctor: the checks of the spool directory and the waitfile."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import Any

import pytest

from avcheck.admin import checks
from avcheck.admin.checks import spool as spool_checks
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look
from avcheck.state.waitfile import Note
from tests.support.admin import KnowingClamd
from tests.support.doctor_site import (
    SOMEBODY,
    Site,
    found,
    levels,
    text,
)


def test_a_good_spool_is_in_order(site: Site) -> None:
    look = site.own()
    for name in ("spool_usable", "spool_private", "spool_nameless", "spool_left_behind"):
        assert levels(name, look) == {OK}, name
    assert levels("waitfile", look) == {OK}
    assert levels("spool_local", look) <= {OK}
    assert levels("spool_owner", look) == set()


def test_a_spool_that_is_not_there(site: Site) -> None:
    site.spool.rmdir()
    look = site.own()
    assert levels("spool_usable", look) == {ERROR}
    for name in ("spool_private", "spool_room", "spool_nameless", "spool_left_behind"):
        assert levels(name, look) == {SKIPPED}, name
    assert levels("spool_local", look) == {SKIPPED}
    assert levels("spool_owner", site.look()) == {SKIPPED}
    assert levels("scanner_group", look) == {SKIPPED}


def test_a_spool_that_is_not_writable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look = site.own()
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: False)
    assert levels("spool_usable", look) == {ERROR}


def test_a_spool_that_is_open_to_others(site: Site) -> None:
    site.spool.chmod(0o755)
    assert levels("spool_private", site.own()) == {WARNING}
    site.spool.chmod(0o750)
    assert levels("spool_private", site.own()) == {WARNING}


def test_a_spool_of_somebody_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_checks, "_status", lambda look: None)
    look = owned_by(site.look(), 3999999998)
    assert levels("spool_owner", look) == {ERROR}
    assert levels("spool_owner", owned_by(site.look(), 0)) == {OK}


def owned_by(look: Look, user: int) -> Look:
    look.__dict__["spool_owner"] = user
    return look


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another account")
@pytest.mark.parametrize(
    ("user", "owner", "remedy"),
    [
        ("nobody", SOMEBODY, f"user={SOMEBODY}:"),
        (SOMEBODY, "nobody", f"chown -h {SOMEBODY} "),
        (SOMEBODY, "mail", f"chown -h {SOMEBODY} "),
    ],
)
def test_an_account_that_is_not_the_spools_is_one_error(
    site: Site, clamd: KnowingClamd, user: str, owner: str, remedy: str
) -> None:
    """And it comes first; what that account cannot see is not looked at."""
    site.user = user
    look = owned_by(site.look(), pwd.getpwnam(owner).pw_uid)
    every = {check.__name__: checks.results(check, look) for check in checks.CHECKS}
    errors = [name for name, found in every.items() if any(each.level == ERROR for each in found)]
    assert errors[:1] == ["spool_owner"] == list(every)[:1]
    assert not {"spool_usable", "quarantine", "scanner_answers", "program"} & set(errors)
    assert [each.remedy for each in every["spool_usable"]] == ["see spool_owner"]
    (result,) = every["spool_owner"]
    assert result.remedy.startswith(remedy)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another account")
def test_an_avcheck_that_is_to_run_as_root_looks_at_nothing(site: Site) -> None:
    site.user = "root"
    look = owned_by(site.look(), pwd.getpwnam(SOMEBODY).pw_uid)
    (result,) = found("spool_usable", look)
    assert (result.level, result.remedy) == (SKIPPED, "see pipe_user")
    assert levels("pipe_user", look) == {ERROR}


def test_the_words_to_make_a_spool_name_the_accounts_of_the_service(site: Site) -> None:
    site.spool.rmdir()
    (result,) = found("spool_usable", site.look())
    assert f"-o {SOMEBODY} " in result.remedy
    assert spool_checks.group_name(3999999998) == "3999999998"


def room(free: int, inodes: int = 1000) -> Callable[[bytes], os.statvfs_result]:
    facts = os.statvfs_result((4096, 4096, 10**9, 10**9, free // 4096, 2000, 1000, inodes, 0, 255))
    return lambda path: facts


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(10**9, 1000, OK), (10**8, 1000, WARNING), (10**6, 1000, ERROR), (10**9, 5, WARNING)],
)
def test_room_in_the_spool(
    site: Site, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, level: str
) -> None:
    monkeypatch.setattr(os, "statvfs", room(free, inodes))
    assert levels("spool_room", site.own()) == {level}


def test_a_file_system_without_nameless_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def refuse(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return really(path, flags, mode, dir_fd=dir_fd)

    look = site.own()
    monkeypatch.setattr(os, "open", refuse)
    assert levels("spool_nameless", look) == {WARNING}


def test_a_file_system_of_another_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_checks, "_file_system", lambda path: "nfs4")
    assert levels("spool_local", site.own()) == {ERROR}
    monkeypatch.setattr(spool_checks, "_file_system", lambda path: "ext4")
    assert levels("spool_local", site.own()) == {OK}
    lines = ["22 1 0:30 / /x rw shared:1 - nfs4 server:/x rw", "23 1 8:1 / / rw - ext4 /dev/a rw"]
    assert spool_checks.kind_of(lines, "0:30") == "nfs4"
    assert spool_checks.kind_of(lines, "9:9") == ""


def test_what_was_left_behind(site: Site) -> None:
    new = site.spool / "avcheck.1"
    new.touch()
    assert levels("spool_left_behind", site.own()) == {OK}
    os.utime(new, (0, 0))
    assert levels("spool_left_behind", site.own()) == {WARNING}


def test_a_waitfile_that_is_a_directory(site: Site) -> None:
    look = site.own()
    (site.spool / "wait").mkdir()
    (result,) = found("waitfile", look)
    assert (result.level, result.remedy) == (ERROR, f"rmdir {site.spool}/wait")


def test_a_waitfile_that_everybody_can_make(site: Site) -> None:
    everybody = site.directory / "everybody"
    everybody.mkdir()
    everybody.chmod(0o777)
    (result,) = found("waitfile", site.own(f"-w {everybody}/wait"))
    assert result.level == ERROR
    assert "everybody can make it" in result.text


def test_a_waitfile_that_the_account_cannot_see(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.lstat

    def lstat(path: Any, **words: Any) -> os.stat_result:
        if os.fsencode(path) == b"/root/wait":
            raise PermissionError(13, "Permission denied")
        return real(path, **words)

    monkeypatch.setattr(os, "lstat", lstat)
    (result,) = found("waitfile", site.own("-w /root/wait"))
    assert result.level == ERROR
    assert "Permission denied: all mail waits" in result.text


def test_waitfiles(site: Site) -> None:
    look = site.own()
    wait = site.spool / "wait"
    wait.write_bytes(Note("a new disk", "2999-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {WARNING}
    assert "a new disk" in text("waitfile", look)
    wait.write_bytes(Note("a new disk", "2000-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {ERROR}
    assert levels("waitfile", site.own("-w /nowhere/at/all")) == {ERROR}
    assert "No such file" in text("waitfile", site.own("-w /nowhere/at/all"))
    site.spool.chmod(0o777)
    assert levels("waitfile", look) == {ERROR}
    site.spool.chmod(0o710)
    look.settings.waitfile = b""
    assert levels("waitfile", look) == {WARNING}
