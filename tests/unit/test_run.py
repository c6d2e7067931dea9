"""What belongs to one message: signals end its run until somebody else may have the message."""

from __future__ import annotations

import os
import signal
import time

import pytest

from avcheck import process, unix
from avcheck import run as run_
from avcheck.exits import EXPIRED, HELD, Defer, Stopped
from avcheck.run import Run
from tests.support.wire import PATIENCE

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


pytestmark = pytest.mark.usefixtures("signals_as_before")


@pytest.mark.parametrize("number", CAUGHT)
def test_a_signal_ends_the_run(number: signal.Signals) -> None:
    Run().begin()
    with pytest.raises(Stopped, match=f"stopped by signal {int(number)}$") as why:
        signal.raise_signal(number)
    assert why.value.code == HELD


def test_the_cleaning_after_a_signal_is_not_disturbed() -> None:
    Run().begin()
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    for number in (*CAUGHT, signal.SIGALRM):
        signal.raise_signal(number)


def test_the_clock_ends_the_run() -> None:
    run = Run()
    run.begin()
    run.limit(0.01 - run_.GRACE)
    with pytest.raises(Stopped, match="--deadline") as why:
        time.sleep(PATIENCE)
    assert why.value.code == EXPIRED


def test_before_the_deadline_the_clock_only_ticks() -> None:
    run = Run()
    run.begin()
    run.limit(1000)
    signal.raise_signal(signal.SIGALRM)
    with pytest.raises(Stopped, match="stopped by signal"):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_came_just_before_a_wait_is_seen_at_the_next_tick() -> None:
    """Python calls handlers between its own steps, and not in a system call that goes on."""
    run = Run()
    run.begin()
    run.limit(1000)
    reader, writer = os.pipe()
    rounds = []

    def missed(*_: object) -> None:
        # As if it had come after Python's last look: the wait is begun anew by itself (PEP 475).
        rounds.append(signal.getitimer(signal.ITIMER_REAL))
        if len(rounds) == 2:
            run.stop(signal.SIGTERM)

    signal.signal(signal.SIGALRM, missed)
    try:
        with pytest.raises(Stopped, match="stopped by signal"):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
    assert len(rounds) == 2


def test_once_committed_only_the_answer_counts() -> None:
    run = Run()
    run.begin()
    run.commit()
    for number in (*CAUGHT, signal.SIGALRM):
        signal.raise_signal(number)
    assert run.in_doubt


def test_the_next_run_of_a_process_starts_clean() -> None:
    """Signals are the process's; what became of one message is nothing to the next one."""
    first, second = Run(b"/first"), Run(b"/second")
    first.begin()
    first.record.size = 17
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    first.mark_handed_over(10)
    second.begin()
    assert run_.current is second
    assert (second.handed_over, second.in_doubt, second.record.size) == (None, False, -1)
    assert second.called == b"/second"
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)


def test_no_signal_strikes_where_they_are_blocked() -> None:
    Run().begin()
    with process.signals_blocked():
        signal.raise_signal(signal.SIGTERM)
        assert signal.SIGTERM in signal.sigpending()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert blocked >= {*CAUGHT, signal.SIGALRM}
        with pytest.raises(Stopped):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_an_end_from_outside_is_not_one_scanner_s_failure() -> None:
    assert not issubclass(Stopped, Defer)
    assert Stopped("x").status == os.EX_TEMPFAIL


def test_who_has_the_message_is_told_by_three_states() -> None:
    run = Run()
    assert (run.handed_over, run.in_doubt) == (None, False)
    run.commit()
    assert (run.handed_over, run.in_doubt) == (None, True)
    run.mark_handed_over(7)
    assert (run.handed_over, run.in_doubt) == (7, False)
    run.mark_in_doubt()
    assert (run.handed_over, run.in_doubt) == (None, True)


def test_a_caller_that_is_gone_may_have_left_half_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run()
    run.require_caller()
    assert run.caller_gone_note() == ""
    monkeypatch.setattr(unix, "getppid", lambda: -1)
    with pytest.raises(Defer, match="cut short"):
        run.require_caller()
    assert "possible duplicate" in run.caller_gone_note()
