"""avcheckctl status: the messages in Postfix's queue that wait because of avcheck."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from avcheck.admin import deferred
from avcheck.admin.commands import status
from avcheck.admin.output import Trouble
from avcheck.admin.services import Service
from avcheck.admin.state import State
from tests.support.admin import KnowingClamd, Said, avcheckctl, postfix_says
from tests.support.tree import ROOT

GUARD = ROOT / "scripts" / "avcheck-guard.sh"


def shown(*words: str | os.PathLike[str]) -> tuple[Said, dict[str, str]]:
    """What a person sees, by the first words of the lines; of several the last."""
    said = avcheckctl("status", *words)
    return said, dict(line.split("  ", 1) for line in said.out.splitlines())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


NOW = 1_700_000_000


def listed(*reasons: str, arrival: int = NOW) -> bytes:
    """A line of postqueue -j."""
    recipients = [{"address": "a@b", "delay_reason": reason} for reason in reasons]
    message = {"queue_name": "deferred", "arrival_time": arrival, "recipients": recipients}
    return json.dumps(message).encode() + b"\n"


def test_those_that_wait_for_our_reason_are_counted() -> None:
    listing = (
        listed("avcheck: clamd: connect: no", arrival=NOW)
        + listed("host mx[192.0.2.1] said: 450 avcheck: no", arrival=NOW - 9)
        + listed("connect to mx: no", "avcheck could not be started (status 1)", arrival=NOW - 5)
        + b'{"arrival_time": 1, "recipients": [{"address": "a@b"}]}\n'
    )
    assert deferred.parse(listing) == deferred.Deferred(2, NOW - 5)
    assert deferred.parse(b"") == deferred.Deferred(0)


START = "temporary failure. Command output: "


@pytest.mark.parametrize(
    "reason",
    [
        # As Postfix 3.7 has noted them.
        START + "/usr/local/libexec/avcheck-guard: 109: /opt/avcheck/bin/python3: Permission"
        " denied 4.3.5 avcheck could not be started (status 126)",
        START + "/bin/sh: 1: not found 4.3.5 avcheck could not be started (status 127)",
        START + "pipe: fatal: pipe_command: execvp /usr/local/libexec/avcheck-guard: No such file"
        " or directory",
        START + "pipe: fatal: pipe_command: execvp /opt/avcheck/bin/avcheck: Permission denied",
        'Command died with status 1: "/opt/avcheck/bin/avcheck". Command output: Traceback',
        'Command died with signal 9: "/usr/local/libexec/avcheck-guard"',
        'Command time limit exceeded: "/usr/local/libexec/avcheck-guard"',
        'Command time limit exceeded: "/opt/avcheck/bin/avcheck-guard.sh"',
        "internal software error. Command output: avcheck: a fault",
    ],
)
def test_a_reason_of_pipe_names_our_command(reason: str) -> None:
    assert deferred.is_ours(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "",
        START + "pipe: fatal: pipe_command: execvp /usr/lib/dovecot/deliver: No such file",
        'Command died with status 1: "/usr/lib/dovecot/deliver"',
        'Command died with status 1: "/opt/my-avcheck"',
        'Command died with status 1: "/opt/avcheckers"',
        'host mx[192.0.2.1] said: 450 Command died with status 1: "/bin/avcheck"',
        "connect to avcheck.example.org[192.0.2.1]:25: Connection refused",
    ],
)
def test_a_reason_that_names_another_is_not_ours(reason: str) -> None:
    assert not deferred.is_ours(reason)


def test_the_guards_words_are_known() -> None:
    lines = [line for line in GUARD.read_text().splitlines() if "echo" in line and "4.3." in line]
    assert len(lines) == 3
    for line in lines:
        assert re.split(r"4\.3\.\d ", line)[1].startswith(deferred.OURS)


@pytest.mark.parametrize("listing", [b"Mail queue is empty\n", b"[]\n", b'{"recipients": [1]}\n'])
def test_another_list_is_not_understood(listing: bytes) -> None:
    with pytest.raises(Trouble, match="not understood"):
        deferred.parse(listing)


@pytest.fixture
def mail_system(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Postfix that says what its files say; the script that is its postqueue."""
    programs = place / "programs"
    programs.mkdir()
    line = "avcheck unix - n n - 10 pipe user=nobody\n argv=/bin/avcheck -f a -w {0}/wait"
    line += " -d {0} -s clamd:{0}/clamd x\n"
    postfix_says(place / "config", line.format(place), {})
    monkeypatch.setattr(deferred, "PLACES", str(programs))
    monkeypatch.setattr(Service, "runs_as", (os.geteuid(), None))
    return programs / "postqueue"


def says(program: Path, listing: bytes, status_: int = 0) -> None:
    program.with_name("list").write_bytes(listing)
    program.write_text(f"#!/bin/sh\ncat {program.parent}/list\nexit {status_}\n")
    program.chmod(0o755)


def test_two_that_wait_are_not_well(place: Path, mail_system: Path, in_cet: None) -> None:
    says(mail_system, listed("avcheck: no") + listed("avcheck: no", arrival=NOW - 3600))
    with KnowingClamd(place / "clamd"):
        said, rows = shown(f"--postfix={place}/config")
        (facts,) = avcheckctl("status", f"--postfix={place}/config", "--json").facts
    assert said.status == 1
    assert (
        rows["Deferred"].strip().startswith("2 messages, the oldest since 2023-11-14 22:13:20 CET")
    )
    assert f"postqueue -c {place}/config -f" in said.err
    assert (facts["deferred"], facts["oldest"]) == (2, "2023-11-14T21:13:20+00:00")


def test_services_of_one_queue_are_told_of_it_once(place: Path, mail_system: Path) -> None:
    says(mail_system, listed("avcheck: no"))
    config = place / "config"
    master = (config / "master.cf").read_text()
    postfix_says(config, master + master.replace("avcheck unix", "second unix"), {})
    with KnowingClamd(place / "clamd"):
        said = avcheckctl("status", f"--postfix={config}")
        facts = avcheckctl("status", f"--postfix={config}", "--json").facts
    assert said.out.count("Service") == 2
    assert said.out.count("1 message") == 1
    assert said.out.splitlines()[-1].startswith("Deferred  1 message")
    assert [each["deferred"] for each in facts] == [1, 1]


def test_none_that_waits_is_well(place: Path, mail_system: Path) -> None:
    says(mail_system, listed("connect to mx: no"))
    with KnowingClamd(place / "clamd"):
        said, rows = shown(f"--postfix={place}/config")
    assert (said.status, said.err) == (0, "")
    assert rows["Deferred"].strip() == "none"


def test_a_queue_that_cannot_be_seen_is_not_well_and_not_ill(
    place: Path, mail_system: Path
) -> None:
    with KnowingClamd(place / "clamd"):
        said, rows = shown(f"--postfix={place}/config")
        assert said.status == 2
        assert (rows["Deferred"].strip(), rows["Not known"].strip()) == (
            "not known",
            "postqueue: not found",
        )
        says(mail_system, b"", 69)
        assert avcheckctl("status", f"--postfix={place}/config", "--json").facts[0]["unknown"]
    assert avcheckctl("status", f"--postfix={place}/config").status == 1


def test_rows_of_an_unknown_author() -> None:
    rows = dict(status.rows(State("x", waitfile="/w", paused=True, held=-1)))
    assert rows["By"] == "unknown"
    assert rows["Held back"] == "not counted"
