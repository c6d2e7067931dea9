"""What ends a run from outside: signals, the clock, and a caller that is gone."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from avcheck import stop
from avcheck.exits import EXPIRED, HELD, Defer, Stopped
from tests.support.wire import PATIENCE

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    numbers = (*CAUGHT, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    with pytest.MonkeyPatch.context() as nobody:  # the caller is closed
        nobody.delenv("AVCHECK_CALLER", raising=False)
        stop.catch()
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
    for number in (*CAUGHT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [*CAUGHT, signal.SIGALRM])
    stop.catch()
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    for number in (*CAUGHT, signal.SIGALRM):
        assert callable(signal.getsignal(number)), number
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
    monkeypatch.setattr(os, "getppid", lambda: -1)
    with pytest.raises(Defer, match="cut short"):
        stop.unless_called()


def test_the_guard_says_whose_going_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as caller:
        monkeypatch.setenv("AVCHECK_CALLER", str(caller.pid))
        stop.catch()
        stop.unless_called()
    with pytest.raises(Defer, match="cut short"):
        stop.unless_called()


def test_a_caller_that_nobody_has_waited_for_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """kill(2) finds a zombie; so it stays where nobody is who waits (a container without init)."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as caller:
        monkeypatch.setenv("AVCHECK_CALLER", str(caller.pid))
        stop.catch()
        stop.unless_called()
        caller.kill()
        os.waitid(os.P_PID, caller.pid, os.WEXITED | os.WNOWAIT)
        os.kill(caller.pid, 0)
        with pytest.raises(Defer, match="cut short"):
            stop.unless_called()
        assert "possible duplicate" in stop.unheard()
        stop.catch()  # it was a zombie from the start
        with pytest.raises(Defer, match="cut short"):
            stop.unless_called()


def test_a_caller_that_was_gone_from_the_start_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/true"]) as caller:
        caller.wait(PATIENCE)
    monkeypatch.setenv("AVCHECK_CALLER", str(caller.pid))
    stop.catch()
    with pytest.raises(Defer, match="cut short"):
        stop.unless_called()


def test_of_several_callers_none_may_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exim has two processes behind a delivery, and only both will note it."""
    cat = ["/bin/cat"]
    for goes in (0, 1):
        with (
            subprocess.Popen(cat, stdin=subprocess.PIPE) as one,
            subprocess.Popen(cat, stdin=subprocess.PIPE) as other,
        ):
            monkeypatch.setenv("AVCHECK_CALLER", f"{one.pid} {other.pid}")
            stop.catch()
            stop.unless_called()
            (one, other)[goes].kill()
            (one, other)[goes].wait(PATIENCE)
            with pytest.raises(Defer, match="cut short"):
                stop.unless_called()


# What kill(2) says where there is no descriptor for a process.
KILL = {
    "there": (None, True),
    "somebody else's": (PermissionError(1, "Operation not permitted"), True),
    "gone": (ProcessLookupError(3, "No such process"), False),
}


@pytest.mark.parametrize(("why", "there"), KILL.values(), ids=KILL)
def test_a_caller_without_a_descriptor_is_looked_for_by_its_number(
    monkeypatch: pytest.MonkeyPatch, why: OSError | None, there: bool
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(24, "Too many open files")

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (4711, 0)
        if why is not None:
            raise why

    monkeypatch.setenv("AVCHECK_CALLER", "4711")
    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(os, "kill", kill)
    stop.catch()
    assert bool(stop.unheard()) is not there


@pytest.mark.parametrize("words", ["", "x", "-1", "\u0661", "9" * 30, "0"])
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


# Before exec.


def test_descriptors_above_the_limit_are_closed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for those that are opened after it was set."""
    for proc in (True, False):
        pid = os.fork()
        if not pid:
            try:
                os._exit(_closes_above_the_limit(proc))
            finally:
                os._exit(100)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, proc


def _closes_above_the_limit(proc: bool) -> int:
    """In a child of its own; 0 is yes."""
    high = fcntl.fcntl(0, fcntl.F_DUPFD, 900)
    low = fcntl.fcntl(0, fcntl.F_DUPFD, 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with pytest.MonkeyPatch.context() as system:
        if not proc:
            system.setattr(os, "listdir", lambda _: os.stat("/nonexistent"))
        stop.close_from(low)
    left = 0
    for number, fd in enumerate((high, low)):
        try:
            os.fstat(fd)
        except OSError:
            continue
        left += number + 1
    return left
