"""How a program ends: by itself, late or by a signal; and who has the message then."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import child, process, unix
from avcheck import program as program_
from avcheck.child import OUTPUT_MAX, Ended
from avcheck.exits import Stopped
from avcheck.run import Run
from tests.support.wire import PATIENCE, given, new_run, open_files

ENV = {b"PATH": b"/bin:/usr/bin"}


def run(
    *argv: bytes, stdin: bytes = b"", seconds: float = PATIENCE, directory: int | None = None
) -> Ended:
    with given(stdin) as fd:
        return child.run(argv, fd, ENV, monotonic() + seconds, directory)


def shell(
    script: str, *words: bytes, seconds: float = PATIENCE, directory: int | None = None
) -> Ended:
    argv = (b"/bin/sh", b"-c", script.encode(), b"sh", *words)
    return run(*argv, seconds=seconds, directory=directory)


class Fifo:
    """Tells when all who have it open for writing are gone; a shell does that by exec 9>FIFO."""

    def __init__(self, directory: Path) -> None:
        self.path = os.fsencode(directory / "fifo")
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def wait(self) -> None:
        """Wait until something can be read, or the last writer is gone."""
        if not select.select([self.fd], [], [], PATIENCE)[0]:
            raise TimeoutError("somebody has it open and says nothing")

    def close(self) -> bytes:
        """What has come when the last writer is gone."""
        said = b""
        while True:
            try:
                piece = os.read(self.fd, 4096)
            except BlockingIOError:
                self.wait()
                continue
            if not piece:
                os.close(self.fd)
                return said
            said += piece


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() <= before


@pytest.mark.parametrize("status", [0, 1, 64, 75, 255])
def test_its_status_is_told(status: int) -> None:
    ended = shell(f"exit {status}")
    assert (ended.status, ended.signal, ended.late) == (status, 0, False)
    assert str(ended) == f"exited with status {status}"


def test_a_signal_that_killed_it_is_told() -> None:
    ended = shell("kill -TERM $$")
    assert (ended.status, ended.signal, ended.late) == (-1, signal.SIGTERM, False)
    assert str(ended) == "was killed by signal 15"


def test_both_outputs_are_taken_and_told_in_one_line() -> None:
    ended = shell("echo 5.7.1 no; echo also >&2; exit 77")
    assert ended.output == b"5.7.1 no\nalso\n"
    assert str(ended) == "exited with status 77: 5.7.1 no also"


def test_of_much_output_the_beginning_is_kept() -> None:
    ended = shell("echo begin; head -c 300000 /dev/zero | tr '\\0' x; exit 3")
    assert ended.status == 3
    assert len(ended.output) == OUTPUT_MAX
    assert ended.output.startswith(b"begin\nxxx")


def test_what_it_says_last_is_heard() -> None:
    for _ in range(50):
        assert run(b"/bin/echo", b"last words").output == b"last words\n"


def test_it_may_close_its_output_and_go_on() -> None:
    ended = shell("echo words; exec >&- 2>&-; exit 5")
    assert (ended.status, ended.output) == (5, b"words\n")


def test_what_it_leaves_in_the_background_is_not_waited_for() -> None:
    ended = shell("sleep 1000 & echo $!")
    assert ended.status == 0
    os.kill(int(ended.output), signal.SIGKILL)


def test_what_writes_on_in_the_background_is_not_listened_to() -> None:
    # yes(1) ends by SIGPIPE when nobody listens any more.
    assert shell("yes & exit 0").status == 0


def test_no_deadline_is_no_limit() -> None:
    assert shell("exit 0", seconds=float("inf")).status == 0


def test_who_is_late_is_killed_with_all_that_he_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = Fifo(tmp_path)
    script = 'exec 9>"$1"; sleep 1000 & echo begun; sleep 1000'
    # The time is up when the first words have been heard.
    heard = []
    real = os.read

    def read(fd: int, size: int) -> bytes:
        heard.append(real(fd, size))
        return heard[-1]

    monkeypatch.setattr(unix, "read", read)
    monkeypatch.setattr(program_, "monotonic", lambda: 1e9 if b"begun\n" in heard else 0.0)
    with given(b"") as stdin:
        argv = (b"/bin/sh", b"-c", script.encode(), b"sh", fifo.path)
        ended = child.run(argv, stdin, ENV, PATIENCE)
    assert (ended.late, ended.signal) == (True, signal.SIGKILL)
    assert str(ended) == "did not end in time and was killed: begun"
    assert fifo.close() == b""


def test_who_is_late_before_he_begins_is_killed() -> None:
    ended = shell("sleep 1000", seconds=-1.0)
    assert ended.late


@pytest.mark.usefixtures("seen_when_it_has_ended")
@pytest.mark.parametrize("status", [0, 67])
def test_who_has_ended_before_he_was_looked_at_is_not_late(status: int) -> None:
    """avcheck may have been stopped until long after the deadline."""
    ended = shell(f"echo words; exit {status}", seconds=-1.0)
    assert (ended.late, ended.killed) == (False, False)
    assert (ended.status, ended.output) == (status, b"words\n")


@pytest.fixture
def seen_when_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pidfd_open

    def wait(pid: int) -> int:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return real(pid)

    monkeypatch.setattr(unix, "pidfd_open", wait)


def test_the_word_of_one_whose_programs_were_killed_is_no_word_of_a_scanner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A script of another user, who cannot be killed, sees its programs killed and ends with 0."""
    monkeypatch.setattr(process, "kill_group", lambda pid: os.kill(pid, signal.SIGTERM))
    script = "trap 'exit 0' TERM; echo begun; sleep 1000 & wait"
    heard = []
    real = os.read

    def read(fd: int, size: int) -> bytes:
        heard.append(real(fd, size))
        return heard[-1]

    monkeypatch.setattr(unix, "read", read)
    monkeypatch.setattr(program_, "monotonic", lambda: 1e9 if b"begun\n" in heard else 0.0)
    with given(b"") as stdin:
        ended = child.run((b"/bin/sh", b"-c", script.encode()), stdin, ENV, PATIENCE)
    assert ended.late
    assert ended.status != 0


@pytest.mark.parametrize("takes", [False, True])
def test_who_cannot_be_killed_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, takes: bool
) -> None:
    struck: list[int] = []
    monkeypatch.setattr(process, "kill_group", struck.append)
    monkeypatch.setattr(program_, "GONE_MAX", 0.05)
    with given(b"") as stdin:
        argv = (b"/bin/sleep", b"1000")
        if takes:
            run = new_run(seconds=-1)
            ended = child.hand_over(run, 0, argv, stdin, ENV)
            assert run.in_doubt  # nobody knows what it does with the message
        else:
            ended = child.run(argv, stdin, ENV, monotonic() - 1)
    assert (ended.late, ended.killed, ended.runs) == (True, True, True)
    assert str(ended) == "did not end in time and could not be killed, and runs on"
    (pid,) = struck
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_whose_end_somebody_else_has_heard_of_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(pid: int, options: int) -> tuple[int, int]:
        real(pid, 0)
        raise ChildProcessError(10, "No child processes")

    real = os.waitpid
    monkeypatch.setattr(unix, "waitpid", refuse)
    ended = shell("exit 0")
    assert ended.killed
    assert str(ended).startswith("could not be waited for (No child processes)")


def test_an_exception_of_ours_kills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's, for instance: what we started does not go on alone."""

    fifo = Fifo(tmp_path)

    def interrupted() -> None:
        fifo.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(program_, "poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shell('exec 9>"$1"; echo begun >&9; sleep 1000', fifo.path)
    assert fifo.close() == b"begun\n"


@pytest.mark.usefixtures("signals_as_before")
def test_a_signal_while_it_is_started_does_not_leave_it_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.fork
    children = []

    def fork() -> int:
        pid = real()
        if pid:
            children.append(pid)
            signal.raise_signal(signal.SIGTERM)
        return pid

    Run().begin()
    monkeypatch.setattr(unix, "fork", fork)
    with pytest.raises(Stopped, match="stopped by signal 15"):
        shell("sleep 1000")
    (started,) = children
    with pytest.raises(ChildProcessError):  # it is not left to be waited for
        os.waitpid(started, os.WNOHANG)
    assert not program_._running


@pytest.mark.usefixtures("signals_as_before")
def test_a_signal_while_it_runs_may_be_a_duplicate_where_its_status_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def watched(pid: int) -> int:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    run = new_run()
    run.begin()
    monkeypatch.setattr(unix, "pidfd_open", watched)
    words = "possible duplicate: /bin/sleep was killed: stopped by signal 15"
    with given(b"") as stdin, pytest.raises(Stopped, match=words):
        child.hand_over(run, 0, (b"/bin/sleep", b"1000"), stdin, ENV)


@pytest.mark.usefixtures("signals_as_before", "seen_when_it_has_ended")
@pytest.mark.parametrize("status", [0, 67])
def test_who_had_ended_before_the_signal_came_has_decided(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    run = new_run()
    run.begin()

    def stopped() -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(program_, "poll", stopped)
    argv = (b"/bin/sh", b"-c", b"echo words; exit %d" % status)
    with given(b"") as stdin:
        ended = child.hand_over(run, 0, argv, stdin, ENV)
    assert (ended.status, ended.output, ended.killed) == (status, b"words\n", False)
    assert run.handed_over == (None if status else 0)


def test_what_does_not_even_start_in_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "execve", lambda *_: signal.pause())
    assert shell("exit 0", seconds=0.01).late


@pytest.mark.parametrize("ends", [True, False])
def test_who_cannot_be_waited_for_is_killed_unless_he_has_ended(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Out of memory, say: what was done is not undone, so its status is what counts."""

    def refuse(pid: int) -> int:
        if ends:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(unix, "pidfd_open", refuse)
    ended = shell("exit 0" if ends else "sleep 1000")
    assert (ended.killed, ended.lost) == (not ends, "Cannot allocate memory")
    if ends:
        assert ended.status == 0
    else:
        assert str(ended) == "could not be waited for (Cannot allocate memory) and was killed"


def test_output_that_cannot_be_read_is_lost_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    release = os.open(fifo, os.O_RDWR)
    real = os.read

    def refuse(fd: int, size: int) -> bytes:
        if real(fd, size):  # its words: it may end now
            os.write(release, b"\n")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(unix, "read", refuse)
    ended = shell('echo words; read line <"$1"; exit 3', os.fsencode(fifo))
    os.close(release)
    assert (ended.status, ended.output, ended.killed) == (3, b"", False)
    assert ended.lost == "Input/output error"
