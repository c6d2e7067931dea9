"""Signals at every stage: they keep the message until it is handed on, then they are ignored.

The fakes tell when a stage is reached; a signal is sent then and only then.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

import pytest

from tests.support.fakes import HANG_UP
from tests.support.mta import MAIL, TEMPFAIL, Running, Site, is_connecting, until
from tests.support.program import STOP, STOP_WITH_CHILD

FOUND = b"Eicar-Test-Signature FOUND"
WIRE = MAIL.replace(b"\n", b"\r\n")
LARGE = MAIL + b"x" * 20_000_000

each_signal = pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT],
    ids=lambda number: number.name,
)


def reading(site: Site, *options: str) -> Running:
    """More than a pipe holds is written, so some of it has been read; and the end does not come."""
    running = site.start(site.words(*options))
    os.write(running.stdin, b"x" * 200_000)
    return running


def connecting(site: Site) -> Running:
    """The scanner's backlog is full."""
    scanner = site.clamd(listens=False)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(scanner.where)
        running = site.start(site.words()).feed()
        until(lambda: is_connecting(running.process.pid))
    return running


def asked(*kinds: str) -> Callable[[Site], Running]:
    def stage(site: Site) -> Running:
        scanners = [site.clamd(hold="asked") for _ in kinds]
        places = [f"{kind}:{each.where}" for kind, each in zip(kinds, scanners, strict=True)]
        running = site.start(site.words(scanners=places)).feed()
        for each in scanners:
            each.arrived()
        return running

    return stage


def sending(site: Site) -> Running:
    """The scanner takes nothing of what is sent."""
    scanner = site.clamd(tcp=True, hold="connected")
    running = site.start(site.words()).feed(LARGE)
    scanner.arrived()
    return running


def smtp(step: str, *options: str) -> Callable[[Site], Running]:
    def stage(site: Site) -> Running:
        answers = {"EHLO": b"500 no\r\n"} if step == "HELO" else {}
        server = site.smtp(hold=step, answers=answers)
        recipients = ["a@example.net", "b@example.net"]
        running = site.start(site.words(*options, recipients=recipients))
        running.feed(LARGE if step == "body" and not options else MAIL)
        server.arrived()
        return running

    return stage


def injecting(site: Site) -> Running:
    """With -c what is read goes straight to the server."""
    server = site.smtp(hold="body")
    running = reading(site, "-c")
    server.arrived()
    return running


STAGES = {
    "reading": reading,
    "reading, -c": injecting,
    "connecting": connecting,
    "sending": sending,
    "asked by descriptor": asked("clamd"),
    "asked by stream": asked("clamd+stream"),
    "asked by path": asked("clamd+path"),
    "three asked": asked("clamd", "clamd+stream", "clamd+path"),
    **{
        step: smtp(step)
        for step in ("greeting", "EHLO", "HELO", "MAIL", "RCPT 1", "RCPT 2", "DATA", "body")
    },
    "MAIL, -c": smtp("MAIL", "-c"),
}


@each_signal
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_before_the_message_is_handed_on_a_signal_keeps_it(
    site: Site, stage: Callable[[Site], Running], number: signal.Signals
) -> None:
    running = stage(site)
    running.signal(number)
    ended = running.end()
    site.assert_kept(ended, "4.3.2", f"stopped by signal {int(number)}")


def test_a_signal_is_no_reason_to_try_the_next_place(site: Site) -> None:
    """Nor to take the scanner for a failed one."""
    second = site.scanner
    first = site.clamd(listens=False)
    with socket.socket(socket.AF_UNIX) as only:
        only.connect(first.where)
        running = site.start(site.words(scanners=[f"clamd:{first.where},{second.where}"])).feed()
        until(lambda: is_connecting(running.process.pid))
        running.signal(signal.SIGTERM)
        site.assert_kept(running.end(), "4.3.2", "stopped by signal")
    assert second.questions == []


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_several_signals_at_once_keep_it_as_well(
    site: Site, stage: Callable[[Site], Running]
) -> None:
    running = stage(site)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        running.signal(number)
    site.assert_kept(running.end(), "4.3.2", "stopped by signal")


@each_signal
@pytest.mark.parametrize("option", ["--ignore-signal", "--block-signal"])
def test_a_signal_that_the_caller_ignored_or_blocked_keeps_it_as_well(
    site: Site, option: str, number: signal.Signals
) -> None:
    """What runs in the background of a shell, and what nohup(1) runs, has some ignored."""
    scanner = site.clamd(hold="asked")
    running = site.start(["/usr/bin/env", option, *site.words()]).feed()
    scanner.arrived()
    running.signal(number)
    site.assert_kept(running.end(), "4.3.2", f"stopped by signal {int(number)}")


# A signal that was blocked when it came stays until somebody lets it through: avcheck.
PENDING = """
import os, signal, sys
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
os.kill(os.getpid(), number)
os.execv(sys.argv[2], sys.argv[2:])
"""


@each_signal
def test_a_signal_that_was_there_before_avcheck_is_no_bug(
    site: Site, number: signal.Signals
) -> None:
    before = [sys.executable, "-I", "-c", PENDING, str(int(number))]
    running = site.start([*before, *site.words()])
    site.assert_kept(running.wait(), "4.3.2", f"stopped by signal {int(number)}")


# All but those where a scanner opens the file by its name.
NAMELESS = STAGES.copy()
del NAMELESS["asked by path"], NAMELESS["three asked"]


@pytest.mark.parametrize("stage", NAMELESS.values(), ids=NAMELESS)
def test_sigkill_leaves_nothing(site: Site, stage: Callable[[Site], Running]) -> None:
    running = stage(site)
    running.signal(signal.SIGKILL)
    assert running.end().status == -signal.SIGKILL
    assert site.left == []
    assert site.delivered == []


ANSWERS = {
    "yes": (b"250 2.0.0 taken\r\n", 0, b"clean: "),
    "no": (b"451 4.3.9 later\r\n", TEMPFAIL, b"4.3.9 avcheck: "),
    "hung up": (HANG_UP, TEMPFAIL, b"4."),
}


@each_signal
@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
@pytest.mark.parametrize(("answer", "status", "output"), ANSWERS.values(), ids=ANSWERS)
def test_after_the_final_dot_only_the_answer_counts(
    site: Site,
    client: list[str],
    answer: bytes,
    status: int,
    output: bytes,
    number: signal.Signals,
) -> None:
    server = site.smtp(hold="dot", answers={"dot": answer})
    running = site.start(site.words(*client)).feed()
    server.arrived()
    running.signal(number)
    running.signal(number)
    server.release()
    ended = running.end()
    assert ended.status == status, ended
    if client and not status:
        output = b"injected: "
    assert ended.output.startswith(output)
    assert (b"possible duplicate" in ended.output) == (answer == HANG_UP)
    assert site.delivered == ([WIRE] if not status else [])
    assert site.left == []


@each_signal
@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
@pytest.mark.parametrize("status", [0, 1])
def test_while_sendmail_runs_only_its_status_counts(
    site: Site, client: list[str], status: int, number: signal.Signals
) -> None:
    sendmail = site.sendmail(f"{STOP} exit {status}")
    running = site.start(site.words(*client)).feed()
    sendmail.arrived()
    running.signal(number)
    running.signal(number)
    sendmail.release()
    ended = running.end()
    assert ended.status == (TEMPFAIL if status else 0), ended
    assert sendmail.stdin == MAIL
    assert site.left == []


@each_signal
@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP INT QUIT"], ids=["obedient", "stubborn"])
def test_while_the_handler_runs_a_signal_stops_it_too(
    site: Site, trap: str, number: signal.Signals
) -> None:
    site.clamd(says=FOUND)
    handler = site.handler(f"{trap}{STOP_WITH_CHILD}")
    running = site.start(site.words()).feed()
    handler.arrived()
    assert len(site.left) == 1
    running.signal(number)
    site.assert_kept(running.end(), "4.3.2", f"stopped by signal {int(number)}")
    handler.ended()


def test_after_the_handler_has_taken_it_a_signal_changes_nothing(site: Site) -> None:
    """With 75 the handler would get it once more.  It is stopped where it reports: nobody reads."""
    site.clamd(says=FOUND)
    handler = site.handler(STOP)
    output, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(theirs, b"x")
    os.set_blocking(theirs, True)
    running = site.start(site.words(), stdout=theirs).feed()
    handler.arrived()
    handler.release()
    handler.ended()
    until(lambda: running.process.poll() is not None or running.is_in("poll_schedule"))
    running.signal(signal.SIGTERM)
    assert running.end().status == 0
    assert handler.calls == 1
    os.close(output)
    os.close(theirs)


# The clock is a signal as well.


def test_a_message_that_never_ends_is_given_up_at_the_deadline(site: Site) -> None:
    running = site.start(site.words("--deadline", "0.2"))
    os.write(running.stdin, MAIL)
    site.assert_kept(running.wait(), "4.4.7", "--deadline")


def test_the_deadline_does_not_turn_a_yes_into_a_duplicate(site: Site) -> None:
    """What the clock says between the final dot and the answer is for the connection to decide."""
    server = site.smtp(hold="dot")
    running = site.start(site.words("--deadline", "0.5")).feed()
    server.arrived()
    ended = running.wait()
    assert ended.status == TEMPFAIL
    assert b"possible duplicate" in ended.output
    assert b"4.4.7" in ended.output
    assert site.left == []
