"""avcheckctl doctor: the checks of the scanner and of clamd.conf, made to fire and made not to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from avcheck.admin import asking, clamdconf, peer, sites
from avcheck.admin.checks import clamd as settings
from avcheck.admin.checks import scanner as scanners
from avcheck.admin.commands import doctor
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look
from avcheck.settings import Scanner, Target
from tests.support.admin import KnowingClamd
from tests.support.doctor_site import (
    GOOD_CLAMD,
    Site,
    found,
    levels,
    text,
)

# The scanner.


def test_a_good_scanner_is_in_order(site: Site, clamd: KnowingClamd) -> None:
    look = site.own()
    for name in ("scanner_answers", "scanner_knows_virus", "scanner_signatures", "scanner_socket"):
        assert levels(name, look) == {OK}, name


def test_a_scanner_that_does_not_answer(site: Site) -> None:
    look = site.own()
    assert levels("scanner_answers", look) == {ERROR}
    assert levels("scanner_knows_virus", look) == {SKIPPED}
    assert "was not tested" in text("scanner_knows_virus", look)
    for name in ("scanner_signatures", "scanner_chroot"):
        assert levels(name, look) == set(), name
    for name in ("scanner_account", "scanner_socket"):
        assert levels(name, look) == {SKIPPED}, name
    by_path = site.own(f"-s clamd+path:{site.clamd}")
    for name in ("scanner_chroot", "scanner_group"):
        assert levels(name, by_path) == {SKIPPED}, name


def test_a_scanner_that_may_not_be_talked_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asking.Answer("clamd", "/x", 0.0, error="/x: connect: Permission denied")
    monkeypatch.setattr(asking, "ask", lambda *words: answer)
    (result,) = found("scanner_answers", site.own())
    assert "namei" in result.remedy


def test_a_scanner_is_asked_once(
    site: Site, clamd: KnowingClamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two services that have the same, too."""
    asked: list[str] = []
    real = asking.ask

    def ask(scanner: Scanner, target: Target, *words: Any) -> asking.Answer:
        asked.append(asking.place(target))
        return real(scanner, target, *words)

    monkeypatch.setattr(asking, "ask", ask)
    service = site.own().service
    two = sites.Site((service, replace(service, name="y")))
    assert len(list(doctor.examine(two, str(site.conf)))) > 20
    assert asked == [str(site.clamd)]


def test_a_scanner_is_not_tested_in_a_spool_that_is_not_there(
    site: Site, clamd: KnowingClamd
) -> None:
    look = site.own()
    site.spool.rmdir()
    (result,) = found("scanner_knows_virus", look)
    assert (result.level, result.remedy) == (SKIPPED, "see spool_usable")


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
    assert levels("scanner_proof", site.own(f"--backup command:{where}")) == {level}


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


def test_whose_files_a_scanner_opens(site: Site) -> None:
    """What opens none needs no group; root needs none either."""
    other = peer.Peer(7, 1000, (site.spool.stat().st_gid + 5,))
    assert levels("scanner_group", with_peer(site.own(), other)) == set()
    by_path = site.own(f"-s clamd+path:{site.clamd}")
    assert levels("scanner_group", with_peer(by_path, peer.Peer(7, 0, (0,)))) == set()


def test_a_root_directory_that_is_not_named(site: Site) -> None:
    """Without /./ in -d the scanner has that of everybody."""
    look = with_peer(site.own(f"-s clamd+path:{site.clamd}"), peer.Peer(7, 1000, (5,), "/jail"))
    assert "-d says /" in text("scanner_chroot", look).split(", and ")[1]
    whole = with_peer(
        site.own(f"-s clamd+path:{site.clamd} -d /./{site.spool}"), peer.Peer(7, 1, (5,))
    )
    assert levels("scanner_chroot", whole) == {OK}


@pytest.mark.parametrize(
    ("scanner", "account", "socket", "silent"),
    [
        ("clamd", "User clamav", "in clamd.conf: LocalSocketGroup", "systemctl status clamav-"),
        ("sophie", "uchroot -u avdaemon / ...", "chgrp avgroup", "namei -l"),
    ],
)
def test_each_scanner_is_mended_in_its_own_way(
    site: Site, scanner: str, account: str, socket: str, silent: str
) -> None:
    where = site.directory / "open"
    look = site.own(f"-s {scanner}:{where}")
    silence = found("scanner_answers", look)[-1]
    assert silent in silence.remedy
    with pytest.MonkeyPatch.context() as patch, KnowingClamd(where):
        where.chmod(0o666)
        site.directory.chmod(0o755)
        for booted in (str(site.directory), "/nonexistent"):
            patch.setattr(scanners, "BOOTED", booted)
            remedy = found("scanner_socket", look)[-1].remedy
            assert remedy.startswith(socket)
            told = scanner == "clamd" and booted != "/nonexistent"
            assert ("systemctl edit clamav-daemon.socket" in remedy) == told
    (*_, roots) = found("scanner_account", with_peer(look, peer.Peer(7, 0, (0,))))
    assert roots.remedy == account


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
        assert levels(name, replace(site.look(), clamd_conf="")) == {SKIPPED}, name
        assert levels(name, site.look()) == {ERROR}, name  # it is named, and is not there
    site.change("clamd:@clamd", "clamd:192.0.2.7")
    for name in CLAMD:
        assert "on another host" in text(name, Look(site.look().service, site.postfix())), name
    site.change("clamd:192.0.2.7", "sophie:/nowhere")
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


def test_signatures_that_clamd_does_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    freshclam = site.directory / "freshclam.conf"
    monkeypatch.setattr(settings, "FRESHCLAM", ("/nonexistent", str(freshclam)))
    assert levels("clamd_self_check", site.look()) == {OK}
    site.conf.write_text(f"SelfCheck 0\n{GOOD_CLAMD}")
    assert levels("clamd_self_check", site.look()) == {WARNING}
    freshclam.write_text("#NotifyClamd /etc/clamav/clamd.conf\n")
    assert levels("clamd_self_check", site.look()) == {WARNING}
    freshclam.write_text("NotifyClamd /etc/clamav/clamd.conf\n")
    assert levels("clamd_self_check", site.look()) == {OK}


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
