"""Signals: what a process inherits of them, the alarm, and the end of a child."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from avcheck import signals
from tests.support.wire import PATIENCE

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    numbers = (*CAUGHT, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_clock_strikes_again_for_who_was_not_waiting_yet() -> None:
    signals.after(1000)
    left, again = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 1000
    assert again == 1.0


def test_no_limit_is_no_clock() -> None:
    signals.after(1000)
    signals.after(float("inf"))
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_what_the_caller_ignored_or_blocked_is_not_inherited() -> None:
    for number in (*CAUGHT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [*CAUGHT, signal.SIGALRM])
    signals.catch(lambda number, frame: None)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    for number in (*CAUGHT, signal.SIGALRM):
        assert callable(signal.getsignal(number)), number
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_group_that_is_gone_cannot_be_killed_and_need_not_be() -> None:
    with subprocess.Popen(["/bin/true"], start_new_session=True) as process:
        process.wait(PATIENCE)
        signals.kill_group(process.pid)


def test_a_group_is_killed() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        signals.kill_group(process.pid)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_child_that_leads_no_group_yet_is_killed_all_the_same() -> None:
    """It may just have been forked."""
    pid = os.fork()
    if not pid:
        signal.pause()
    signals.kill_group(pid)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
