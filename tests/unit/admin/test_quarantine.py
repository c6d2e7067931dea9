"""avcheckctl quarantine, on entries as both of their makers make them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avcheck import quarantine, spool
from avcheck.admin import account, listing, quarantine_records, quarantine_store
from avcheck.admin.commands import release
from avcheck.admin.commands.quarantine import chosen
from avcheck.directory import Directory
from avcheck.options import reading
from avcheck.run import Run
from avcheck.verdict import INFECTED, Answer, Finding
from tests.support.admin import Said, avcheckctl
from tests.support.environment import SCRIPT as GUARD
from tests.support.fakes import STOP, FakeSmtp, Program
from tests.support.letters import letter
from tests.support.tree import ROOT

MAIL = b"Subject: hello\n folded\nX-Odd: \x1b[2J\n\n.\n..dots\nbody\n"
SENDER = "anna@example.com"
RECIPIENTS = ["bert@example.net", "carl@example.net"]

SCRIPT = ROOT / "scripts" / "infected.sh"


def load(path: bytes) -> bytes:
    raise AssertionError("there is no configuration file")


# Each message has its own, or the second would be found to be there already.
queue_ids = (f"4QUEUE{number}" for number in itertools.count())


def keep(
    place: Path,
    message: bytes = MAIL,
    sender: str = SENDER,
    recipients: list[str] = RECIPIENTS,
    sendmail: str = "",
    called: Path = Path("/bin/avcheck"),
) -> str:
    """Have avcheck put a message into the quarantine; the name of the entry.

    Without sendmail the sidecar does not say how to release it.
    """
    words = ["-f", sender, "-s", "clamd", "-d", str(place.parent), "--queue-id", next(queue_ids)]
    words += [*(["-S", sendmail] if sendmail else []), "--"]
    settings = reading.read([os.fsencode(word) for word in (*words, *recipients)], load)
    finding = Finding(INFECTED, (b"Eicar",), b"stream: Eicar FOUND")
    answer = Answer("clamd", "", finding)
    with (
        Directory(bytes(place.parent)) as directory,
        spool.Message(directory, b"", False) as mail,
    ):
        mail.add(message)
        mail.complete()
        name = quarantine.store(mail, answer, settings, Run(bytes(called)), bytes(place))
    if not sendmail:
        about = place / name / "about.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "sendmail": ""}))
    return name


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "quarantine"


def ctl(place: Path, what: str, *words: str | os.PathLike[str]) -> Said:
    return avcheckctl("quarantine", what, "--directory", place, *words)


def log(place: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (place / ".log").read_text().splitlines()]


# list and show.


def test_an_entry_of_avcheck_is_listed(place: Path) -> None:
    name = keep(place)
    said = ctl(place, "list")
    header, row = said.out.splitlines()
    assert header.split() == list(listing.HEADER)
    for word in (
        name,
        "infected",
        "Eicar",
        f"<{SENDER}>",
        "<bert@example.net> and 1 more",
        "hello",
    ):
        assert word in row
    (facts,) = ctl(place, "list", "--json").facts
    assert facts["recipients"] == RECIPIENTS
    assert facts["queue_id"].startswith("4QUEUE")
    assert facts["size"] == len(MAIL)


def test_an_entry_of_the_handler_is_listed(place: Path, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(MAIL)
    subprocess.run(
        ["sh", SCRIPT, message, "stream: Eicar FOUND", "b\xe4d@x", *RECIPIENTS],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "AVCHECK_VERDICT": "infected", "AVCHECK_VIRUS": "Eicar"},
        capture_output=True,
        check=True,
    )
    (facts,) = ctl(place, "list", "--json").facts
    assert (facts["verdict"], facts["virus"]) == ("infected", "Eicar")
    assert facts["recipients"] == RECIPIENTS
    assert facts["wrong"] == ""


def test_the_list_can_be_narrowed(place: Path) -> None:
    first = keep(place)
    second = keep(place, sender="zoe@example.org")

    def names(*words: str) -> list[str]:
        return [each["entry"] for each in ctl(place, "list", "--json", *words).facts]

    assert sorted(names()) == sorted([first, second])
    assert names("--match", "ZOE@") == [second]
    assert names("--verdict", "clean") == []
    assert len(names("--since", "1h")) == 2
    os.rename(place / first, place / "20000101T000000Z-000000000000")
    about = place / "20000101T000000Z-000000000000" / "about.json"
    about.write_text(about.read_text().replace('"time": "2', '"time": "1'))
    assert names("--since", "1h") == [second]


def test_an_entry_whose_sidecar_is_broken_is_listed_all_the_same(place: Path) -> None:
    for content in ("{", "[]", "null", '{"time": "x"}', '{"time": 7, "recipients": []}'):
        name = keep(place)
        (place / name / "about.json").write_text(content)
    (place / "empty").mkdir()
    (place / "file").touch()
    said = ctl(place, "list")
    assert said.status == 0
    assert said.out.count("about.json: ") == 5
    assert ctl(place, "show", name).status == 0


def test_show_prints_nothing_that_moves_a_terminal(place: Path) -> None:
    name = keep(place, sender="\x1b[31m@x", recipients=["ÿ\x7f@y"])
    said = ctl(place, "show", name, "--body")
    assert said.status == 0
    assert said.out.isascii()
    assert all(letter.isprintable() or letter == "\n" for letter in said.out)
    for text in ("  | Subject: hello", "  |     folded", "X-Odd: ?[2J", "  | ..dots", "infected"):
        assert text in said.out
    assert "..dots" not in ctl(place, "show", name).out
    assert ctl(place, "show", name, "--json").facts["entry"] == name


def test_show_stops_after_some_lines(place: Path) -> None:
    name = keep(place, b"X: y\n" * 500)
    assert ctl(place, "show", name).out.endswith("  | ...\n")


def test_the_message_itself_goes_to_a_file_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = keep(place)
    assert ctl(place, "show", name, "--raw").out.encode() == MAIL
    monkeypatch.setattr("avcheck.admin.commands.quarantine.on_terminal", lambda stream: True)
    said = ctl(place, "show", name, "--raw")
    assert said.status == 2
    assert "> FILE" in said.err


def test_a_beginning_of_a_name_will_do_if_it_is_the_only_one(place: Path) -> None:
    name = keep(place)
    keep(place)
    assert ctl(place, "show", name[:-1]).status == 0
    assert "2 entries begin so" in ctl(place, "show", "2").err
    for none in ("", "x", "../x", ".new"):
        said = ctl(place, "show", none)
        assert said.status == 2
        assert "no such entry" in said.err


def test_a_directory_that_is_not_safe_is_not_used(place: Path) -> None:
    place.mkdir()
    place.chmod(0o755)
    said = ctl(place, "list")
    assert said.status == 2
    assert "chmod g-w,o=" in said.err


# release.


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


# delete and expire.


def test_delete_asks_or_is_told_not_to(place: Path) -> None:
    name = keep(place)
    said = ctl(place, "delete", name)
    assert said.status == 2
    assert "--yes" in said.err
    assert (place / name).exists()
    assert ctl(place, "delete", name, "--yes").status == 0
    assert not (place / name).exists()
    assert list((place / ".new").iterdir()) == []
    assert log(place)[-1]["what"] == "deleted"
    assert "no such entry" in ctl(place, "delete", name, "--yes").err


def test_the_log_shows_who_did_what(place: Path) -> None:
    name = keep(place)
    ctl(place, "delete", name, "--yes")
    said = ctl(place, "log")
    assert name in said.out
    assert account.who() in said.out
    assert ctl(place, "log", "--json").facts[0]["what"] == "deleted"


def test_a_log_with_nonsense_in_it_is_read(place: Path) -> None:
    keep(place)
    (place / ".log").write_bytes(b'{"x": 1}\n\xff\n[]\n{"time": "t"}\n7\n')
    assert ctl(place, "log", "--json").facts == []
    assert ctl(place, "list").status == 0


def test_expire_by_age_and_by_size(place: Path) -> None:
    name = keep(place)
    assert ctl(place, "expire").status == 2
    assert "0 entries" in ctl(place, "expire", "--older", "1h").err
    said = ctl(place, "expire", "--keep", "10", "--dry-run")
    assert f"{name} would be expired" in said.out
    assert (place / name).exists()
    assert ctl(place, "expire", "--keep", "10").status == 0
    assert not (place / name).exists()
    assert log(place)[-1]["what"] == "expired"


def test_the_oldest_are_chosen() -> None:
    now = datetime.now(UTC)
    found = [
        quarantine_records.Entry(str(days), now - timedelta(days=days), 100) for days in (9, 5, 1)
    ]

    def names(older: float | None, keep: int | None) -> list[str]:
        return [each.name for each in chosen(found, older, keep)]

    assert names(7 * 86400, None) == ["9"]
    assert names(None, 250) == ["9"]
    assert names(None, 100) == ["9", "5"]
    assert names(2 * 86400, 300) == ["9", "5"]
    assert names(None, 0) == ["9", "5", "1"]
    assert names(99 * 86400, 300) == []


def test_what_cannot_be_removed_is_said(place: Path) -> None:
    name = keep(place)
    (place / name / "directory").mkdir()
    said = ctl(place, "delete", name, "--yes")
    assert said.status == 2
    assert "cannot be removed" in said.err


def test_a_letter_with_crlf_keeps_it(place: Path) -> None:
    message = letter("text\n")
    name = keep(place, message)
    smtp = FakeSmtp()
    with smtp:
        ctl(place, "release", name, "-S", smtp.where)
    assert smtp.messages[0].data == message
