"""What happened is said in one line, and saying it changes nothing."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import report, unix
from avcheck.exits import OK, TEMPFAIL, Defer, Refused
from avcheck.run import Run
from avcheck.state import metrics
from avcheck.verdict import CLEAN, FAILED, INFECTED, Answer, Finding
from tests.support.wire import PATIENCE, settings


@pytest.fixture(autouse=True)
def syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What the syslog daemon got, which listens in the place of the real one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(PATIENCE)
        monkeypatch.setattr(report, "LOG", str(tmp_path / "log"))
        yield lambda: daemon.recv(1 << 16).decode()


def said(finding: Finding, scanner: str = "clamd", seconds: float = 0.0385) -> Answer:
    return Answer(scanner, "", finding, seconds)


def run(*words: bytes) -> Run:
    """What is known of a message that was found infected."""
    made = Run()
    found = made.record
    found.settings = settings(*words)
    found.size = 4096
    found.answers = [said(Finding(INFECTED, (b"Eicar", b"Other"))), said(Finding(CLEAN), "avast")]
    found.answer = found.answers[0]
    found.action = "handle"
    return made


# The line for the caller.


@pytest.mark.parametrize("status", [OK, 10])
def test_a_failure_after_the_message_was_taken_is_no_second_delivery(
    capfd: pytest.CaptureFixture[str], status: int
) -> None:
    taken = Run()
    taken.mark_handed_over(status)
    assert report.failure(taken, Defer("receiving: Cannot allocate memory")) == status
    out, err = capfd.readouterr()
    assert err == ""
    assert out == ("handed on; then: receiving: Cannot allocate memory\n" if status == OK else "")


def test_success_is_one_line_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert report.success(Run(), "clean: \x1b[31m\nforged", OK) == OK
    assert capfd.readouterr() == ("clean: ?[31m forged\n", "")


def test_a_status_of_the_administrator_s_is_success_without_words(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert report.success(Run(), "clean", 99) == 99
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("why", "line"),
    [
        (Defer("no\r\nway", "4.4.1"), "4.4.1 avcheck: no  way\n"),
        (Refused("too large", ".3.4").for_good(), "5.3.4 avcheck: too large\n"),
    ],
)
def test_any_other_end_is_one_line_that_begins_with_its_code(
    capfd: pytest.CaptureFixture[str], why: Defer, line: str
) -> None:
    assert report.failure(Run(), why) == why.status
    assert capfd.readouterr() == ("", line)


def test_output_that_nobody_takes_changes_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(fd: int, data: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(unix, "write", write)
    assert report.success(Run(), "clean", OK) == OK
    assert report.failure(Run(), Defer("x")) == TEMPFAIL


def test_a_full_pipe_that_nobody_reads_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    monkeypatch.setattr(report, "_OUT", writing)
    monkeypatch.setattr(report, "READER_MAX", 0.01)
    assert report.success(Run(), "clean", OK) == OK
    assert os.read(reading, 4096) == b"x" * 4096  # so that there is room for one line
    assert report.success(Run(), "clean " + "y" * 9000, OK) == OK
    os.close(reading)
    os.close(writing)


# The steps.


def test_steps_come_after_the_line_for_the_caller(capfd: pytest.CaptureFixture[str]) -> None:
    found = run(b"-v")
    report.step(found, "first\n")
    report.step(found, "second")
    assert capfd.readouterr() == ("", "")
    report.failure(found, Defer("no"))
    first, *steps = capfd.readouterr().err.splitlines()
    assert first == "4.3.0 avcheck: no"
    assert [re.sub(r" +[\d.]+ ms ", " TIME ", step) for step in steps] == [
        "avcheck: TIME  first",
        "avcheck: TIME  second",
    ]


def test_a_person_sees_the_steps_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "isatty", lambda fd: fd == 2)
    found = run(b"-v")
    report.step(found, "first")
    assert capfd.readouterr().err.endswith("first\n")
    report.success(found, "clean", OK)
    assert capfd.readouterr().err == ""


def test_without_v_there_are_no_steps(capfd: pytest.CaptureFixture[str]) -> None:
    for found in (run(), Run()):
        report.step(found, "first")
        report.failure(found, Defer("no"))
    assert "first" not in capfd.readouterr().err


# The log.


def test_the_log_has_the_facts(syslog: Callable[[], str]) -> None:
    report.success(run(b"--queue-id=4XYZ", b"--", b"a@b"), "infected: Eicar; kept", OK)
    match = re.fullmatch(
        r"<21>\w{3} [ \d]\d [\d:]{8} avcheck\[(\d+)\]: 4XYZ: from=<sender@example\.org>, to=<a@b>,"
        r" nrcpt=2, size=4096, clamd=infected/0\.0[34]\ds, avast=clean/0\.0[34]\ds,"
        r" verdict=infected, virus=<Eicar, Other>, action=handle, delay=[\d.]+,"
        r" status=0 \(infected: Eicar; kept\)",
        syslog(),
    )
    assert match
    assert match[1] == str(os.getpid())


def test_what_went_wrong_before_there_was_a_message_is_logged_too(
    syslog: Callable[[], str],
) -> None:
    report.failure(Run(), Defer("-f is required", "4.3.5"))
    line = syslog()
    assert line.startswith("<20>")
    assert re.search(
        r"\]: NOQUEUE: action=defer, delay=[\d.]+, status=75 \(4\.3\.5 -f is required\)$", line
    )


@pytest.mark.parametrize(
    ("action", "priority"), [("deliver", 22), ("", 22), ("handle", 21), ("discard", 21)]
)
def test_good_mail_is_less_of_a_notice(
    syslog: Callable[[], str], action: str, priority: int
) -> None:
    found = run()
    found.record.action = action
    report.success(found, "x", OK)
    assert syslog().startswith(f"<{priority}>")


def test_what_was_meant_to_be_done_and_was_not_is_logged_as_deferred(
    syslog: Callable[[], str],
) -> None:
    report.failure(run(), Defer("the handler is missing"))
    line = syslog()
    assert "action=defer" in line
    assert "status=75 (4.3.0 the handler is missing)" in line


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_nobody_s_words_forge_a_line_or_a_key(sender: bytes, recipient: bytes, name: bytes) -> None:
    found = run().record
    assert found.settings is not None
    found.settings.sender, found.settings.recipients = sender, (recipient,)
    found.answer = said(Finding(INFECTED, (name,)))
    line = report.line_of(found, "x", 0)
    assert line.isprintable()
    assert line.isascii()
    plain = re.sub(r"<[^<>]*>", "<>", line)
    assert re.match(r"NOQUEUE: from=<>, to=<>, size=4096, clamd=\S+, avast=\S+,", plain)


def test_a_log_line_has_an_end(syslog: Callable[[], str]) -> None:
    found = run()
    found.record.answers = [said(Finding(FAILED), f"scanner{number}") for number in range(200)]
    report.success(found, "x", OK)
    assert len(syslog()) <= 2000


def test_a_syslog_daemon_that_does_not_read_is_waited_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(str(tmp_path / "busy"))
        monkeypatch.setattr(report, "LOG", str(tmp_path / "busy"))
        monkeypatch.setattr(report, "LOG_MAX", 0.01)
        with pytest.raises(TimeoutError):
            for _ in range(10_000):
                report.log("x", 22)
        assert report.success(Run(), "clean", OK) == OK


def test_without_a_syslog_daemon_nothing_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOG", "/nonesuch/log")
    assert report.success(Run(), "clean", OK) == OK
    assert report.failure(Run(), Defer("x")) == TEMPFAIL


# The counters.


Counted = list[tuple[bytes, str, str, int]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found: Counted = []

    def add(file: bytes, verdict: str, action: str, answers: list[Answer]) -> None:
        found.append((file, verdict, action, len(answers)))

    monkeypatch.setattr(metrics, "add", add)
    return found


def test_a_message_is_counted_where_that_is_asked_for(counted: Counted) -> None:
    report.success(run(), "x", OK)
    assert counted == []
    report.success(run(b"--metrics=/m"), "x", OK)
    report.failure(run(b"--metrics=/m"), Defer("x"))
    assert counted == [(b"/m", "infected", "handle", 2), (b"/m", "infected", "defer", 2)]


def test_a_message_that_was_not_looked_at_has_no_verdict(counted: Counted) -> None:
    found = Run()
    found.record.settings = settings(b"--metrics=/m")
    report.failure(found, Defer("held back"))
    assert counted == []
    found.record.size = 0
    report.failure(found, Defer("stopped"))
    assert counted == [(b"/m", "none", "defer", 0)]


def test_counting_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(metrics, "add", add)
    assert report.success(run(b"--metrics=/m"), "x", OK) == OK
