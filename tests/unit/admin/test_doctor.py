"""avcheckctl doctor: each check, made to fire and made not to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from avcheck.admin import checks, clamdconf, peer
from avcheck.admin.checks import handling
from avcheck.admin.checks import spool as spool_checks
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look
from avcheck.admin.services import Service
from avcheck.state.waitfile import Note
from tests.support.admin import KnowingClamd
from tests.support.doctor_site import (
    GOOD_CLAMD,
    SOMEBODY,
    Site,
    found,
    levels,
    text,
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def clamd(site: Site) -> Iterator[KnowingClamd]:
    now = datetime.now().strftime("%a %b %d %H:%M:%S %Y")
    with KnowingClamd(site.clamd, version=f"ClamAV 1.4.6/27412/{now}".encode()) as daemon:
        site.clamd.chmod(0o600)
        yield daemon


# The spool directory.


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
    real = os.stat(site.spool)
    other = os.stat_result((*real[:4], 3999999998, *real[5:]))
    look = site.look()
    monkeypatch.setattr(spool_checks, "_status", lambda look: other)
    assert levels("spool_owner", look) == {ERROR}
    monkeypatch.setattr(
        spool_checks, "_status", lambda look: os.stat_result((*real[:4], 0, *real[5:]))
    )
    assert levels("spool_owner", look) == {OK}


def test_the_words_to_make_a_spool_name_the_accounts_of_the_service(site: Site) -> None:
    site.spool.rmdir()
    (result,) = found("spool_usable", site.look())
    assert f"-o {SOMEBODY} " in result.remedy
    assert spool_checks._user(3999999998) == "3999999998"
    assert spool_checks._group(3999999998) == "3999999998"


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


def test_waitfiles(site: Site) -> None:
    look = site.own()
    wait = site.spool / "wait"
    wait.write_bytes(Note("a new disk", "2999-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {WARNING}
    assert "a new disk" in text("waitfile", look)
    wait.write_bytes(Note("a new disk", "2000-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {ERROR}
    site.spool.chmod(0o777)
    assert levels("waitfile", look) == {ERROR}
    assert levels("waitfile", site.own("-w /nowhere/at/all")) == {ERROR}
    look.settings.waitfile = b""
    assert levels("waitfile", look) == {WARNING}


# The scanner.


def test_a_good_scanner_is_in_order(site: Site, clamd: KnowingClamd) -> None:
    look = site.own()
    for name in ("scanner_answers", "scanner_knows_virus", "scanner_signatures", "scanner_socket"):
        assert levels(name, look) == {OK}, name


def test_a_scanner_that_does_not_answer(site: Site) -> None:
    look = site.own()
    assert levels("scanner_answers", look) == {ERROR}
    assert levels("scanner_knows_virus", look) == {ERROR}
    for name in ("scanner_signatures", "scanner_chroot"):
        assert levels(name, look) == set(), name
    for name in ("scanner_account", "scanner_socket"):
        assert levels(name, look) == {SKIPPED}, name
    by_path = site.own(f"-s clamd+path:{site.clamd}")
    for name in ("scanner_chroot", "scanner_group"):
        assert levels(name, by_path) == {SKIPPED}, name


def test_a_scanner_that_may_not_be_talked_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from avcheck.admin.commands import ping

    answer = ping.Answer("clamd", "/x", 0.0, wrong="/x: connect: Permission denied")
    monkeypatch.setattr(ping, "every", lambda site: iter([answer]))
    (result,) = found("scanner_answers", site.own())
    assert "namei" in result.remedy


def test_a_scanner_that_is_blind(site: Site, clamd: KnowingClamd) -> None:
    clamd.blind = True
    assert levels("scanner_knows_virus", site.own()) == {ERROR}


@pytest.mark.parametrize(
    ("where", "level"),
    [
        ("clamscan", OK),
        ("clamdscan", OK),
        ("drweb", WARNING),
        ("drweb?passed=fine", OK),
        ("/opt/scan?clean=0&args={path}", WARNING),
        ("/opt/scan?clean=0&args={path}&passed=fine", OK),
    ],
)
def test_a_program_that_says_nothing_when_all_is_well(site: Site, where: str, level: str) -> None:
    assert levels("scanner_words", site.own(f"--backup command:{where}")) == {level}


@pytest.mark.parametrize(("days", "level"), [(1, OK), (9, WARNING), (99, ERROR)])
def test_old_signatures(site: Site, clamd: KnowingClamd, days: int, level: str) -> None:
    date = (datetime.now() - timedelta(days=days)).strftime("%a %b %d %H:%M:%S %Y")
    clamd.version = f"ClamAV 1.4.6/27412/{date}".encode()
    assert levels("scanner_signatures", site.own()) == {level}


def test_signatures_without_a_date(site: Site, clamd: KnowingClamd) -> None:
    clamd.version = b"ClamAV 1.4.6"
    assert levels("scanner_signatures", site.own()) == {WARNING}
    assert "no date" in text("scanner_signatures", site.own())


def with_peer(look: Look, found: peer.Peer) -> Look:
    for _, target in look.targets:
        look.found[id(target)] = found
    return look


def test_whose_the_scanner_is(site: Site) -> None:
    look = site.own()
    assert levels("scanner_account", with_peer(look, peer.Peer(7, 0, (0,)))) == {WARNING}
    assert levels("scanner_account", with_peer(look, peer.Peer(7, 3999999998, (5,)))) == {OK}
    mine = site.look()
    uid, _ = mine.service.runs_as
    assert levels("scanner_account", with_peer(mine, peer.Peer(7, uid, (5,)))) == {WARNING}


def test_a_socket_for_everybody(site: Site, clamd: KnowingClamd) -> None:
    site.clamd.chmod(0o666)
    site.directory.chmod(0o755)
    assert levels("scanner_socket", site.own()) == {WARNING}
    site.directory.chmod(0o750)
    assert levels("scanner_socket", site.own()) == {OK}
    assert levels("scanner_socket", site.own("--backup clamd:127.0.0.1")) == {OK}


def test_the_chroot_of_the_scanner(site: Site) -> None:
    look = site.own(f"-d {site.directory}/./spool")
    jailed = peer.Peer(7, 1000, (5,), str(site.directory))
    assert levels("scanner_chroot", with_peer(look, jailed)) == {OK}
    assert levels("scanner_chroot", with_peer(look, peer.Peer(7, 1000, (5,)))) == {ERROR}
    by_path = site.own(f"-s clamd+path:{site.clamd}")
    assert levels("scanner_chroot", with_peer(by_path, peer.Peer(7, 1000, (5,)))) == {OK}
    (bad,) = found("scanner_chroot", with_peer(by_path, jailed))
    assert bad.remedy == f"-d {site.directory}/./DIR"


def test_the_group_of_the_scanner(site: Site) -> None:
    look = site.own(f"-s clamd+path:{site.clamd}")
    gid = site.spool.stat().st_gid
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid,)))) == {OK}
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid + 5,)))) == {ERROR}
    site.spool.chmod(0o700)
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid,)))) == {ERROR}


# clamd's settings.

CLAMD = ("clamd_limits", "clamd_alerts", "clamd_looks_inside", "clamd_scan_time", "clamd_threads")


def test_good_settings_are_in_order(site: Site) -> None:
    look = site.look()
    for name in CLAMD:
        assert levels(name, look) == {OK}, name


def test_settings_that_cannot_be_read_are_skipped_in_so_many_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clamdconf, "PLACES", ())
    site.conf.unlink()
    for name in CLAMD:
        assert levels(name, site.look()) == {SKIPPED}, name
    site.change("clamd:@clamd", "clamd:127.0.0.1")
    for name in CLAMD:
        assert "on another host" in text(name, Look(site.look().service, site.postfix())), name
    site.change("clamd:127.0.0.1", "sophie:/nowhere")
    for name in CLAMD:
        assert levels(name, site.look()) == set(), name


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clamd_limits", "MaxFileSize 5M"),
        ("clamd_limits", "MaxScanSize 10240000"),
        ("clamd_limits", "MaxFileSize 10240001"),  # a header later it is too small
        ("clamd_alerts", "AlertExceedsMax no"),
        ("clamd_alerts", "AlertEncrypted false"),
        ("clamd_scan_time", "MaxScanTime 0"),
        ("clamd_scan_time", "MaxScanTime 900000"),
        ("clamd_threads", "MaxThreads 3"),
    ],
)
def test_settings_that_are_not_good(site: Site, name: str, line: str) -> None:
    site.conf.write_text(f"{line}\n{GOOD_CLAMD}")
    assert WARNING in levels(name, site.look())


def test_a_clamd_that_does_not_look_inside(site: Site) -> None:
    site.conf.write_text("ScanMail no\n")
    assert levels("clamd_looks_inside", site.look()) == {OK, ERROR}


def test_the_limit_for_streams_matters_for_streams(site: Site) -> None:
    site.conf.write_text(f"StreamMaxLength 1M\n{GOOD_CLAMD}")
    assert levels("clamd_limits", site.look()) == {OK}
    site.change("clamd:@clamd", "clamd+stream:@clamd")
    assert levels("clamd_limits", site.look()) == {OK, WARNING}


def test_how_many_come_at_a_time(site: Site) -> None:
    site.change("      10      pipe", "      -      pipe")
    assert levels("clamd_threads", site.look()) == {WARNING}
    site.change("--deadline", "--slots 5 --deadline")
    assert levels("clamd_threads", site.look()) == {OK}


# What is done with mail.


def test_deadlines(site: Site) -> None:
    assert levels("deadline", site.own()) == {OK}
    assert levels("deadline", site.own("--deadline 0")) == {WARNING}
    assert levels("deadline", site.own("-t 500 --deadline 450")) == {WARNING}


def test_programs(site: Site) -> None:
    assert levels("program", site.own()) == {OK}
    (site.bin / "avcheck").chmod(0o644)
    assert levels("program", site.own()) == {ERROR}
    (site.bin / "avcheck").unlink()
    assert levels("program", site.own()) == {ERROR}
    unknown = Look(Service("x", site.own().settings))
    assert levels("program", unknown) == set()
    assert levels("handler", unknown) == {WARNING}
    assert "was not looked at" in text("handler", unknown)


def test_handlers(site: Site) -> None:
    assert levels("handler", site.own()) == {OK}
    assert levels("handler", site.own("-i /nowhere/at/all")) == {ERROR}
    (site.bin / "infected.sh").unlink()
    assert levels("handler", site.own()) == {ERROR}
    verdicts = ("infected", "suspicious", "policy", "encrypted", "unscannable")
    assert levels("handler", site.own(" ".join(f"--on {each}=defer" for each in verdicts))) == set()


def test_quarantines(site: Site) -> None:
    look = site.own("--on infected=quarantine:@spool/q")
    assert levels("quarantine", site.own()) == set()  # the handler keeps none
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").chmod(0o755)
    assert levels("quarantine", look) == {ERROR}
    (site.spool / "q").chmod(0o700)
    assert levels("quarantine", site.own("--on infected=quarantine:/nowhere/q")) == {ERROR}


@pytest.mark.parametrize("how", ["--on infected=quarantine:@spool/q", "script", "settings"])
def test_a_quarantine_that_is_not_ours_to_write_to(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Root's, for instance: looked at by its owner, and it is safe, but nothing is stored there."""
    (site.bin / "infected.sh").write_text("#!/bin/sh\nquarantine=q\n")
    if how == "settings":
        (site.bin / "infected.sh").write_text("#!/bin/sh\nquarantine=elsewhere\n")
        file = site.directory / "infected.conf"
        file.write_text("# here\nquarantine='q'\n")
        monkeypatch.setattr(handling, "SETTINGS", os.fsencode(file))
    look = site.own(how if how.startswith("-") else "")
    (site.spool / "q").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: False)
    assert levels("quarantine", look) == {ERROR}
    remedies = [result.remedy for result in found("quarantine", look)]
    assert all(f"chown -h avclient {site.spool}/q" in remedy for remedy in remedies)


def test_no_remedy_hands_anything_to_root(site: Site) -> None:
    site.user = "root"
    site.spool.rmdir()
    for name in ("spool_usable", "spool_owner", "quarantine"):
        for result in found(name, site.look()):
            assert not re.search("chown.*root|-o root", result.remedy), result


@pytest.mark.parametrize("whose", ["the service's", "the spool's", "nobody can tell"])
def test_an_account_that_is_not_avchecks_is_told_to_ask_root(
    site: Site, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """What it sees itself says nothing about the account that runs avcheck."""
    look = site.look() if whose == "the service's" else site.own()
    real = os.stat

    def stat(path: str | bytes, **words: Any) -> os.stat_result:
        if os.fsencode(path) != os.fsencode(site.spool):
            return real(path, **words)
        if whose == "nobody can tell":
            raise PermissionError(13, "Permission denied", path)
        return os.stat_result((*real(path)[:4], 3999999998, *real(path)[5:]))

    monkeypatch.setattr(os, "geteuid", lambda: 3999999997)
    monkeypatch.setattr(os, "stat", stat)
    seen = ("spool", "scanner", "handling")
    for check in checks.CHECKS:
        if check.__module__.rpartition(".")[2] not in seen:
            continue
        for result in checks.results(check, look):
            assert result.level in (OK, SKIPPED), result
            assert "install" not in result.remedy
    (result,) = found("spool_usable", look)
    assert (result.level, result.remedy) == (SKIPPED, "run this as root")


def test_what_is_delivered(site: Site) -> None:
    assert levels("delivers_unproved", site.own()) == {OK}
    look = site.own("--on failed=deliver")
    assert levels("delivers_unproved", look) == {WARNING}
    (result,) = found("delivers_unproved", look)
    assert result.remedy == "--on failed=defer"
