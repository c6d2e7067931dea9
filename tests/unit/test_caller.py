"""Who called: our parent, or those whom avcheck-guard names, is there or gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avcheck import unix
from avcheck.caller import Caller
from tests.support.wire import PATIENCE, open_files


@contextmanager
def calling() -> Iterator[Caller]:
    """The caller as it is found now; in the end nothing is left open of it."""
    before = open_files()
    caller = Caller()
    try:
        yield caller
    finally:
        caller.close()
        assert open_files() <= before


def test_our_parent_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVCHECK_CALLER", raising=False)
    with calling() as caller:
        assert not caller.is_gone()
        monkeypatch.setattr(unix, "getppid", lambda: -1)
        assert caller.is_gone()


def test_the_guard_says_whose_going_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        monkeypatch.setenv("AVCHECK_CALLER", str(process.pid))
        caller = Caller()
        assert not caller.is_gone()
    assert caller.is_gone()
    caller.close()


def test_a_caller_that_nobody_has_waited_for_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """kill(2) finds a zombie; so it stays where nobody is who waits (a container without init)."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        monkeypatch.setenv("AVCHECK_CALLER", str(process.pid))
        with calling() as caller:
            assert not caller.is_gone()
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            os.kill(process.pid, 0)
            assert caller.is_gone()
        with calling() as caller:  # it was a zombie from the start
            assert caller.is_gone()


def test_a_caller_that_was_gone_from_the_start_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait(PATIENCE)
    monkeypatch.setenv("AVCHECK_CALLER", str(process.pid))
    with calling() as caller:
        assert caller.is_gone()


@pytest.mark.parametrize("goes", [0, 1])
def test_of_several_callers_none_may_be_gone(monkeypatch: pytest.MonkeyPatch, goes: int) -> None:
    """Exim has two processes behind a delivery, and only both will note it."""
    cat = ["/bin/cat"]
    with (
        subprocess.Popen(cat, stdin=subprocess.PIPE) as one,
        subprocess.Popen(cat, stdin=subprocess.PIPE) as other,
    ):
        monkeypatch.setenv("AVCHECK_CALLER", f"{one.pid} {other.pid}")
        with calling() as caller:
            assert not caller.is_gone()
            (one, other)[goes].kill()
            (one, other)[goes].wait(PATIENCE)
            assert caller.is_gone()


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
    monkeypatch.setattr(unix, "pidfd_open", refuse)
    monkeypatch.setattr(unix, "kill", kill)
    with calling() as caller:
        assert caller.is_gone() is not there


@pytest.mark.parametrize("words", ["", "x", "-1", "\u0661", "9" * 30, "0"])
def test_a_caller_that_is_no_number_is_nobody(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("AVCHECK_CALLER", words)
    with calling() as caller:
        assert not caller.is_gone()
