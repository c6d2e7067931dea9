"""ulimit: what a run makes of little memory, few files, small files, no processes, and no time.

The scanner and the next hop have no limits.  With too little for the interpreter itself it is not
avcheck that leaves, with whatever status: the launcher turns that into 75, as long as there is
enough for a shell.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from avcheck.seen import FRONT
from tests.command.limits.runs import (
    CLEAN,
    DIED,
    DONE,
    GOOD,
    HANDLER,
    KEPT,
    QUARANTINE,
    SENDMAIL,
    Outcome,
    Runner,
)
from tests.conftest import NOBODY
from tests.support.fakes import Server
from tests.support.installed import interpreter
from tests.support.mta import MAIL, RECIPIENT, SENDER, TEMPFAIL, Site

KIB = 1024
MIB = 1024 * KIB

# A dynamically linked shell that is to read a script needs less than this.
SHELL_FILES = 11
SHELL_MEMORY = 4 * MIB
SHELL_STACK = 32 * KIB


def limited(resource: str, soft: int, hard: int | None = None) -> list[str]:
    """Words that run the command after them with this limit."""
    return ["prlimit", f"--{resource}={soft}:{soft if hard is None else hard}"]


def rise(of: Callable[[int], Outcome], limits: Iterable[int]) -> list[tuple[int, str]]:
    """What comes of rising limits until it is done: each limit at which that changes."""
    steps: list[tuple[int, str]] = []
    for limit in limits:
        outcome = of(limit)
        if not steps or steps[-1][1] != outcome.came:
            steps.append((limit, outcome.came))
        if outcome.came == KEPT:
            assert outcome.ended.output, limit
        if outcome.came == DONE:
            return steps
    raise AssertionError(f"never done: {steps}")


# Open files.


@pytest.mark.parametrize("kind", GOOD)
def test_few_open_files(avcheck: Runner, kind: str) -> None:
    """From 3 on, with which the interpreter cannot load its library, until it is done."""
    steps = rise(lambda n: avcheck.run(kind, before=limited("nofile", n)), range(3, 24))
    assert [outcome for _, outcome in steps if outcome != KEPT] == [DIED, DONE]


@pytest.mark.parametrize("kind", GOOD)
def test_few_open_files_and_the_launcher(guard: Runner, kind: str) -> None:
    limits = range(SHELL_FILES, 24)
    steps = rise(lambda n: guard.run(kind, before=limited("nofile", n)), limits)
    assert DIED not in dict(steps).values()


def test_too_few_open_files_for_any_shell_script(guard: Runner) -> None:
    """What nobody can help; docs/security.md says so."""
    assert guard.run(CLEAN, before=limited("nofile", 3)).came == DIED


# Memory.


# Where CPython 3.11 has so little memory, it now and then asks for more for ever before it comes
# to our first line (seen in its imports of stat and posix); nobody can tell what comes of that.
STARTS = {"as": 16 * MIB, "data": 4 * MIB}


# Seconds of the processor after which the kernel ends such a loop.
LOOP = 3


def with_memory(runner: Runner, kind: str, resource: str, limit: int) -> Outcome:
    """What comes of a run with so much memory."""
    before = limited(resource, limit)
    if limit < STARTS[resource]:
        before.append(f"--cpu={LOOP}:{LOOP}")
    return runner.run(kind, before=before)


@pytest.mark.parametrize("kind", [CLEAN, HANDLER])
@pytest.mark.parametrize(("resource", "most"), [("as", 40 * MIB), ("data", 20 * MIB)])
def test_little_memory(avcheck: Runner, resource: str, most: int, kind: str) -> None:
    """Wherever it fails, there is no second copy, and nothing half done."""

    limits = range(MIB // 2, most, MIB // 2)
    steps = rise(lambda n: with_memory(avcheck, kind, resource, n), limits)
    assert steps[0][1] == DIED
    assert steps[-1][1] == DONE


@pytest.mark.parametrize("kind", [CLEAN, HANDLER])
@pytest.mark.parametrize(("resource", "most"), [("as", 40 * MIB), ("data", 20 * MIB)])
def test_little_memory_and_the_launcher(guard: Runner, resource: str, most: int, kind: str) -> None:
    limits = range(SHELL_MEMORY if resource == "as" else MIB // 2, most, MIB // 2)
    steps = rise(lambda n: with_memory(guard, kind, resource, n), limits)
    assert [outcome for _, outcome in steps] == [KEPT, DONE]


def test_memory_is_short_in_small_steps(avcheck: Runner) -> None:
    """From where avcheck's own first line is reached."""

    def of(limit: int) -> str:
        return with_memory(avcheck, CLEAN, "data", limit).came

    least = next(limit for limit in range(MIB, 20 * MIB, MIB // 4) if of(limit) == KEPT)
    outcomes = [of(limit) for limit in range(least - MIB // 8, least + 3 * MIB, 76 * KIB)]
    assert {KEPT, DONE} <= set(outcomes)


# File size.

OURS = len(FRONT)
WHOLE = OURS + len(MAIL)

SIZES = sorted(
    {
        *(0, 1, OURS - 1, OURS, OURS + 1, WHOLE - 1, WHOLE, WHOLE + 1),
        # Ours is not in a copy; the header of -h is in sendmail's.
        *(len(MAIL) - 1, len(MAIL), WHOLE + 20, WHOLE + 40, WHOLE + 60, WHOLE + 80),
        # The sidecar in the quarantine, and the notes of the handler, have some 500 bytes.
        *range(300, 1000, 100),
        *(4096, 65536),
    }
)


@pytest.mark.parametrize("kind", GOOD)
def test_small_files(either: Runner, kind: str) -> None:
    """SIGXFSZ is no death, and a file that was cut off is no message."""
    steps = rise(lambda n: either.run(kind, before=limited("fsize", n)), SIZES)
    assert [outcome for _, outcome in steps] == [KEPT, DONE]
    assert steps[-1][0] >= WHOLE
    if kind in (CLEAN, SENDMAIL):
        assert steps[-1][0] == WHOLE


# Counters of another time: more of them than a message and what is ours have bytes.
COUNTERS = "".join(
    f'avcheck_messages_total{{verdict="clean",action="a{number}"}} 1\n' for number in range(120)
)
assert len(COUNTERS) > WHOLE + 1000


@pytest.mark.parametrize("before", ["", COUNTERS], ids=["none", "many"])
@pytest.mark.parametrize("size", [WHOLE, WHOLE + 100, WHOLE + 900, 16384])
def test_small_files_and_what_is_shared_between_runs(
    avcheck: Runner, size: int, before: str
) -> None:
    """Counters that cannot be written do no harm, and are none that cannot be read."""
    with avcheck.site() as site:
        site.clamd()
        site.smtp()
        file = site.directory / "avcheck.prom"
        file.write_text(before)
        words = site.words(
            *("--slots", "2", "--attempts", "3", "--queue-id", "4abc", "--metrics", str(file))
        )
        for _ in range(2):
            assert site.start([*limited("fsize", size), *words]).end(MAIL).status == 0
        text = file.read_text()
        assert text.endswith("\n")
        if before and size < len(before):
            assert text == before
        else:
            assert 'action="deliver"' in text
        assert [name for name in site.left if not name.startswith("slot.")] == []


# The shipped handler.


def stored(site: Site) -> list[bytes]:
    """What infected.sh has put into its quarantine, which it makes in the spool directory."""
    return [file.read_bytes() for file in site.spool.glob("quarantine/[!.]*/message")]


@pytest.mark.parametrize(
    ("resource", "limits"),
    [
        ("nofile", range(SHELL_FILES, 20)),
        ("fsize", [*range(0, 1000, 100), 2000, 4096]),
        ("data", [4 * MIB, 6 * MIB, 8 * MIB, 16 * MIB]),
    ],
)
def test_the_shipped_handler_with_little(
    avcheck: Runner, command: Path, resource: str, limits: Iterable[int]
) -> None:
    """The message is in the quarantine, whole, or the mail system keeps it."""
    statuses = []
    for limit in limits:
        with avcheck.site() as site:
            site.clamd(says=b"Eicar-Test-Signature FOUND")
            site.smtp()
            shipped = str(command.with_name("infected.sh"))
            site.infected = shipped
            before = limited(resource, limit)
            if resource == "fsize":  # what is ours is more than the handler writes
                wrapper = site.directory / "limited.sh"
                wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*before, shipped])} "$@"\n')
                wrapper.chmod(0o755)
                site.infected, before = str(wrapper), []
            ended = site.start([*before, *site.words()]).end(MAIL)
            assert ended.status in (0, TEMPFAIL), (limit, ended)
            assert not ended.output.startswith(b"5."), (limit, ended)
            assert stored(site) == ([MAIL] if ended.status == 0 else []), (limit, ended)
            assert [name for name in site.left if name != "quarantine"] == [], (limit, ended)
            # What is delivered is the report to postmaster.
            assert all(b"Eicar-Test-Signature" in report for report in site.delivered)
            statuses.append(ended.status)
    assert statuses[-1] == 0


# Processes.


@pytest.fixture
def as_nobody(public: Path) -> Runner:
    """An account that has a limit at all: root has none."""
    root = os.geteuid() == 0
    return Runner(
        [interpreter(), public / "command"],
        NOBODY if root else None,
        public,
        {"PYTHONPATH": str(public), "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("kind", GOOD)
def test_no_other_process(as_nobody: Runner, kind: str) -> None:
    """A program that cannot be started is as one that is not there; the rest needs none."""

    def own(site: Site) -> None:
        site.own(site.directory / "quarantine")

    outcome = as_nobody.run(kind, before=limited("nproc", 0), change=own)
    if kind in (CLEAN, QUARANTINE):
        assert outcome.came == DONE
    else:
        assert outcome.came == KEPT
        assert b"Resource temporarily unavailable" in outcome.ended.output


def test_no_thread_for_a_second_scanner(as_nobody: Runner) -> None:
    with as_nobody.site() as site:
        site.clamd()
        site.smtp()
        words = site.words(scanners=[f"clamd:{site.scanner.where}"] * 2)
        ended = site.start([*limited("nproc", 0), *words]).end(MAIL)
        site.assert_kept(ended, "clamd", "thread")
        assert site.start(words).end(MAIL).status == 0


# Processor time.


class Drain(Server):
    """A mail server that reads a message for ever."""

    def play(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            client.sendall(b"220 drain\r\n")
            for line in lines:
                if line.startswith(b"DATA"):
                    client.sendall(b"354 go ahead\r\n")
                    break
                client.sendall(b"250 yes\r\n")
        while client.recv(1 << 20):
            pass


def send_for_ever(runner: Runner, soft: int, hard: int) -> Outcome:
    """A message that does not end, until the time is over."""
    with runner.site() as site, Drain() as drain:
        words = ["-c", "-S", drain.where, "-f", SENDER.decode(), "--", RECIPIENT.decode()]
        running = site.start([*limited("cpu", soft, hard), *site.command, *words])
        with pytest.raises(BrokenPipeError):
            while True:
                os.write(running.stdin, b"." * 71 + b"\n" + b".\n" * 30000)
        ended = running.end()
        came = {0: DONE, TEMPFAIL: KEPT}.get(ended.status, DIED)
        return Outcome(came, ended)


def test_the_time_of_the_processor_is_over(either: Runner) -> None:
    outcome = send_for_ever(either, 1, 10)
    assert outcome.came == KEPT
    assert outcome.ended.output == b"4.3.2 avcheck: stopped by signal %d\n" % signal.SIGXCPU


def test_the_hard_limit_is_a_death_that_the_launcher_reports(
    avcheck: Runner, guard: Runner
) -> None:
    assert send_for_ever(avcheck, 1, 1).ended.status == -signal.SIGKILL
    assert send_for_ever(guard, 1, 1).came == KEPT


# The stack.


def test_a_small_stack(avcheck: Runner, guard: Runner) -> None:
    sizes = [SHELL_STACK << shift for shift in range(8)]
    steps = rise(lambda n: avcheck.run(CLEAN, before=limited("stack", n)), sizes)
    assert [outcome for _, outcome in steps] == [DIED, DONE]
    steps = rise(lambda n: guard.run(CLEAN, before=limited("stack", n)), sizes)
    assert [outcome for _, outcome in steps][-1] == DONE
    assert DIED not in dict(steps).values()
