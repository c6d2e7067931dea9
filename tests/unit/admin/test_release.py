"""avcheckctl quarantine release: to whom it was for, unchanged, and once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from avcheck.admin import account, quarantine_records, quarantine_store
from avcheck.admin.commands import release
from tests.support.environment import SCRIPT as GUARD
from tests.support.fakes import FakeSmtp
from tests.support.kept import MAIL, RECIPIENTS, SENDER, ctl, keep, log
from tests.support.letters import letter
from tests.support.program import STOP, Program


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "quarantine"


def test_a_release_goes_to_the_original_recipients_unchanged(place: Path) -> None:
    name = keep(place)
    smtp = FakeSmtp()
    with smtp:
        said = ctl(place, "release", name, "-S", smtp.where)
    assert said.status == 0
    (mail,) = smtp.messages
    assert mail.sender.startswith(f"<{SENDER}>".encode())
    assert [each.decode() for each in mail.recipients] == RECIPIENTS
    assert mail.data.replace(b"\r\n", b"\n") == MAIL
    begun, done = log(place)
    assert begun["what"] == "release begun"
    assert done["what"] == "released"
    assert done["by"] == account.who()
    assert done["to"] == RECIPIENTS
    assert "released by" in ctl(place, "list").out
    assert ctl(place, "list", "--held").out == ""
    assert "released to bert@example.net" in ctl(place, "show", name).out


def test_a_release_is_done_once(place: Path) -> None:
    name = keep(place)
    smtp = FakeSmtp()
    with smtp:
        assert ctl(place, "release", name, "-S", smtp.where).status == 0
        said = ctl(place, "release", name, "-S", smtp.where)
        assert said.status == 2
        assert "is not sent again" in said.err
        assert "--again" in said.err
        assert len(smtp.messages) == 1
        # By the way of the last one, as nothing else is said.
        assert ctl(place, "release", name, "--again").status == 0
        assert ctl(place, "release", name, "--to", "eve@example.org").status == 0
        assert ctl(place, "release", name, "--to", "eve@example.org").status == 2
        assert ctl(place, "release", name).status == 2
    assert len(smtp.messages) == 3
    assert [each.decode() for each in smtp.messages[2].recipients] == ["eve@example.org"]


def test_a_release_by_a_program(place: Path, tmp_path: Path) -> None:
    name = keep(place, recipients=["-oX@example.net"])
    program = Program(tmp_path / "sendmail")
    said = ctl(place, "release", name, "-S", f"{program.path} -i", "-f", "")
    assert said.status == 0
    assert program.argv[1:] == [b"-i", b"-f", b"", b"--", b"-oX@example.net"]
    assert program.stdin == MAIL


def test_the_sidecar_says_how(place: Path, tmp_path: Path) -> None:
    program = Program(tmp_path / "sendmail")
    name = keep(place, sendmail=f"{program.path} -i")
    assert ctl(place, "release", name).status == 0
    assert program.argv[1:] == [b"-i", b"-f", SENDER.encode(), b"--", *map(os.fsencode, RECIPIENTS)]


def test_the_sidecar_names_avcheck_for_a_server(place: Path) -> None:
    about = json.loads((place / keep(place, sendmail=":10026") / "about.json").read_text())
    assert about["sendmail"] == "/bin/avcheck -c -S 127.0.0.1:10026"


@pytest.mark.parametrize("guarded", [False, True])
def test_the_avcheck_that_the_sidecar_names_is_run(
    place: Path, tmp_path: Path, command: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    guard = tmp_path / "avcheck-guard"
    shutil.copy(GUARD, guard)
    if guarded:
        monkeypatch.setenv("AVCHECK_GUARD", str(guard))
    smtp = FakeSmtp()
    with smtp:
        name = keep(place, sendmail=smtp.where, called=command)
        words = json.loads((place / name / "about.json").read_text())["sendmail"]
        assert words == f"{guard} " * guarded + f"{command} -c -S {smtp.where}"
        assert ctl(place, "release", name).status == 0
    (message,) = smtp.messages
    assert [each.decode() for each in message.recipients] == RECIPIENTS


def test_odd_addresses_are_sent_as_the_bytes_they_were(place: Path) -> None:
    bytes_ = b"b\xe4r\xc3\xa4@example.net"
    name = keep(place, recipients=[os.fsdecode(bytes_)])
    assert release.text(entry_of(place, name).recipients[0]) == bytes_


def entry_of(place: Path, name: str) -> quarantine_records.Entry:
    with quarantine_store.opened(str(place)) as opened:
        return opened.one(name)


def test_how_to_release_has_to_be_known(place: Path) -> None:
    said = ctl(place, "release", keep(place))
    assert said.status == 2
    assert "give -S" in said.err


def test_to_whom_has_to_be_known(place: Path) -> None:
    name = keep(place)
    (place / name / "about.json").unlink()
    said = ctl(place, "release", name, "-S", ":9")
    assert said.status == 2
    assert "--to" in said.err


def test_a_release_that_fails_can_be_tried_again(place: Path) -> None:
    name = keep(place)
    said = ctl(place, "release", name, "-S", "unix:/nowhere")
    assert said.status == 2
    assert "No such file" in said.err
    assert log(place)[-1]["what"] == "not released"
    smtp = FakeSmtp()
    with smtp:
        assert ctl(place, "release", name, "-S", smtp.where).status == 0
        assert len(smtp.messages) == 1


def test_a_release_that_may_have_been_done_is_not_done_again(place: Path, tmp_path: Path) -> None:
    name = keep(place)
    program = Program(tmp_path / "sendmail", "kill -KILL $$")
    said = ctl(place, "release", name, "-S", str(program.path))
    assert said.status == 2
    assert "possible duplicate" in said.err
    said = ctl(place, "release", name, "-S", str(program.path))
    assert said.status == 2
    assert "not sent again" in said.err
    assert program.calls == 1


def test_a_release_that_was_interrupted_is_not_done_again(place: Path) -> None:
    name = keep(place)
    with quarantine_store.opened(str(place), change=True) as opened:
        opened.note(
            quarantine_records.Act(
                "2026", quarantine_records.BEGUN, name, "anna", tuple(RECIPIENTS)
            )
        )
    said = ctl(place, "release", name, "-S", ":9")
    assert said.status == 2
    assert "anna began to release it" in said.err
    assert "--again" in said.err


def test_one_of_two_is_1(place: Path, tmp_path: Path) -> None:
    program = Program(tmp_path / "sendmail")
    said = ctl(place, "release", keep(place), "nixda", "-S", str(program.path))
    assert said.status == 1
    assert program.calls == 1


def test_a_second_administrator_has_to_wait(place: Path, tmp_path: Path) -> None:
    name = keep(place)
    program = Program(tmp_path / "sendmail", STOP)
    words = ["quarantine", "release", "--directory", str(place), name, "-S", str(program.path)]
    code = "import sys; from avcheck.admin import main; main()"
    first = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE)
    try:
        program.arrived()
        said = ctl(place, "release", name, "-S", str(program.path))
        assert said.status == 2
        assert "another avcheckctl" in said.err
        assert ctl(place, "delete", name, "--yes").status == 2
        assert ctl(place, "list").status == 0
    finally:
        program.release()
        first.communicate()
    assert first.returncode == 0
    assert program.calls == 1


def test_signals_are_ours_again_after_a_release(place: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    name = keep(place)
    ctl(place, "release", name, "-S", str(Program(tmp_path / "sendmail").path))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_root_releases_as_the_owner_of_the_quarantine() -> None:
    with tempfile.TemporaryDirectory(prefix="avcheck-test-", dir="/var/tmp") as name:
        base = Path(name)
        place = base / "spool" / "quarantine"
        place.parent.mkdir(mode=0o711)
        entry = keep(place)
        base.chmod(0o755)
        for path in (base / "spool", *(base / "spool").rglob("*")):
            os.chown(path, 65534, 65534)
        out = base / "out"
        out.touch()
        out.chmod(0o666)
        program = base / "sendmail"
        grep = f"grep -E '^(Uid|Gid|Groups)' /proc/$$/status > {out}"
        program.write_text(f"#!/bin/sh\n{grep}\ncat > /dev/null\n")
        program.chmod(0o755)
        said = ctl(place, "release", entry, "-S", str(program))
        assert said.status == 0, said.err
        assert (place / ".log").stat().st_uid == 65534
        uid, gid, groups = out.read_text().splitlines()
        # Real, effective, saved, file system: there is no way back to root.
        assert uid.split() == ["Uid:", *["65534"] * 4]
        assert gid.split()[1:] == groups.split()[1:] * 4


def test_a_letter_with_crlf_keeps_it(place: Path) -> None:
    message = letter("text\n")
    name = keep(place, message)
    smtp = FakeSmtp()
    with smtp:
        ctl(place, "release", name, "-S", smtp.where)
    assert smtp.messages[0].data == message
