"""avcheckctl doctor: what it asks others, and what it says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from avcheck.admin import checks, clamdconf, peer, postfix
from avcheck.admin.checks import ERROR, OK, WARNING, Look
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from tests.support.admin import KnowingClamd, avcheckctl
from tests.support.doctor_site import (
    SEEN,
    US,
    Site,
)
from tests.support.fakes import FakeSmtp


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def clamd(site: Site) -> Iterator[KnowingClamd]:
    now = datetime.now().strftime("%a %b %d %H:%M:%S %Y")
    with KnowingClamd(site.clamd, version=f"ClamAV 1.4.6/27412/{now}".encode()) as daemon:
        site.clamd.chmod(0o600)
        yield daemon


# What postconf(1), clamconf(1) and /proc say.


def test_lines_of_master_cf() -> None:
    line = postfix.parse_line(
        "a unix - n n - 10 pipe -o { x = a, b } -o y=$z"
        " user=u argv=/b/avcheck -h {a b} -- ${recipient}"
    )
    assert line.overrides == {"x": "a, b", "y": "$z"}
    pipe = postfix.parse_pipe(line)
    assert pipe is not None
    assert (pipe.user, pipe.group) == ("u", "")
    assert pipe.argv == ("/b/avcheck", "-h", "a b", "--", "${recipient}")
    assert pipe.expanded()[-1] == "recipient@example.org"
    assert Postfix((line,), {"z": "7"}).value("y", line) == "7"
    for other in ("argv=/bin/true", "user=x", "argv="):
        assert postfix.parse_pipe(postfix.parse_line(f"a unix - n n - 10 pipe {other}")) is None
    with pytest.raises(Trouble, match="not a service"):
        postfix.parse_line("a unix -")


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


def test_doctor_says_what_it_may_not_see(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(look: Look) -> Iterator[checks.Result]:
        raise PermissionError(13, "Permission denied", "/proc/1/root")

    monkeypatch.setattr(checks, "load", lambda name: refuse)
    (result,) = checks.results("program", site.own())
    assert result.remedy == "run this as root"


@pytest.fixture
def fake_postconf(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A postconf(1) that says what the site has."""
    (site.directory / "lines").write_text(site.filled(site.master))
    (site.directory / "parameters").write_text(
        "".join(f"{name} = {value}\n" for name, value in site.main.items())
    )
    program = site.directory / "postconf"
    program.write_text(
        "#!/bin/sh\ncd '" + str(site.directory) + "'\n"
        'case "$1 $2" in "-c /good") shift 2 ;; -c*) echo no such directory >&2; exit 1 ;; esac\n'
        "case $1 in -M) cat lines ;; -x) cat parameters ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(postfix, "PLACES", str(site.directory))
    return program


def test_postfix_is_asked_by_postconf(site: Site, fake_postconf: Path) -> None:
    said = avcheckctl("doctor", "--postfix=/good", "--json")
    found = {each["check"]: each["level"] for each in said.facts}
    assert found["pipe_flags"] == OK
    assert said.facts[0]["service"] == "avcheck"
    assert avcheckctl("resume", "--postfix").status == 0


def test_postfix_that_cannot_be_asked(
    site: Site, fake_postconf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = avcheckctl("doctor", "--postfix=/bad")
    assert said.status == 2
    assert "no such directory" in said.err
    (site.directory / "lines").write_text("smtp inet n - y - - smtpd\n")
    said = avcheckctl("doctor", "--postfix")
    assert said.status == 2
    assert "avcheckctl setup postfix" in said.err
    monkeypatch.setattr(postfix, "PLACES", "/nowhere")
    assert "is Postfix installed" in avcheckctl("doctor", "--postfix").err


def test_a_service_that_cannot_run_at_all(site: Site, fake_postconf: Path) -> None:
    (site.directory / "lines").write_text(site.filled(site.master.replace("--deadline", "--dead")))
    said = avcheckctl("doctor", "--postfix", "--json")
    assert said.status == 1
    (result,) = said.facts
    assert "no such option: --dead" in result["text"]
    said = avcheckctl("ping", "--postfix")
    assert said.status == 2
    assert "no such option: --dead" in said.err


def test_a_service_without_a_waitfile_cannot_be_paused(site: Site, fake_postconf: Path) -> None:
    (site.directory / "lines").write_text(site.filled(site.master.replace("-w @spool/wait", "")))
    said = avcheckctl("pause", "--postfix")
    assert said.status == 2
    assert "add -w" in said.err


def test_every_check_has_a_sentence_and_was_made_to_fire_and_not_to() -> None:
    assert all(checks.load(name).__doc__ for name in checks.CHECKS)
    if len(SEEN) < len(checks.CHECKS):
        pytest.skip("not all the tests above were run")
    for name in checks.CHECKS:
        assert OK in SEEN[name], name
        assert SEEN[name] & {WARNING, ERROR}, name
