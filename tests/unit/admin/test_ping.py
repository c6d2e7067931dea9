"""avcheckctl ping, and the options of avcheck that all commands take."""

from __future__ import annotations

import os
import select
import socket
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from avcheck.admin import account, clamd_daemon, places
from avcheck.admin.output import Trouble
from avcheck.admin.services import Service, settings_from, with_config
from avcheck.options.rows import OPTIONS, GivenOption
from tests.support.admin import KnowingClamd, avcheckctl
from tests.support.fakes import FakeClamd, FakeSmtp, Server


def test_a_clamd_says_its_versions_and_the_age_of_its_signatures(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"), KnowingClamd() as second:
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd,{second.where}", "--json")
    assert said.status == 0
    for each in said.facts:
        assert each["version"] == "ClamAV 1.4.6"
        assert each["signatures"] == "27412"
        assert each["age_days"] > 0
        assert each["error"] == ""


def test_the_table_has_the_same(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd")
    header, row = said.out.splitlines()
    assert header.split() == ["SCANNER", "WHERE", "ANSWER", "VERSION", "SIGNATURES", "AGE"]
    assert row.split()[:2] == ["clamd", f"{tmp_path}/clamd"]
    assert "27412" in row


def test_who_does_not_answer_is_named_and_the_status_is_1(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd", "--backup", "clamd:/nowhere")
    assert said.status == 1
    assert "no: connect: No such file" in said.out


def test_who_hangs_up_does_not_answer(tmp_path: Path) -> None:
    with FakeClamd(tmp_path / "clamd", hangs_up=True):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd")
    assert said.status == 1
    assert "no: " in said.out  # closed or reset: that is up to the kernel


def test_something_else_at_that_place_is_not_clamd() -> None:
    with FakeSmtp() as smtp:
        said = avcheckctl("ping", "-s", f"clamd:{smtp.where}", "-t", "5")
    assert said.status == 1
    assert "to PING" in said.out


def test_a_clamd_that_keeps_its_version_to_itself_answers_all_the_same(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd", version=b""):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd", "--json")
    assert said.status == 0


def test_a_whole_command_line_of_avcheck_can_be_pasted(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        words = ["-f", "a@b", "-d", str(tmp_path), "-w", "/x", "--queue-id", "Q", "-h", "mx"]
        said = avcheckctl("ping", *words, "-s", f"clamd:{tmp_path}/clamd")
    assert said.status == 0


def test_a_configuration_file_names_scanners_too(tmp_path: Path) -> None:
    config = tmp_path / "avcheck.conf"
    config.write_text(f"scanner clamd:{tmp_path}/clamd\nattempts 3\n")
    with KnowingClamd(tmp_path / "clamd"):
        said = avcheckctl("ping", "--config", config)
    assert said.status == 0
    assert f"{tmp_path}/clamd" in said.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "-s or --scanner is needed, or --postfix"),
        (["-s", "nonsense:/x"], "known scanners are"),
        (["-s", "clamd", "--postfix"], "give none here"),
        (["--config", "/nowhere"], "No such file"),
    ],
)
def test_wrong_usage_is_2_and_says_why(words: list[str], text: str) -> None:
    said = avcheckctl("ping", *words)
    assert said.status == 2
    assert text in said.err


def test_versions_are_read() -> None:
    version = clamd_daemon.parse_version("ClamAV 1.4.6/27412/Sun Jan  4 09:22:37 2026")
    assert (version.program, version.signatures) == ("ClamAV 1.4.6", "27412")
    assert version.date is not None
    assert version.date.astimezone().replace(tzinfo=None) == datetime(2026, 1, 4, 9, 22, 37)
    assert version.date.tzinfo is UTC
    assert clamd_daemon.parse_version("ClamAV 1.4.6").date is None
    assert clamd_daemon.parse_version("\x1b[2J/x/y").program == "?[2J"


def test_what_a_command_does_not_need_is_made_up_and_is_not_seen() -> None:
    settings = settings_from([], [])
    assert settings.scanners == ()
    assert settings.spool == b""


def test_an_option_that_is_needed_is_named() -> None:
    with pytest.raises(click.UsageError, match="-w or --waitfile"):
        settings_from([], ["waitfile"])


def test_the_command_line_wins_over_the_configuration_file(tmp_path: Path) -> None:
    config = tmp_path / "avcheck.conf"
    config.write_text("spool /one\nwaitfile /one/wait\non infected=discard\n")
    names = {option.name: option for option in OPTIONS}
    words = [
        GivenOption(names["config"], os.fsencode(config)),
        GivenOption(names["spool"], b"/two"),
    ]
    settings = settings_from(with_config(words), ["spool"])
    assert settings.spool == b"/two"
    assert settings.waitfile == b"/one/wait"


def test_a_service_runs_as_the_owner_of_its_spool(tmp_path: Path) -> None:
    names = {option.name: option for option in OPTIONS}
    service = Service("x", settings_from([GivenOption(names["spool"], bytes(tmp_path))], []))
    assert service.runs_as == (tmp_path.stat().st_uid, None)
    nowhere = Service("x", settings_from([GivenOption(names["spool"], b"/nowhere/at/all")], []))
    assert nowhere.runs_as == (os.geteuid(), None)
    with pytest.raises(click.UsageError, match="x: it is wrong"):
        _ = Service("x", None, "it is wrong").require_settings


def test_nobody_owns_what_is_not_there() -> None:
    with pytest.raises(Trouble, match="No such file"), places.opened(b"/nowhere/at/all"):
        pass


def test_the_administrator_behind_sudo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    us = account.who()
    monkeypatch.setenv("SUDO_USER", "anna\n")
    assert account.who() == f"anna as {us}"
    monkeypatch.setattr(os, "getuid", lambda: 4294967293)
    assert account.who() == "anna as 4294967293"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_root_acts_as_the_owner_and_comes_back(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    before = os.getresuid(), os.getresgid(), os.getgroups()
    with places.opened(bytes(tmp_path)):
        assert os.getresuid() == (65534, 65534, 0)
        assert os.getresgid()[:2] == (os.getgid(), os.getegid())
        assert os.getgroups() == [os.getgid()] != before[2] or os.getgid() != 0
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
    with account.account(3999999999):  # no such account: its group has the same number
        assert os.getegid() == 3999999999
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


def test_a_program_that_is_not_there_is_no_scanner(tmp_path: Path) -> None:
    program = tmp_path / "scan"
    scanner = f"command:{program}?clean=0&infected=1&args={{path}}"
    said = avcheckctl("ping", "-s", scanner)
    assert said.status == 1
    assert "no: no such program" in said.out
    program.write_text("#!/bin/sh\n")
    assert "no: Permission denied" in avcheckctl("ping", "-s", scanner).out
    program.chmod(0o755)
    said = avcheckctl("ping", "-s", scanner)
    assert said.status == 0
    said = avcheckctl("status", "-d", tmp_path, "-s", scanner)
    assert said.status == 0
    assert f"command {program} is there" in said.out


# A clamd that hangs.


class HungClamd(Server):
    """It takes every connection, and answers nothing; or a byte now and then, or without end."""

    def __init__(self, path: Path, how: str = "silent") -> None:
        self.how = how
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        while self.how == "flood":
            client.sendall(b"x" * 65536)
        waiting = select.poll()
        waiting.register(client, select.POLLRDHUP)
        for _ in range(200):
            if waiting.poll(50):
                return
            if self.how == "drops":
                client.sendall(b"x")
        client.sendall(b"\n")


@pytest.mark.parametrize("how", ["silent", "drops"])
def test_a_clamd_that_hangs_is_left_after_the_limit_and_a_sentence_says_so(
    tmp_path: Path, how: str
) -> None:
    with HungClamd(tmp_path / "clamd", how):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd", "-t", "0.3")
    assert said.status == 1
    assert said.out.endswith("  no: no answer within 0.3 s\n")


def test_a_clamd_that_never_ends_its_answer_is_not_read_for_ever(tmp_path: Path) -> None:
    with HungClamd(tmp_path / "clamd", "flood"):
        said = avcheckctl("ping", "-s", f"clamd:{tmp_path}/clamd")
    assert said.status == 1
    assert "no: said 'xxx" in said.out
