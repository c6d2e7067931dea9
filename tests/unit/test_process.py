"""What the kernel keeps for a process: signals, the alarm, and descriptors."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess

import pytest

from avcheck import process, unix
from tests.support.wire import PATIENCE

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


pytestmark = pytest.mark.usefixtures("signals_as_before")


@pytest.mark.parametrize(
    ("seconds", "first"), [(1000.0, 1.0), (0.25, 0.25), (7.75, 0.75), (float("inf"), 1.0)]
)
def test_a_tick_comes_each_second_and_in_just_so_many(seconds: float, first: float) -> None:
    process.tick(seconds)
    left, again = signal.getitimer(signal.ITIMER_REAL)
    assert first - 0.2 < left <= first
    assert again == 1.0


def test_what_the_caller_ignored_or_blocked_is_not_inherited() -> None:
    for number in (*CAUGHT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [*CAUGHT, signal.SIGALRM])
    process.catch_signals(lambda number, frame: None)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    for number in (*CAUGHT, signal.SIGALRM):
        assert callable(signal.getsignal(number)), number
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_group_that_is_gone_cannot_be_killed_and_need_not_be() -> None:
    with subprocess.Popen(["/bin/true"], start_new_session=True) as child:
        child.wait(PATIENCE)
        process.kill_group(child.pid)


def test_a_group_is_killed() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as child:
        process.kill_group(child.pid)
        assert child.wait(PATIENCE) == -signal.SIGKILL


def test_a_child_that_leads_no_group_yet_is_killed_all_the_same() -> None:
    """It may just have been forked."""
    pid = os.fork()
    if not pid:
        signal.pause()
    process.kill_group(pid)
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
            system.setattr(unix, "listdir", lambda _: os.stat("/nonexistent"))
        process.close_from(low)
    left = 0
    for number, fd in enumerate((high, low)):
        try:
            os.fstat(fd)
        except OSError:
            continue
        left += number + 1
    return left
