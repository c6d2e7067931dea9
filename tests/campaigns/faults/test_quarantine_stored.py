"""Whatever fails, and wherever it is stopped: a message is stored whole, or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.campaigns import sweeps
from tests.support import traced
from tests.support.mta import Site
from tests.support.quarantine import FOUND, TRY, Quarantine, steps

# One in so many of the calls; `make faults` takes all of them.
EVERY = 3

MUST_WORK = ("fsync", "write", "rename", "renameat", "mkdir", "mkdirat", "openat")


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


@pytest.fixture
def infected(site: Site) -> Site:
    """A site where every message is infected."""
    site.clamd(says=FOUND)
    return site


def test_whatever_fails_it_is_stored_whole_or_not_at_all(
    infected: Site, quarantine: Quarantine
) -> None:
    calls = steps(infected, quarantine)
    # A directory that was only read cannot fail to close.
    end = f"<{quarantine.path}>"
    calls = [call for call in calls if call.name != "close" or not call.words.endswith(end)]
    assert {"fsync", "write", "openat"} <= {call.name for call in calls}
    failures = [(call, "EIO") for call in calls]
    failures += [(call, "ENOSPC") for call in calls if call.name in ("write", "mkdir", "mkdirat")]
    for number, (call, error) in enumerate(sweeps.some(failures, EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        ended = traced.failing(infected, infected.words("--on", each.action), call, error)
        if call.name in MUST_WORK:
            assert ended.status == 75, (call, error, ended)
        if ended.status == 75:
            assert re.match(rb"4\.3\.[01] avcheck: ", ended.output), (call, error, ended)
            assert b"bug" not in ended.output, (call, error, ended)
            assert (error == "ENOSPC") == ended.output.startswith(b"4.3.1 "), (call, ended)
            assert each.entries == [], (call, error)
            assert each.unfinished == [], (call, error)
        else:
            assert ended.status == 0, (call, error, ended)
            each.assert_whole()
        assert infected.left == []
        # It was nothing that a later run could not do better.
        if ended.status == 75:
            assert infected.deliver("--on", each.action).status == 0
            each.assert_whole()


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_wherever_it_is_stopped_only_whole_entries_can_be_seen(
    infected: Site, quarantine: Quarantine, signal: str
) -> None:
    for number, call in enumerate(sweeps.some(steps(infected, quarantine), EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        ended = traced.signalled(infected, infected.words("--on", each.action), call, signal)
        assert ended.status in ((-9, 0) if signal == "KILL" else (75, 0)), (call, ended)
        each.assert_whole(len(each.entries))
        assert len(each.entries) <= 1
        if ended.status == 0:
            each.assert_whole()
        if signal == "TERM":
            assert (ended.status == 0) == bool(each.entries), (call, ended)
            assert each.unfinished == [], call
        assert infected.left == []
        # What is left behind is in nobody's way.
        seen = len(each.entries)
        assert infected.deliver("--on", each.action).status == 0
        each.assert_whole(seen + 1)


def test_whatever_fails_the_next_try_leaves_one_entry(
    infected: Site, quarantine: Quarantine
) -> None:
    seen = set()
    for number, call in enumerate(sweeps.some(steps(infected, quarantine, *TRY), EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        words = ("--on", each.action, *TRY)
        ended = traced.failing(infected, infected.words(*words), call, "EIO")
        assert ended.status in (0, 75), (call, ended)
        seen.add((ended.status, len(each.entries)))
        assert b"bug" not in ended.output, (call, ended)
        each.assert_whole(len(each.entries))
        if ended.status == 0:
            each.assert_whole()
        assert each.unfinished == [], call
        assert infected.deliver(*words).status == 0
        each.assert_whole()
    # What can be seen already stays: another try may have counted on it.
    assert seen <= {(0, 1), (75, 0), (75, 1)}
    assert len(seen) == 3 or not sweeps.is_whole()


def test_wherever_it_is_killed_the_next_try_leaves_one_entry(
    infected: Site, quarantine: Quarantine
) -> None:
    seen = set()
    for number, call in enumerate(sweeps.some(steps(infected, quarantine, *TRY), EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        words = ("--on", each.action, *TRY)
        traced.signalled(infected, infected.words(*words), call, "KILL")
        seen.add(len(each.entries))
        assert infected.deliver(*words).status == 0
        each.assert_whole()
    assert seen == {0, 1} or not sweeps.is_whole()
