"""What is being stored lives as long as its run, whatever the clock says meanwhile.

A clock that is set a day ahead (a machine that was asleep, NTP) makes every entry in the making
look as old as what a kill has left.  So a run is stopped after each of its system calls, its entry
is made to look old, and another run comes along, which removes what is left.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from avcheck import draft
from tests.campaigns import sweeps
from tests.support.mta import MAIL, Running, Site, until
from tests.support.quarantine import FOUND, TRY, Quarantine, at, goes_on, steps, tell
from tests.support.traced import Call

AGE = 2 * draft.OLD

# One in so many of the calls; `make faults` takes all of them.
EVERY = 7


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


@pytest.fixture
def infected(site: Site) -> Site:
    """A site where every message is infected."""
    site.clamd(says=FOUND)
    return site


@contextmanager
def stopped(
    site: Site, words: list[str | bytes], call: Call, name: str = "maker"
) -> Iterator[Running]:
    """A run that has stopped after the call, or ended without it; then it goes on to its end."""
    log = site.directory / f"{name}.log"
    log.unlink(missing_ok=True)
    inject = f"inject={call.name}:signal=STOP:when={call.number}"
    strace = ["strace", "-qq", "-o", str(log), "-e", f"trace={call.name}", "-e", inject]
    running = site.start([*strace, *words]).feed()
    try:
        until(lambda: is_stopped(log) or running.process.poll() is not None)
        yield running
        until(lambda: goes_on(running))
    finally:
        tell(running, signal.SIGKILL)  # or it would stay, stopped, without its strace


def is_stopped(log: Path) -> bool:
    return log.exists() and "--- stopped by SIGSTOP ---" in log.read_text(errors="replace")


def make_old(paths: list[Path]) -> None:
    then = time.time() - AGE
    for path in paths:
        os.utime(path, (then, then))


def while_it_is_made(calls: list[Call]) -> list[Call]:
    """From making the directory of the entry on."""
    return calls[at(calls, "mkdir(at)?", r"\.new/\d{8}T") :]


def up_to_the_rename(calls: list[Call]) -> list[Call]:
    made = while_it_is_made(calls)
    return made[: at(made, "rename(at2?)?", r"\.new/\d{8}T") + 1]


def while_it_is_removed(site: Site, path: Path) -> list[Call]:
    """The calls of a run that removes what is left."""
    each = Quarantine(path)
    left = each.path / ".new" / "left"
    left.mkdir(parents=True)
    each.path.chmod(0o700)
    for name in ("message", "about.json"):
        (left / name).write_bytes(b"half")
    make_old([left])
    calls = [call for call in steps(site, each) if "left" in call.words]
    assert each.unfinished == []
    return calls


@pytest.mark.parametrize("more", [(), TRY], ids=["without a queue id", "with a queue id"])
def test_wherever_the_clock_is_set_ahead_the_entry_is_whole_or_the_message_is_kept(
    infected: Site, quarantine: Quarantine, more: tuple[str, ...]
) -> None:
    seen = set()
    calls = while_it_is_made(steps(infected, quarantine, *more))
    for number, call in enumerate(sweeps.some(calls, EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        with stopped(infected, infected.words("--on", each.action, *more), call) as slow:
            make_old(each.unfinished)
            assert infected.deliver("--on", each.action).status == 0
        ended = slow.end()
        assert ended.status in (0, 75), (call, ended)
        assert b"bug" not in ended.output, (call, ended)
        each.assert_whole(1 + (ended.status == 0))
        assert each.unfinished == [], call
        seen.add(ended.status)
    # It was never in danger: what was not locked yet when it went was made anew.
    assert seen == {0}


@pytest.mark.parametrize("last", ["mkdir", "open", "flock", "fsync"])
def test_what_makes_an_entry_and_what_removes_it_do_not_meet_halfway(
    infected: Site, quarantine: Quarantine, last: str
) -> None:
    """The maker goes on to its end while the remover is stopped after each of its calls."""
    calls = up_to_the_rename(steps(infected, quarantine))
    [*_, maker] = [call for call in calls if call.name.startswith(last)]
    if last == "open":  # of the directory, not of a file in it
        maker = next(call for call in calls if call.name.startswith(last))
    others = while_it_is_removed(infected, infected.directory / "left")
    for number, call in enumerate(sweeps.some(others, EVERY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        words = infected.words("--on", each.action)
        with stopped(infected, words, maker) as slow:
            make_old(each.unfinished)
            with stopped(infected, words, call, "remover") as remover:
                until(partial(goes_on, slow))
        assert [slow.end().status, remover.end().status] == [0, 0], call
        each.assert_whole(2)
        assert each.unfinished == [], call


@pytest.mark.parametrize("name", ["message", "about.json"])
def test_what_was_robbed_with_a_queue_id_is_stored_by_the_next_try(
    infected: Site, quarantine: Quarantine, name: str
) -> None:
    calls = up_to_the_rename(steps(infected, quarantine, *TRY))
    each = Quarantine(infected.directory / "q")
    words = infected.words("--on", each.action, *TRY)
    with stopped(infected, words, calls[-1]) as slow:
        (entry,) = each.entries
        (entry / name).unlink()
    infected.assert_kept(slow.end(), "4.3.0", "removed as it was made")
    second = int(time.time())  # of one second, both would have one name
    until(lambda: int(time.time()) > second)
    assert infected.deliver("--on", each.action, *TRY).status == 0
    assert MAIL in [path.read_bytes() for path in each.path.glob("*/message")]


def test_an_entry_that_was_robbed_is_not_stored(infected: Site, quarantine: Quarantine) -> None:
    """By something that knows nothing of locks: rm(1), or a cleaner of old files."""
    robbed = set()
    for number, call in enumerate(up_to_the_rename(steps(infected, quarantine))):
        for name in ("message", "about.json"):
            each = Quarantine(infected.directory / f"q{number:09d}.{name}")
            with stopped(infected, infected.words("--on", each.action), call) as slow:
                (entry,) = [*each.unfinished, *each.entries]
                is_there = (entry / name).exists()
                (entry / name).unlink(missing_ok=True)
            ended = slow.end()
            if is_there:
                infected.assert_kept(ended, "4.3.0", "removed as it was made")
                robbed.add((call.name, name))
            else:
                assert ended.status == 0, (call, ended)
            each.assert_whole(0 if is_there else 1)
            assert each.unfinished == [], call
    assert {name for _, name in robbed} == {"message", "about.json"}


def test_what_a_kill_has_left_is_not_in_use(infected: Site, quarantine: Quarantine) -> None:
    assert infected.deliver("--on", quarantine.action).status == 0
    dead, living = (quarantine.path / ".new" / name for name in ("dead", "living"))
    for left in (dead, living):
        left.mkdir()
        (left / "message").write_bytes(b"half")
    make_old([dead, living])
    holder = os.open(living, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert infected.deliver("--on", quarantine.action).status == 0
        assert quarantine.unfinished == [living]
        assert (living / "message").read_bytes() == b"half"
    finally:
        os.close(holder)
    assert infected.deliver("--on", quarantine.action).status == 0
    assert quarantine.unfinished == []
    quarantine.assert_whole(3)
