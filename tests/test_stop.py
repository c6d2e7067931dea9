"""What ends a run from outside: signals, the clock, and a caller that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from avcheck import stop
from avcheck.exits import EXPIRED, HELD, Defer, Stopped
from tests.wire import PATIENCE

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    numbers = (*CAUGHT, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", CAUGHT)
def test_a_signal_ends_the_run(number: signal.Signals) -> None:
    stop.catch()
    with pytest.raises(Stopped, match=f"stopped by signal {int(number)}$") as why:
        signal.raise_signal(number)
    assert why.value.code == HELD


def test_the_cleaning_after_a_signal_is_not_disturbed() -> None:
    stop.catch()
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    for number in (*CAUGHT, signal.SIGALRM):
        signal.raise_signal(number)


def test_the_clock_ends_the_run() -> None:
    stop.catch()
    stop.after(0.01)
    with pytest.raises(Stopped, match="--deadline") as why:
        time.sleep(PATIENCE)
    assert why.value.code == EXPIRED


def test_the_clock_strikes_again_for_who_was_not_waiting_yet() -> None:
    stop.after(1000)
    left, again = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 1000
    assert again == 1.0


def test_no_limit_is_no_clock() -> None:
    stop.after(1000)
    stop.after(float("inf"))
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_once_committed_only_the_answer_counts() -> None:
    stop.catch()
    stop.commit()
    for number in (*CAUGHT, signal.SIGALRM):
        signal.raise_signal(number)
    stop.catch()
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)


def test_no_signal_strikes_where_they_are_blocked() -> None:
    stop.catch()
    with stop.signals_blocked():
        signal.raise_signal(signal.SIGTERM)
        assert signal.SIGTERM in signal.sigpending()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert blocked >= {*CAUGHT, signal.SIGALRM}
        with pytest.raises(Stopped):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_what_the_caller_ignored_or_blocked_is_not_inherited() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    stop.catch()
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_caller_that_is_there_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVCHECK_CALLER", raising=False)
    stop.catch()
    stop.unless_called()


def test_a_caller_that_is_gone_may_have_left_half_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AVCHECK_CALLER", raising=False)
    stop.catch()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(Defer, match="cut short"):
        stop.unless_called()


def test_the_guard_says_whose_going_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as caller:
        monkeypatch.setenv("AVCHECK_CALLER", str(caller.pid))
        stop.catch()
        stop.unless_called()
    with pytest.raises(Defer, match="cut short"):
        stop.unless_called()


@pytest.mark.parametrize("why", [PermissionError(1, "Operation not permitted"), None])
def test_a_caller_of_another_user_is_there(
    monkeypatch: pytest.MonkeyPatch, why: OSError | None
) -> None:
    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (4711, 0)
        if why is not None:
            raise why

    monkeypatch.setenv("AVCHECK_CALLER", "4711")
    stop.catch()
    monkeypatch.setattr(os, "kill", kill)
    stop.unless_called()


@pytest.mark.parametrize("words", ["", "x", "-1", "1 2", "\u0661", "9" * 30, "0"])
def test_a_caller_that_is_no_number_is_nobody(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("AVCHECK_CALLER", words)
    stop.catch()
    stop.unless_called()


def test_a_group_that_is_gone_cannot_be_killed_and_need_not_be() -> None:
    with subprocess.Popen(["/bin/true"], start_new_session=True) as process:
        process.wait(PATIENCE)
        stop.kill_group(process.pid)


def test_a_group_is_killed() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        stop.kill_group(process.pid)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_an_end_from_outside_is_not_one_scanner_s_failure() -> None:
    assert not issubclass(Stopped, Defer)
    assert Stopped("x").status == os.EX_TEMPFAIL


def test_a_child_that_leads_no_group_yet_is_killed_all_the_same() -> None:
    """It may just have been forked."""
    pid = os.fork()
    if not pid:
        signal.pause()
    stop.kill_group(pid)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
