"""Programs that avcheck runs: none is waited for without a limit, and none goes on alone.

A program that has changed its user, as setuid sendmail does, cannot be killed by who has
started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import avcheck
from tests.support.mta import Site, until
from tests.support.program import STOP, STOP_WITH_CHILD, Program
from tests.support.servers import packages
from tests.support.wire import PATIENCE

FOUND = b"Eicar-Test-Signature FOUND"
DEAF = "trap '' HUP INT QUIT TERM ALRM"

each_signal = pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT],
    ids=lambda number: number.name,
)


def scanner(program: Program | Path, words: str = "{path}") -> str:
    """What -s takes for a program."""
    path = program.path if isinstance(program, Program) else program
    return f"command:{path}?args={words.replace(' ', '%20')}&clean=0&infected=1"


# One that has changed its user.


@pytest.fixture
def setuid(unprivileged: Site) -> Iterator[Path]:
    """A set-user-ID program that becomes root altogether, and then what its words say."""
    packages.need_root("a program of another user is made by root only")
    setpriv = shutil.which("setpriv")
    assert setpriv
    path = unprivileged.directory / "setuid"
    shutil.copy(setpriv, path)
    path.chmod(0o4755)
    yield path


ROOT = "--reuid 0 --clear-groups"


def test_a_sendmail_program_of_another_user_is_not_waited_for(
    unprivileged: Site, setuid: Path
) -> None:
    site = unprivileged
    sendmail = site.sendmail(f"{DEAF}{STOP}")
    site.hop = ("-S", f"{setuid} {ROOT} {sendmail.path}")
    running = site.start(site.words("--deadline", "0.5")).feed()
    sendmail.arrived()
    words = ["possible duplicate", "did not end in time and could not be killed, and runs on"]
    site.assert_kept(running.end(), "4.3.0", *words)
    sendmail.release()  # it was there to the end
    sendmail.ended()


@pytest.mark.parametrize("number", [None, signal.SIGTERM], ids=["deadline", "SIGTERM"])
def test_a_handler_of_another_user_is_not_waited_for(
    unprivileged: Site, setuid: Path, number: signal.Signals | None
) -> None:
    site = unprivileged
    site.clamd(says=FOUND)
    inner = site.program("inner", f"{DEAF}{STOP}")
    site.infected = str(site.directory / "handler")
    Path(site.infected).write_text(f'#!/bin/sh\nexec {setuid} {ROOT} {inner.path} "$@"\n')
    Path(site.infected).chmod(0o755)
    running = site.start(site.words("--deadline", "0.5" if number is None else "20")).feed()
    inner.arrived()
    if number is not None:
        running.signal(number)
    site.assert_kept(running.end(), "possible duplicate", "could not be killed")
    inner.release()
    inner.ended()


@pytest.mark.parametrize("among", [False, True], ids=["alone", "among others"])
def test_a_scanner_of_another_user_is_not_waited_for(
    unprivileged: Site, setuid: Path, among: bool
) -> None:
    site = unprivileged
    inner = site.program("scanner", f"{DEAF}{STOP}")
    others = [f"clamd:{site.scanner.where}"] if among else []
    words = scanner(setuid, f"{ROOT} {inner.path} {{path}}")
    running = site.start(site.words("-t", "0.5", scanners=[*others, words])).feed()
    inner.arrived()
    site.assert_kept(running.end(), "4.4.7", "in time")
    inner.release()
    inner.ended()


def test_who_has_started_one_of_another_user_is_killed_himself(
    unprivileged: Site, setuid: Path
) -> None:
    """In the process group that is killed there may be members that cannot be."""
    site = unprivileged
    inner = site.program("inner", f"{DEAF}{STOP}")
    site.sendmail(f"{setuid} {ROOT} {inner.path} & wait")
    running = site.start(site.words("--deadline", "0.5")).feed()
    inner.arrived()
    site.assert_kept(running.end(), "possible duplicate", "did not end in time and was killed")
    inner.release()
    inner.ended()


# One that had ended before avcheck looked.


@pytest.mark.parametrize("seconds", [0.6, 1.7], ids=["deadline", "alarm"])
@pytest.mark.parametrize("status", [0, 77])
@pytest.mark.parametrize("to", ["sendmail", "handler"])
def test_an_end_that_came_in_time_counts_however_late_it_is_seen(
    site: Site, to: str, status: int, seconds: float
) -> None:
    """avcheck, or the whole machine, was stopped until long after the deadline."""
    program = site.sendmail(f"{STOP} exit {status}")
    if to == "handler":
        site.clamd(says=FOUND)
        program = site.handler(f"{STOP} exit {status}")
    running = site.start(site.words("--deadline", "0.5")).feed()
    program.arrived()
    began = time.monotonic()
    running.signal(signal.SIGSTOP)
    until(lambda: running.is_in("signal_stop"))
    program.release()
    program.ended()
    until(lambda: time.monotonic() > began + seconds)
    running.signal(signal.SIGCONT)
    ended = running.end()
    assert ended.status == (75 if to == "sendmail" and status else status), ended
    assert (b"exited with status" in ended.output) == bool(status), ended
    assert b"possible duplicate" not in ended.output


# All that run when avcheck leaves.


@each_signal
@pytest.mark.parametrize("trap", ["", DEAF], ids=["obedient", "stubborn"])
def test_a_scanner_that_is_a_program_does_not_outlive_the_run(
    site: Site, trap: str, number: signal.Signals
) -> None:
    """It was started by a thread, which does not hear of the signal."""
    program = site.program("scanner", f"{trap}{STOP_WITH_CHILD}")
    words = [f"clamd:{site.scanner.where}", scanner(program)]
    running = site.start(site.words(scanners=words)).feed()
    program.arrived()
    running.signal(number)
    site.assert_kept(running.end(), "4.3.2")
    program.ended()


@each_signal
@pytest.mark.parametrize("number_of_them", [1, 2])
def test_what_a_program_has_made_beside_its_copy_goes_with_the_run(
    site: Site, number: signal.Signals, number_of_them: int
) -> None:
    """Also where it runs in a thread, which goes without another word."""
    made = 'mkdir "$1.d"; cp "$1" "$1.d/x"; cp "$1" "$1.tmp"; '
    programs = [site.program(f"scanner{each}", made + STOP) for each in range(number_of_them)]
    running = site.start(site.words(scanners=[scanner(each) for each in programs])).feed()
    for program in programs:
        program.arrived()
    assert any(name.endswith(".tmp") for name in os.listdir(site.spool))
    running.signal(number)
    ended = running.end()
    assert ended.status == 75
    assert os.listdir(site.spool) == []


# What goes wrong when the program runs; it is started by a thread or by the main one.
BUG = """
import os, sys
import _thread
from time import monotonic
from avcheck import __main__ as way_in, child, main, process
from avcheck.run import Run

def program():
    argv = [b"/bin/sh", b"-c", sys.argv[1].encode(), b"sh", sys.argv[2].encode()]
    child.run(argv, os.open(os.devnull, os.O_RDONLY), {}, monotonic() + 1000)

def run(*words):
    Run().begin()
    with process.signals_blocked():
        _thread.start_new_thread(program, ())
    os.read(os.open(sys.argv[3], os.O_RDONLY), 1)
    raise MemoryError("a bug")

main.main = run
way_in.main()
"""


def test_no_program_outlives_a_bug(tmp_path: Path) -> None:
    fifo, begun = tmp_path / "fifo", tmp_path / "begun"
    os.mkfifo(fifo)
    os.mkfifo(begun)
    living = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = f'exec 9>"$1"; sleep 1000 & echo >{begun}; sleep 1000'
    done = subprocess.run(
        [sys.executable, "-c", BUG, script, str(fifo), str(begun)],
        capture_output=True,
        timeout=PATIENCE,
        env={"PYTHONPATH": str(Path(avcheck.__file__).parents[1])},
        check=False,
    )
    assert done.returncode == 75
    assert b"MemoryError: a bug" in done.stderr
    os.set_blocking(living, True)
    assert os.read(living, 1) == b""  # who had it open is gone
    os.close(living)
