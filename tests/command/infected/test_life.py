"""scripts/infected.sh: what is being stored lives as long as its run, whatever the clock says.

Each program that a run calls is a step: it waits until the test lets it go on.  Meanwhile the
entry in the making is made to look old, as by a clock that is set a day ahead, and another run
comes along, which removes what is left.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.command.infected.test_killed import end
from tests.support.infected_site import MAIL, PATIENCE, Site
from tests.support.servers import packages

TOOLS = [
    "awk",
    "cat",
    "cmp",
    "cut",
    "date",
    "find",
    "flock",
    "mkdir",
    "mv",
    "od",
    "rm",
    "sed",
    "sha256sum",
    "sort",
    "sync",
    "tr",
    "uname",
    "wc",
]
FEW = ["flock", "cat", "awk", "sync", "mv", "rm"]  # those that change something, or are close to it
OTHER = (b"", b"", b"carol@example.org")


@pytest.fixture
def busybox(tmp_path: Path) -> Site:
    """A shell with tools of its own, as other systems than Debian have."""
    packages.need("busybox-static", commands=["busybox"])
    shell = tmp_path / "ash"
    shell.write_text('#!/bin/sh\nexec busybox sh "$@"\n')
    shell.chmod(0o755)
    return Site(tmp_path, str(shell))


class Steps:
    """The programs that a run calls, one after the other."""

    def __init__(self, site: Site, name: str, tools: Sequence[str] = TOOLS) -> None:
        slow = site.directory / name
        slow.mkdir()
        pipes = [site.directory / f"{name}.{end}" for end in ("here", "go")]
        for pipe in pipes:
            os.mkfifo(pipe)
        self.here, self.go = (os.open(pipe, os.O_RDWR) for pipe in pipes)
        for tool in tools:
            found = shutil.which(tool, path=str(site.environment["PATH"]))
            (slow / tool).write_text(
                f'#!/bin/sh\nprintf "%s\\n" "{tool} $1 $2 $3 $4" >{pipes[0]}\n'
                f"read -r go <{pipes[1]}\n"
                f'exec {found} "$@"\n'
            )
            (slow / tool).chmod(0o755)
        self.environment = {**site.environment, "PATH": f"{slow}:{site.environment['PATH']!s}"}

    def close(self) -> None:
        for fd in (self.here, self.go):
            os.close(fd)

    def of(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        """Each call of the run; it goes on when the next one is asked for."""
        ended = os.pidfd_open(process.pid)
        try:
            while True:
                ready, _, _ = select.select([self.here, ended], [], [], PATIENCE)
                assert ready, "neither a call nor the end"
                if self.here not in ready:
                    return
                # Of a pipe, two may have come at once.
                for call in os.read(self.here, 65536).decode("utf-8", "replace").splitlines():
                    yield call
                    os.write(self.go, b"\n")
        finally:
            os.close(ended)
            if process.poll() is None:  # the test has failed, or wants no more of it
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def few(site: Site) -> Iterator[Steps]:
    # No report: what timeout(1) runs is in a process group of its own, and survives a kill.
    site.configure("notify=\n")
    steps = Steps(site, "few", FEW)
    yield steps
    steps.close()


@pytest.fixture
def steps(site: Site) -> Iterator[Steps]:
    steps = Steps(site, "slow")
    yield steps
    steps.close()


def make_old(paths: list[Path]) -> None:
    then = time.time() - 49 * 3600
    for path in paths:
        os.utime(path, (then, then))


def is_in_the_making(site: Site) -> bool:
    return any(re.match(r"\d{8}T", path.name) for path in site.unfinished())


def another(site: Site) -> Path:
    message = site.spool / "m.other"
    message.write_bytes(MAIL)
    return message


def assert_whole(site: Site, count: int) -> None:
    assert len(site.entries()) == count
    for entry in site.entries():
        assert sorted(path.name for path in entry.iterdir()) == ["about.json", "message"]
        assert (entry / "message").read_bytes() == MAIL
    assert site.unfinished() == []


@pytest.mark.parametrize("queue_id", [True, False])
def test_whenever_the_clock_is_set_ahead_the_entry_stays(
    site: Site, steps: Steps, queue_id: bool
) -> None:
    if not queue_id:
        steps.environment.pop("AVCHECK_QUEUE_ID")
    process = site.start(environment=steps.environment)
    removers = locks = 0
    for call in steps.of(process):
        locks += call.startswith("flock")
        # Before it is locked it goes, and is made anew; once is enough.
        if is_in_the_making(site) and (locks == 1 or not call.startswith("flock")):
            make_old(site.unfinished())
            assert site.run(OTHER, message=another(site))[0] == 0
            removers += 1
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    assert out.decode().split()[-1] in {entry.name for entry in site.entries()}
    # The others are tries of one message, for which there is one entry.
    assert_whole(site, 2)
    assert removers >= len(["flock", "cat", "sha256sum", "od", "sync", "mv"])


@pytest.mark.parametrize("last", ["flock", "mv"])
def test_what_makes_an_entry_and_what_removes_it_do_not_meet_halfway(
    site: Site, steps: Steps, last: str
) -> None:
    """The maker goes on to its end while the remover is held at each of its steps."""
    maker = site.start(environment=steps.environment)
    calls = steps.of(maker)
    for call in calls:
        if call.startswith(last) and is_in_the_making(site):
            break
    make_old(site.unfinished())
    others = Steps(site, "remover")
    remover = site.start(OTHER, message=another(site), environment=others.environment)
    met = False
    for call in others.of(remover):
        if re.match(r"flock|rm .*/\.new/", call) and maker.poll() is None:
            met = True
            for _ in calls:
                pass
    others.close()
    assert met
    assert [maker.wait(PATIENCE), remover.wait(PATIENCE)] == [0, 0]
    for process in (maker, remover):
        process.communicate()
    assert_whole(site, 2)


def steps_of_making(site: Site, few: Steps) -> list[int]:
    """The numbers of a run's calls from the one on that locks the new entry."""
    process = site.start(environment=few.environment)
    calls = list(few.of(process))
    process.communicate()
    assert process.returncode == 0
    (first,) = (number for number, call in enumerate(calls) if call.startswith("flock"))
    return list(range(first, len(calls)))


def restore(site: Site) -> None:
    shutil.rmtree(site.quarantine)
    site.message.write_bytes(MAIL)


@pytest.mark.parametrize("site", ["dash"], indirect=True)
@pytest.mark.parametrize("queue_id", [True, False])
def test_killed_at_any_step_it_leaves_whole_entries_and_is_in_nobodys_way(
    site: Site, few: Steps, queue_id: bool
) -> None:
    if not queue_id:
        site.forget_queue_id()
        few.environment.pop("AVCHECK_QUEUE_ID")
    seen = set()
    for killed in steps_of_making(site, few):
        restore(site)
        process = site.start(environment=few.environment)
        for number, _ in enumerate(few.of(process)):
            if number == killed:
                end(process, signal.SIGKILL)
                break
        seen.add(len(site.entries()))
        make_old(site.unfinished())
        if site.message.exists():
            tries = [site.run()[0], site.run()[0] if site.message.exists() else 0]
            assert tries[-1] == 0
        assert len(site.entries()) in ((1,) if queue_id else (1, 2))
        assert_whole(site, len(site.entries()))
    assert seen == {0, 1}


@pytest.mark.parametrize("site", ["dash"], indirect=True)
def test_two_tries_at_one_time_leave_one_entry(site: Site, few: Steps) -> None:
    """The second one runs while the first is held at each of its steps."""
    for held in steps_of_making(site, few):
        restore(site)
        second = another(site)
        first = site.start(environment=few.environment)
        for number, _ in enumerate(few.of(first)):
            if number == held:
                make_old(site.unfinished())
                assert site.run(message=second)[0] in (0, 75)
        first.communicate(timeout=PATIENCE)
        assert first.returncode in (0, 75)
        for message in (site.message, second):
            if message.exists():
                assert site.run(message=message)[0] == 0
        assert_whole(site, 1)


def leftovers(site: Site) -> tuple[Path, Path]:
    """Two directories where entries are made, a day old."""
    new = site.quarantine / ".new"
    both = new / "20260102T030405Z-00000000dead", new / "20260102T030405Z-00000000a11e"
    for left in both:
        left.mkdir(parents=True)
        (left / "message").write_bytes(b"half")
    site.quarantine.chmod(0o700)
    make_old(list(both))
    return both


def test_what_a_kill_has_left_is_removed_and_what_is_in_use_is_not(site: Site) -> None:
    assert_only_the_dead_is_removed(site)


def test_the_same_with_busybox(busybox: Site) -> None:
    assert_only_the_dead_is_removed(busybox)


def assert_only_the_dead_is_removed(site: Site) -> None:
    _, living = leftovers(site)
    holder = os.open(living, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert site.run() == (0, "")
        assert site.unfinished() == [living]
        assert (living / "message").read_bytes() == b"half"
    finally:
        os.close(holder)
    assert site.run(OTHER, message=another(site)) == (0, "")
    assert_whole(site, 2)


def test_without_flock_nothing_that_may_be_in_use_is_removed(site: Site) -> None:
    tools = site.directory / "without"
    tools.mkdir()
    for tool in {*TOOLS, "dd", "timeout", "sh", site.shell} - {"flock"}:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    site.environment["PATH"] = str(tools)
    both = leftovers(site)
    assert site.run() == (0, "")
    assert sorted(site.unfinished()) == sorted(both)
    assert len(site.entries()) == 1
