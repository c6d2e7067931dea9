"""avcheckctl pause and resume."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from avcheck.admin import known_answer, locks
from avcheck.admin import pausing as ours
from avcheck.admin.commands import pause
from avcheck.admin.output import Trouble
from avcheck.exits import Defer
from avcheck.state import hold
from avcheck.state.waitfile import Note
from avcheck.verdict import Answer
from tests.support.admin import KnowingClamd, avcheckctl
from tests.support.mta import until
from tests.unit.admin.test_ping import HungClamd

EARLY = "2000-01-01T00:00:00Z"
LATE = "2999-01-01T00:00:00Z"


def deferred(file: Path) -> str:
    with pytest.raises(Defer) as why:
        hold.refuse_while_paused(bytes(file))
    return why.value.text


def test_pause_holds_back_and_resume_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "wait"
    said = avcheckctl("pause", "-w", file, "--reason", "a new disk", "--for", "10m")
    assert said.status == 0
    assert f"avcheckctl resume -w {file}" in said.out
    assert "a new disk, until 2" in deferred(file)
    assert file.stat().st_mode & 0o777 == 0o644
    said = avcheckctl("resume", "-w", file)
    assert said.status == 0
    assert said.out.splitlines() == [
        "Mail is checked again.  Attempts held back meanwhile: 1",
        "The mail system tries again by itself; Postfix at once after: postqueue -f",
    ]
    hold.refuse_while_paused(bytes(file))


def test_resume_without_a_pause_is_no_error(tmp_path: Path) -> None:
    said = avcheckctl("resume", "-w", tmp_path / "wait")
    assert (said.status, said.out) == (0, "Mail was not held back.\n")


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_resume_ends_a_pause_that_somebody_else_began(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "wait"
    if kind == "file":
        file.touch()
    else:
        file.symlink_to("nowhere")
    said = avcheckctl("resume", "-w", file)
    assert said.status == 0
    assert "not counted" in said.out
    assert not os.path.lexists(file)


def test_resume_says_what_it_cannot_remove(tmp_path: Path) -> None:
    (tmp_path / "wait").mkdir()
    said = avcheckctl("resume", "-w", tmp_path / "wait")
    assert said.status == 2
    assert "error:" in said.err


def test_a_second_pause_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "wait"
    avcheckctl("pause", "-w", file, "--reason", "first")
    before = file.read_bytes()
    said = avcheckctl("pause", "-w", file, "--reason", "second")
    assert said.status == 2
    assert "already" in said.err
    assert "first" in said.err
    assert file.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["wait", "wait.lock"]


def test_one_administrator_at_a_time(tmp_path: Path) -> None:
    place = ours.Place(bytes(tmp_path / "wait"), b"")
    with ours.alone(place):
        said = avcheckctl("pause", "-w", tmp_path / "wait")
    assert said.status == 2
    assert "another avcheckctl is at work" in said.err
    assert not (tmp_path / "wait").exists()


def test_a_pause_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    said = avcheckctl("pause", "-w", tmp_path / "no" / "wait")
    assert said.status == 2
    assert "No such file" in said.err


def test_pause_waits_until_the_message_in_flight_is_done(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    words = ("pause", "-w", tmp_path / "wait", "-d", tmp_path, "--wait", "--limit")
    said = avcheckctl(*words, "0s")
    assert said.status == 1
    assert f"still in flight (process {os.getpid()})" in said.err
    assert (tmp_path / "wait").exists()
    avcheckctl("resume", "-w", tmp_path / "wait")

    def finish() -> None:
        while not (tmp_path / "wait").exists():
            os.sched_yield()
        os.close(fd)

    message = threading.Thread(target=finish)
    message.start()
    assert avcheckctl(*words, "1m").status == 0
    message.join()


def pause_around(tmp_path: Path, *command: str, limit: str = "1m") -> tuple[int, str, str]:
    said = avcheckctl(
        "pause",
        *("-w", tmp_path / "wait", "-d", tmp_path, "-s", f"clamd:{tmp_path}/clamd"),
        *("--limit", limit, "--", *command),
    )
    return said.status, said.out, said.err


def test_a_command_runs_while_mail_is_held_back(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with KnowingClamd(tmp_path / "clamd") as clamd:
        wait = shlex.quote(str(tmp_path / "wait"))
        status_, out, _ = pause_around(tmp_path, "sh", "-c", f"cat {wait} > {seen}")
    assert status_ == 0
    assert out == "Mail is checked again.  Attempts held back meanwhile: 0\n"
    assert seen.read_text().startswith("until sh -c")
    assert not (tmp_path / "wait").exists()
    assert len(clamd.questions) == 2  # the virus, and the innocent mail


def test_a_command_that_fails_ends_the_pause_with_1(tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        status_, _, err = pause_around(tmp_path, "sh", "-c", "exit 3")
    assert status_ == 1
    assert "sh ended with status 3" in err
    assert not (tmp_path / "wait").exists()


def test_a_command_that_cannot_run_ends_the_pause_with_2(tmp_path: Path) -> None:
    status_, _, err = pause_around(tmp_path, "/nowhere/at/all")
    assert status_ == 2
    assert "No such file" in err
    assert "still held back" not in err
    assert not (tmp_path / "wait").exists()


@pytest.mark.parametrize("how", ["silent", "blind", "eager"])
def test_a_scanner_that_cannot_be_trusted_ends_no_pause(tmp_path: Path, how: str) -> None:
    if how == "silent":
        status_, _, err = pause_around(tmp_path, "true", limit="0s")
    else:
        with KnowingClamd(tmp_path / "clamd", blind=how == "blind", eager=how == "eager"):
            status_, _, err = pause_around(tmp_path, "true", limit="0s")
    assert status_ == 1
    assert "Not to be trusted: clamd" in err
    assert f"still held back.  To end it: avcheckctl resume -w {tmp_path}/wait" in err
    assert (tmp_path / "wait").exists()


def test_a_scanner_that_hangs_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "LEAST", 0.2)
    asked: list[float] = []
    really = known_answer.asked

    def note(*words: Any) -> Answer:
        asked.append(words[3])
        return really(*words)

    monkeypatch.setattr(known_answer, "asked", note)
    with HungClamd(tmp_path / "clamd"):
        status_, _, err = pause_around(tmp_path, "true", limit="0s")
    assert status_ == 1
    assert "no answer in time" in err
    assert asked
    assert 0.1 < max(asked) <= 0.2


def test_a_scanner_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KnowingClamd(tmp_path / "clamd", blind=True) as clamd:

        def open_eyes(seconds: float) -> None:
            clamd.blind = False

        monkeypatch.setattr(pause, "sleep", open_eyes)
        status_, _, _ = pause_around(tmp_path, "true")
    assert status_ == 0


def test_an_interrupted_pause_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(spool: bytes, seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(ours, "drained", interrupt)
    said = avcheckctl("pause", "-w", tmp_path / "wait", "-d", tmp_path, "--wait")
    assert said.status == 1
    assert "still held back" in said.err


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_and_says_that_mail_is_held_back(
    tmp_path: Path, command: Path, number: signal.Signals, obeys: bool
) -> None:
    """SIGHUP is what a lost connection to the terminal is."""
    ends, ended = tmp_path / "pid", tmp_path / "ended"
    trap = f"trap 'echo > {ended}; exit 0' TERM;" if obeys else "trap '' TERM;"
    wrapped = "import sys; from avcheck.admin.commands import pause; pause.GRACE = 0.2\n"
    wrapped += "from avcheck.admin import main; main()"
    words: list[str | Path] = [
        "-w",
        tmp_path / "wait",
        "-d",
        tmp_path,
        "-s",
        f"clamd:{tmp_path}/clamd",
        "--",
    ]
    loop = f"{trap} echo $$ > {ends}.new; mv {ends}.new {ends}; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-c", wrapped, "pause", *words, "sh", "-c", loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until(ends.exists)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"To end it: avcheckctl resume -w {tmp_path}/wait".encode() in said
    assert (tmp_path / "wait").exists()
    assert ended.exists() == obeys
    assert (b"is killed" in said) != obeys
    assert not Path("/proc", ends.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "-w or --waitfile is needed"),
        (["-w", "/x/wait", "--wait"], "-d or --spool is needed"),
        (["-w", "/x/wait", "-d", "/x", "--", "true"], "-s or --scanner is needed"),
        (["-w", "/x/wait", "--for", "soon"], "write 90s"),
    ],
)
def test_a_pause_with_wrong_usage_does_nothing(words: list[str], text: str) -> None:
    said = avcheckctl("pause", *words)
    assert said.status == 2
    assert text in said.err


def test_all_places_are_held_back_or_none(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("taken\n")
    places = [ours.Place(bytes(tmp_path / name), b"") for name in ("one", "two")]
    ours.write(places[0], Note("x"))
    with pytest.raises(Trouble, match="already"):
        ours.write(places[1], Note("x"))
    assert ours.held_back(places[0]) == 0
    assert ours.held_back(places[1]) == -1


def test_only_holders_of_that_lock_are_found() -> None:
    text = (
        "1: FLOCK  ADVISORY  READ 11 fe:00:5 0 EOF\n"
        "1: -> FLOCK  ADVISORY  READ 12 fe:00:5 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 13 fe:00:5 0 EOF\n"
        "3: POSIX  ADVISORY  READ 14 fe:00:5 0 EOF\n"
        "4: FLOCK  ADVISORY  READ 15 fe:00:55 0 EOF\n"
        "5: FLOCK\n"
    )
    assert locks.parse(text, 5, "READ") == [11]
    assert locks.parse(text, 5, "WRITE") == [13]
