"""avcheckctl doctor: what a scanner does when it is tried, and what is asked side by side."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from avcheck.address import Address
from avcheck.admin import asking, peer, sites
from avcheck.admin.checks import tried
from avcheck.admin.commands import doctor
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.admin import KnowingClamd, holds_virus
from tests.support.doctor_site import GOOD_CLAMD, Site, found, levels, text

MEGABYTE = 1 << 20


def test_a_listener_at_every_address_is_found_by_any() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = b"%d" % listener.getsockname()[1]
        for host in (b"127.0.0.1", b"::1", b"192.0.2.7"):
            assert peer.tcp_listener(Address(host=host, port=port)) == os.getpid()


def test_each_place_of_a_scanner_is_tried(site: Site, clamd: KnowingClamd) -> None:
    """The first one that answers hides the others from mail, and not from doctor."""
    with KnowingClamd(site.directory / "second") as blind:
        blind.blind = True
        look = site.own(f"-s clamd:{site.clamd},{blind.where}")
        results = [each for each in found("scanner_knows_virus", look) if each.level == ERROR]
        assert [str(blind.where) in each.text for each in results] == [True]
        assert {OK, ERROR} <= levels("scanner_knows_virus", site.own(f"-s clamd:{blind.where}"))
        blind.blind = False
        blind.judge = lambda content: b"OK" if len(content) > MEGABYTE else blind._judge(content)
        results = found("scanner_largest", site.own(f"-s clamd:{blind.where}"))
        assert [(each.level, str(blind.where) in each.text) for each in results] == [
            (OK, False),
            (ERROR, True),
        ]


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (b"Eicar-Test-Signature FOUND", OK),
        (b"OK", ERROR),
        (b"Heuristics.Limits.Exceeded.MaxFileSize FOUND", WARNING),
        (b"INSTREAM size limit exceeded. ERROR", WARNING),
    ],
)
def test_the_largest_message(site: Site, clamd: KnowingClamd, words: bytes, level: str) -> None:
    def judge(content: bytes) -> bytes:
        if len(content) > MEGABYTE:
            return words
        return b"Eicar-Test-Signature FOUND" if holds_virus(content) else b"OK"

    clamd.judge = judge
    look = site.own()
    assert levels("scanner_largest", look) == {level}
    assert "mail of 9.8M" in text("scanner_largest", look)
    assert max(len(each.content) for each in clamd.questions) > 10_000_000


@pytest.mark.parametrize(
    ("limit", "size"), [("3000000", 3_000_000), ("0", 10_240_000), ("99000000", 30 * MEGABYTE)]
)
def test_how_large_the_largest_is(site: Site, limit: str, size: int) -> None:
    site.main["message_size_limit"] = limit
    assert tried._size(site.own()) == size


def test_how_to_go_on_with_a_scanner_that_is_blind(site: Site, clamd: KnowingClamd) -> None:
    clamd.blind = True
    look = site.own()
    (result,) = found("scanner_knows_virus", look)
    assert result.remedy == "avcheckctl probe --postfix"
    (result,) = found("scanner_knows_virus", replace(look, postfix=None))
    assert result.remedy == "avcheckctl probe -s ... -d ..."


def test_what_is_not_tried(site: Site, clamd: KnowingClamd) -> None:
    clamd.blind = True
    for name in ("scanner_largest", "scanner_encrypted"):
        assert levels(name, site.own()) == {SKIPPED}, name
    assert levels("scanner_encrypted", site.own("--on encrypted=deliver")) == set()


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        ("MaxFiles", "MaxFiles 10000"),
        ("MaxRecursion", "MaxRecursion 17"),
        ("MaxScanTime", "MaxScanTime 120000"),
        ("MaxFileSize", "AlertExceedsMax yes\nMaxFileSize 400M"),
        ("MaxOfSomething", "AlertExceedsMax yes"),
    ],
)
def test_the_limit_that_clamd_names(
    site: Site, clamd: KnowingClamd, limit: str, remedy: str
) -> None:
    found_ = f"Heuristics.Limits.Exceeded.{limit} FOUND".encode()
    clamd.judge = lambda content: found_ if len(content) > MEGABYTE else clamd._judge(content)
    (result,) = found("scanner_largest", site.own())
    assert result.remedy.startswith(remedy)
    clamd.judge = lambda content: found_
    (result,) = found("scanner_knows_virus", site.own())
    probe = remedy.startswith("Alert")
    assert result.remedy == ("avcheckctl probe --postfix" if probe else remedy)


def test_who_is_asked_about_archives(site: Site) -> None:
    """clamd, which can be told to say that they are encrypted."""
    asked: list[Any] = list(tried.questions(site.own("-s sophie:/nowhere")))
    locked = [scanner.type for question, scanner in asked if question is tried.locked]
    assert locked == ["clamd"]
    assert len(asked) == 5


def test_archives_with_a_password(site: Site, clamd: KnowingClamd) -> None:
    assert levels("scanner_encrypted", site.own()) == {WARNING}
    clamd.judge = lambda content: (
        b"Heuristics.Encrypted.Zip FOUND" if b".zip" in content else clamd._judge(content)
    )
    assert levels("scanner_encrypted", site.own()) == {OK}


def test_a_clamd_that_was_not_restarted(site: Site, clamd: KnowingClamd) -> None:
    """The tests play it: it was started when they were."""
    assert levels("clamd_restarted", site.own()) == {OK}
    os.utime(site.conf, (time() + 9, time() + 9))
    assert levels("clamd_restarted", site.own()) == {ERROR}
    (result,) = found("clamd_restarted", site.own())
    assert "restart" in result.remedy
    assert abs(time() - peer.started(os.getpid())) < 3600
    assert peer.started(2**30) == 0.0


def room(free: int, inodes: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 10**9, 10**9, free // 4096, 2000, inodes, inodes, 0, 255))


@pytest.mark.parametrize(
    ("free", "inodes", "level", "said"),
    [
        (10**10, 1000, OK, "has room"),
        (20 * MEGABYTE, 1000, WARNING, "20M free"),
        (4096, 1000, ERROR, "is full"),
        (10**10, 0, ERROR, "no inodes left"),
    ],
)
def test_the_room_where_clamd_unpacks(
    site: Site,
    clamd: KnowingClamd,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    inodes: int,
    level: str,
    said: str,
) -> None:
    scratch = site.directory / "scratch"
    scratch.mkdir()
    site.conf.write_text(f"{GOOD_CLAMD}TemporaryDirectory {scratch}\n")
    monkeypatch.setattr(os, "statvfs", lambda path: room(free, inodes))
    assert levels("clamd_room", site.own()) == {level}
    assert said in text("clamd_room", site.own())
    clamd.blind = True
    (result,) = found("scanner_knows_virus", site.own())
    assert result.level == ERROR
    assert (f"{scratch}" in result.text) == (level == ERROR)
    assert ("probe" in result.remedy) == (level != ERROR)


def test_a_clamd_by_tcp_is_looked_at_where_it_is_on_this_host(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for host, pid in ((b"127.0.0.1", os.getpid()), (b"localhost", os.getpid()), (b"::1", 0)):
            assert peer.tcp_listener(Address(host=host, port=b"%d" % port)) == pid
        look = site.own(f"-s clamd:127.0.0.1:{port}")
        assert [conf.path for conf in look.confs] == [str(site.conf)]
        *_, (_, target) = look.targets
        found = look.peer(target)
        assert found is not None
        assert found.pid == os.getpid()
        assert "StreamMaxLength" in text(
            "clamd_limits", site.change("clamd:@clamd", f"clamd:127.0.0.1:{port}").look()
        )
    assert peer.tcp_listener(Address(host=b"127.0.0.1", port=b"no such service")) == 0
    far = site.own("-s clamd:192.0.2.7")
    assert far.peer(list(far.targets)[-1][1]) is None


@pytest.mark.parametrize(
    ("name", "line", "level"),
    [
        ("clamd_equal_sizes", "MaxFileSize 100M", WARNING),
        ("clamd_equal_sizes", "MaxScanSize 0", WARNING),
        ("clamd_leaves_nothing_out", "ExcludePath ^/var/spool", WARNING),
        ("clamd_looks_inside", "ScanOLE2 no", WARNING),
        ("clamd_looks_inside", "ScanArchive no", ERROR),
    ],
)
def test_settings_that_leave_something_out(site: Site, name: str, line: str, level: str) -> None:
    assert levels(name, site.look()) == {OK}
    site.conf.write_text(f"{line}\n{GOOD_CLAMD}")
    assert level in levels(name, site.look())


def test_a_scanner_whose_module_is_broken_is_a_sentence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_scanner.py").write_text("def scan(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        look = site.own(f"-s mysite.broken:{where}")
        (scanner,) = [each for each in look.settings.scanners if each.type != "clamd"]
        monkeypatch.setattr(scanner.row, "module", "broken.scanner")
        assert "cannot be loaded: ModuleNotFoundError" in tried.doubt(look, scanner)


def test_questions_are_asked_side_by_side_and_within_one_limit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scanners and a mail server that take connections and say nothing until all have asked."""
    monkeypatch.setattr(asking, "LIMIT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        look = site.own(f"-s clamd:{where} -s sophie:{where} -S {where}")
        asking_now: list[int] = []
        taker = threading.Thread(target=take, args=(mute, asking_now))
        taker.start()
        results = list(doctor.examine(sites.Site((look.service,)), str(site.conf)))
        mute.shutdown(socket.SHUT_RDWR)
        taker.join()
    assert max(asking_now) >= 3
    errors = {each.check for each in results if each.level == ERROR}
    assert {"scanner_answers", "reinjection_answers"} <= errors


def take(mute: socket.socket, asking_now: list[int]) -> None:
    """Take connections until it is shut down; notes how many there are at a time."""
    taken: list[socket.socket] = []
    while True:
        try:
            taken.append(mute.accept()[0])
        except OSError:
            break
        # Who has given up has closed.
        for each in [*taken]:
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while each.recv(4096):
                    pass
                each.close()
                taken.remove(each)
        asking_now.append(len(taken))
    for each in taken:
        each.close()


def test_a_question_that_fails_fails_where_it_is_asked() -> None:
    here = threading.get_ident()
    said = asking.side_by_side({1: threading.get_ident, 2: lambda: 1 // 0})
    assert said[1].get() != here
    with pytest.raises(ZeroDivisionError):
        said[2].get()
    assert asking.side_by_side({}) == {}
