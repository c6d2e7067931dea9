"""avcheckctl doctor: what it asks others, and what it says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.admin import checks, clamdconf, peer, postfix
from avcheck.admin.look import OK, Look, Result
from tests.support.admin import KnowingClamd, avcheckctl
from tests.support.doctor_site import (
    US,
    Site,
)
from tests.support.fakes import FakeSmtp

# What postconf(1), clamconf(1) and /proc say.


def test_clamd_conf_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = clamdconf.Conf("x", clamdconf.parse('# c\nMaxFileSize "5M"\nMaxFileSize 6M\nDebug\n'))
    assert conf.number("MaxFileSize") == 5 * 1024**2
    assert conf.is_on("Debug")
    assert conf.number("MaxFiles") == 10000
    assert conf.number("LogFile") == 0
    assert clamdconf.read(str(tmp_path / "no"), os.geteuid()) is None
    monkeypatch.setattr(clamdconf, "PLACES", (str(tmp_path / "no"), str(tmp_path / "scan.conf")))
    assert clamdconf.of("", None) is None
    (tmp_path / "scan.conf").write_text("MaxThreads 3\n")
    found = clamdconf.of("", None)
    assert found is not None
    assert found.number("MaxThreads") == 3


def test_clamd_says_where_its_settings_are() -> None:
    assert clamdconf.from_argv(("clamd", "--config-file=/x")) == "/x"
    assert clamdconf.from_argv(("clamd", "-c", "/x")) == "/x"
    assert clamdconf.from_argv(("clamd", "-c")) == ""
    assert clamdconf.from_argv(("clamd", "--foreground=true")) == ""


def test_what_clamconf_says() -> None:
    said = (
        'Checking\n\nConfig file: freshclam.conf\n----\nMaxFiles = "1"\n\n'
        'Config file: clamd.conf\n-----\nMaxFiles = "7"\nAlertEncrypted disabled\nA = b\n\n'
        'MaxFiles = "9"\n'
    )
    assert clamdconf.parse_clamconf(said) == {"MaxFiles": "7", "AlertEncrypted": "no", "A": "b"}


def test_clamconf_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "clamconf"
    said = 'Config file: clamd.conf\\nMaxFiles = "7"\\nMaxScanTime disabled\\n'
    program.write_text(f"#!/bin/sh\nprintf '{said}'\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "clamd.conf").write_text("MaxThreads 3\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    conf = clamdconf.read(str(tmp_path / "clamd.conf"), os.geteuid())
    assert conf is not None
    assert conf.number("MaxFiles") == 7
    assert conf.number("MaxThreads") == 3
    assert conf.number("MaxScanTime") == 120000  # clamd's own, not clamconf's


def test_a_listener_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found = peer.process(peer.listener(bytes(tmp_path / "s")))
    assert found is not None
    assert (found.pid, found.user) == (os.getpid(), US)
    assert found.root == os.readlink("/proc/self/root")
    assert peer.listener(bytes(tmp_path / "no")) == 0
    assert peer.process(2**30) is None
    assert peer.only("no such program") == 0
    assert peer.Peer(1, 3999999998, ()).user == "3999999998"


def test_a_listener_that_systemd_made_is_looked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "SYSTEMD", os.getpid())
    monkeypatch.setattr(peer, "only", lambda name: os.getpid() if name == "clamd" else 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found = peer.process(peer.listener(bytes(tmp_path / "s")))
    assert found is not None
    assert found.pid == os.getpid()


# The command.


def doctor(site: Site, *words: str) -> tuple[int, str]:
    said = avcheckctl(
        "doctor", "--clamd-conf", site.conf, "-s", f"clamd:{site.clamd}", "-d", site.spool, *words
    )
    return said.status, said.out


def test_doctor_says_what_to_correct(site: Site, clamd: KnowingClamd) -> None:
    with FakeSmtp() as smtp:
        status, out = doctor(site, "-S", smtp.where, "-i", str(site.bin / "infected.sh"), "--", "x")
        assert status == 0
        assert f"-w {site.spool}/wait" in out
        assert " errors" in out
        assert "[deadline]" not in out
        status, out = doctor(site, "-S", smtp.where, "-i", "/nowhere/at/all", "--all")
        assert status == 1
        assert "[deadline]" in out
        assert "0 errors" not in out


def test_doctor_prints_json(site: Site, clamd: KnowingClamd) -> None:
    said = avcheckctl(
        "doctor", "-s", f"clamd:{site.clamd}", "-d", site.spool, "--json", "-S", "unix:/nowhere"
    )
    assert said.status == 1
    errors = [each["check"] for each in said.facts if each["level"] == "error"]
    assert "reinjection_answers" in errors
    assert all(set(each) == {"service", "check", "level", "text", "remedy"} for each in said.facts)


def test_doctor_says_what_it_may_not_see(site: Site) -> None:
    def refuse(look: Look) -> Iterator[Result]:
        raise PermissionError(13, "Permission denied", "/proc/1/root")

    (result,) = checks.results(refuse, site.own())
    assert result.remedy == "run this as root"


def test_postfix_is_asked_by_postconf(site: Site) -> None:
    site.postfix()
    said = avcheckctl("doctor", f"--postfix={site.config}", "--json")
    found = {each["check"]: each["level"] for each in said.facts}
    assert found["pipe_flags"] == OK
    assert said.facts[0]["service"] == "avcheck"
    assert avcheckctl("resume", f"--postfix={site.config}").status == 0


def test_postfix_that_cannot_be_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    said = avcheckctl("doctor", f"--postfix={site.directory}/nowhere")
    assert said.status == 2
    assert "No such file or directory" in said.err
    site.master = "smtp inet n - y - - smtpd\n"
    site.postfix()
    said = avcheckctl("doctor", f"--postfix={site.config}")
    assert said.status == 2
    assert "avcheckctl setup postfix" in said.err
    monkeypatch.setattr(postfix, "PLACES", "/nowhere")
    assert "is Postfix installed" in avcheckctl("doctor", "--postfix").err


def test_a_service_that_cannot_run_at_all(site: Site) -> None:
    site.change("--deadline", "--dead").postfix()
    said = avcheckctl("doctor", f"--postfix={site.config}", "--json")
    assert said.status == 1
    (result,) = said.facts
    assert "no such option: --dead" in result["text"]
    said = avcheckctl("ping", f"--postfix={site.config}")
    assert said.status == 2
    assert "no such option: --dead" in said.err


def test_a_service_without_a_waitfile_cannot_be_paused(site: Site) -> None:
    site.change("-w @spool/wait", "").postfix()
    said = avcheckctl("pause", f"--postfix={site.config}")
    assert said.status == 2
    assert "add -w" in said.err
