"""A sendmail program hands it on: status 0 is the only success."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from avcheck import child, unix
from avcheck.child import Ended
from avcheck.deliver import sendmail
from avcheck.exits import Defer
from avcheck.incoming import Incoming
from avcheck.run import Run
from tests.support.wire import MESSAGE, given, new_run, settings, spooled


class Program:
    """What was run, and how it ended."""

    def __init__(self, wait: int = 0, output: bytes = b"", late: bool = False) -> None:
        self.ended = Ended(wait, output, late)
        self.argv: list[bytes] = []
        self.env: dict[bytes, bytes] = {}
        self.stdin = b""
        self.committed = False

    def hand_over(
        self,
        run: Run,
        status: int,
        argv: Sequence[bytes],
        stdin: int,
        env: Mapping[bytes, bytes],
    ) -> Ended:
        assert status == 0
        self.argv, self.env = list(argv), dict(env)
        self.stdin = b"".join(iter(lambda: os.read(stdin, 4096), b""))
        self.committed = run.committed
        return self.ended


def send(
    program: Program,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    header: bytes = b"",
    run: Run | None = None,
) -> str:
    monkeypatch.setattr(child, "hand_over", program.hand_over)
    how = settings(b"-S", b"/usr/sbin/sendmail -i", b"-S", b"-G")
    with spooled(directory) as message:
        return sendmail.send(message, header, how, run or new_run())


def test_it_gets_the_envelope_as_words_and_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program()
    send(program, tmp_path, monkeypatch)
    assert program.argv == [
        b"/usr/sbin/sendmail",
        b"-i",
        b"-G",
        b"-f",
        b"sender@example.org",
        b"--",
        b"r@example.org",
    ]
    assert program.stdin == MESSAGE
    assert program.env == child.environment()
    send(program, tmp_path, monkeypatch, b"X-AV-Checked: now")
    assert program.stdin == b"X-AV-Checked: now\n" + MESSAGE


def test_success_is_said_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(Program(), tmp_path, monkeypatch) == "/usr/sbin/sendmail"
    said = send(Program(0, b"queued\x1b as 4XYZ\n"), tmp_path, monkeypatch)
    assert said == "/usr/sbin/sendmail queued? as 4XYZ"


@pytest.mark.parametrize("status", [1, 64, 67, 75, 77, 78, 127, 255])
def test_any_other_status_keeps_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    program = Program(status << 8, b"5.1.1 no such user")
    with pytest.raises(Defer) as why:
        send(program, tmp_path, monkeypatch)
    assert why.value.text == f"/usr/sbin/sendmail exited with status {status}: 5.1.1 no such user"
    assert why.value.code == "4.3.0"


@pytest.mark.parametrize("program", [Program(signal.SIGKILL), Program(signal.SIGKILL, late=True)])
def test_one_that_was_killed_may_have_taken_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    with pytest.raises(Defer, match="possible duplicate: /usr/sbin/sendmail"):
        send(program, tmp_path, monkeypatch)


def test_while_it_runs_no_signal_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program()
    send(program, tmp_path, monkeypatch)
    assert program.committed


def test_it_is_not_run_for_half_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, run = Program(), new_run()
    monkeypatch.setattr(unix, "getppid", lambda: -1)
    with pytest.raises(Defer, match="cut short"):
        send(program, tmp_path, monkeypatch, run=run)
    assert program.argv == []
    assert not run.committed


def test_one_that_cannot_be_run_is_a_defer(tmp_path: Path) -> None:
    how = settings(b"-S", b"/nonesuch/sendmail")
    with spooled(tmp_path) as message, pytest.raises(Defer, match="cannot run /nonesuch/sendmail"):
        sendmail.send(message, b"", how, new_run())


def test_standard_input_is_passed_on_by_c(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program()
    monkeypatch.setattr(child, "hand_over", program.hand_over)
    with given(b"as it comes\r\n") as stdin:
        how = settings(b"-S", b"/s")
        sendmail.send(Incoming(stdin), b"", how, new_run())
    assert program.stdin == b"as it comes\r\n"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (b"/usr/sbin/sendmail -G -i", ""),
        (b"/usr/sbin/sendmail -Gi", ""),
        (b"/usr/sbin/sendmail -G", "-i"),
        (b"/usr/sbin/sendmail", "-i"),
        (b"/usr/sbin/sendmail -oi", "-G"),
        (b"/usr/local/bin/hand-on", ""),
    ],
)
def test_what_a_sendmail_program_should_be_told_is_said(words: bytes, missing: str) -> None:
    said = sendmail.advice(words.split())
    assert ("warning: without " + missing in said) if missing else said == ""
