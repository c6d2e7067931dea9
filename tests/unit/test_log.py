"""The log of this process: for those who are not root, without a namespace."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import report
from avcheck.exits import Defer
from avcheck.options import reading
from avcheck.run import Run
from avcheck.settings import Settings
from avcheck.verdict import CLEAN, INFECTED, Answer, Finding
from tests.support.syslog import INFO, NOTICE, WARNING, Log
from tests.support.wire import PATIENCE, no_file

# The same without a namespace, for those who are not root.


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    daemon = Log(tmp_path / "log")
    yield daemon
    daemon.socket.close()


def settings(*words: bytes) -> Settings:
    line = [b"-s", b"clamd", b"-d", b"/spool", b"-f", b"a@example.com", *words]
    return reading.read([*line, b"b@example.net"], no_file)


@pytest.fixture
def ours(log: Log, monkeypatch: pytest.MonkeyPatch) -> Log:
    """The log of this process, too."""
    monkeypatch.setattr(report, "LOG", str(log.path))
    return log


def run() -> Run:
    this = Run()
    made = this.record
    made.settings = settings(b"--queue-id", b"4XYZ")
    made.size = 10
    made.answer, made.action = Answer("clamd", "", Finding(CLEAN)), "deliver"
    made.answers = [made.answer]
    return this


def test_what_is_done_is_logged(ours: Log, capfd: pytest.CaptureFixture[str]) -> None:
    assert report.success(run(), "clean: said", 0) == 0
    assert capfd.readouterr() == ("clean: said\n", "")
    line = ours.line
    assert (line.priority, line.pid, line.queue_id) == (INFO, os.getpid(), "4XYZ")
    assert line.said == "clean: said"


def test_what_is_left_is_logged(ours: Log, capfd: pytest.CaptureFixture[str]) -> None:
    assert report.failure(run(), Defer("no room", "4.3.1")) == 75
    assert capfd.readouterr() == ("", "4.3.1 avcheck: no room\n")
    line = ours.line
    assert (line.priority, line.status, line.said) == (WARNING, 75, "4.3.1 no room")
    assert line.facts["action"] == "defer"


def test_a_full_log_raises_nothing(ours: Log, capfd: pytest.CaptureFixture[str]) -> None:
    ours.fill()
    assert report.success(run(), "said", 0) == 0
    assert report.failure(run(), Defer("why")) == 75
    assert capfd.readouterr() == ("said\n", "4.3.0 avcheck: why\n")


def test_a_full_log_gets_the_line_when_there_is_room(
    ours: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "LOG_MAX", PATIENCE)
    ours.fill()
    this = threading.get_native_id()
    has_ended = threading.Event()
    said = []

    def read() -> None:
        place = Path(f"/proc/self/task/{this}/stat")
        while not has_ended.is_set() and place.read_text().rpartition(")")[2].split()[0] != "S":
            pass  # it does not wait yet
        said.append(ours.socket.recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    report.success(run(), "said", 0)
    has_ended.set()
    reader.join()
    ours.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(ours.socket.recv(65536))
    assert said[-1].endswith(b"status=0 (said)")


def test_nothing_stays_open(ours: Log) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        report.success(run(), "said", 1)
    ours.socket.close()
    ours.path.unlink()
    report.success(run(), "said", 1)
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_the_place_of_the_log_is_the_usual_one() -> None:
    assert report.LOG == "/dev/log"
    if os.path.exists(report.LOG):
        assert stat.S_ISSOCK(os.stat(report.LOG).st_mode)


def test_a_virus_found_is_worth_a_notice(ours: Log) -> None:
    this = run()
    made = this.record
    finding = Finding(INFECTED, (b"One", b"Two"))
    made.answer, made.action = Answer("clamd", "", finding), "quarantine"
    report.success(this, "said", 0)
    line = ours.line
    assert line.priority == NOTICE
    assert line.facts["virus"] == "<One, Two>"
