"""--slots: so many scans at a time over all processes, and nothing that anybody leaves behind."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.state import slots
from tests.support.fakes import PATIENCE, FakeClamd
from tests.support.mta import Ended, Site, until
from tests.support.program import STOP
from tests.support.traced import openings


class CountingClamd(FakeClamd):
    """A clamd that answers when so many ask at the same time, and knows the most there were.

    between is called whenever they are all there, before they get their answers.
    """

    def __init__(self, path: Path, together: int, between: Callable[[], None]) -> None:
        self.most = 0
        self._asking = 0
        self._lock = threading.Lock()
        self._together = threading.Barrier(together, between)
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        with self._lock:
            self._asking += 1
            self.most = max(self.most, self._asking)
        self._together.wait(PATIENCE)
        with self._lock:
            self._asking -= 1
        super().play(client)


@pytest.mark.parametrize(("number", "processes"), [(1, 20), (4, 100)])
def test_all_processes_share_the_slots(site: Site, number: int, processes: int) -> None:
    """All of the slots are used, and never more.

    While they are taken, a run that comes now waits in vain; meanwhile all the others, too,
    have had the time to get at the scanner.
    """
    path = site.directory / "counting"
    slots = ("-n", "--slots", str(number))
    late: list[Ended] = []

    def comes_late() -> None:
        late.append(site.deliver(*slots, "--deadline", "0.1", scanners=[f"clamd:{path}"]))

    with CountingClamd(path, number, comes_late) as scanner:
        words = site.words(*slots, scanners=[f"clamd:{path}"])
        running = [site.start(words).feed() for _ in range(processes)]
        assert [each.end().status for each in running] == [0] * processes
        assert isinstance(scanner, CountingClamd)
        assert len(scanner.questions) == processes
        assert scanner.most == number
    assert len(late) == processes // number
    for ended in late:
        assert ended.output.startswith(b"4.3.2 avcheck: "), ended


def test_without_slots_all_ask_at_once(site: Site) -> None:
    """Which shows that the count above would see them."""
    with CountingClamd(site.directory / "counting", 10, lambda: None) as scanner:
        words = site.words("-n", scanners=[f"clamd:{scanner.where}"])
        running = [site.start(words).feed() for _ in range(10)]
        assert [each.end().status for each in running] == [0] * 10
        assert isinstance(scanner, CountingClamd)
        assert scanner.most == 10


def lock_files(site: Site) -> list[str]:
    return sorted(name for name in site.left if name.startswith("slot."))


@contextmanager
def taken(site: Site, number: int) -> Iterator[None]:
    """All the slots are held by this process, as by another run of avcheck."""
    # A run makes the files, so that their names are known here.
    while len(lock_files(site)) < number:
        assert site.deliver("-n", "--slots", str(number)).status == 0
    fds = [os.open(site.spool / name, os.O_RDWR) for name in lock_files(site)]
    for fd in fds:
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("number", [1, 3])
def test_the_wait_for_a_slot_is_bounded(site: Site, number: int) -> None:
    with taken(site, number):
        asked = len(site.scanner.questions)
        ended = site.deliver("--slots", str(number), "--deadline", "0.3")
        assert ended.status == 75
        assert ended.output.startswith(b"4.3.2 avcheck: ")
        assert b"slots" in ended.output
        assert len(site.scanner.questions) == asked
    assert site.deliver("--slots", str(number)).status == 0
    assert site.delivered != []


def test_without_a_deadline_the_wait_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "WAIT_MAX", 0.0)
    with Directory(os.fsencode(tmp_path)) as directory:
        forever = float("inf")
        with slots.Slot(directory, 1, forever):
            with pytest.raises(Defer, match="slots") as why, slots.Slot(directory, 1, forever):
                pass
            assert why.value.code == "4.3.2"
        with slots.Slot(directory, 1, forever):
            pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_slot_is_free_when_its_holder_is_gone(site: Site, number: int) -> None:
    scanner = site.clamd(hold="asked")
    words = site.words("-n", "--slots", "1")
    first = site.start(words).feed()
    scanner.arrived()
    second = site.start(words).feed()
    first.signal(number)
    assert first.end().status == (75 if number == signal.SIGTERM else -number)
    until(lambda: len(scanner.questions) == 2)
    scanner.release()
    assert second.end().status == 0


def test_who_waits_for_a_slot_can_be_stopped(site: Site) -> None:
    with taken(site, 1), openings(site.spool / "slot.0") as opened:
        asked = len(site.scanner.questions)
        running = site.start(site.words("--slots", "1", "-v")).feed()
        for _ in range(2):  # the second look comes after a wait
            opened()
        running.signal(signal.SIGTERM)
        ended = running.end()
        assert ended.status == 75
        assert ended.output.startswith(b"4.3.2 avcheck: stopped by signal 15")
        assert len(site.scanner.questions) == asked


def test_a_slot_is_for_the_scan_and_not_for_the_delivery(site: Site) -> None:
    server = site.smtp(hold="MAIL")
    words = site.words("--slots", "1")
    first = site.start(words).feed()
    server.arrived()
    second = site.start(words).feed()
    until(lambda: len(site.scanner.questions) == 2)
    server.release()
    assert [first.end().status, second.end().status] == [0, 0]


def test_a_slot_is_not_for_the_handler(site: Site) -> None:
    site.clamd(says=b"Eicar FOUND")
    handler = site.handler(STOP + 'rm "$1"')
    words = site.words("--slots", "1")
    first = site.start(words).feed()
    handler.arrived()
    second = site.start(words).feed()
    until(lambda: len(site.scanner.questions) == 2)
    for _ in range(2):
        handler.release()
    assert [first.end().status, second.end().status] == [0, 0]


def test_the_files_can_be_deleted_at_any_time(site: Site) -> None:
    """With a holder, with others waiting, over and over."""
    scanner = site.clamd(hold="asked")
    words = site.words("-n", "--slots", "2")
    held = [site.start(words).feed() for _ in range(2)]
    until(lambda: len(scanner.questions) == 2)
    for name in lock_files(site):
        (site.spool / name).unlink()
    scanner.release()
    running = [site.start(words).feed() for _ in range(20)]
    while any(each.process.poll() is None for each in running):
        for name in lock_files(site):
            (site.spool / name).unlink(missing_ok=True)
        os.sched_yield()
    assert [each.end().status for each in [*held, *running]] == [0] * 22


@pytest.mark.parametrize("content", [b"", b"garbage\0" * 1000])
def test_what_is_in_the_files_does_not_matter(site: Site, content: bytes) -> None:
    for number in range(2):
        (site.spool / f"slot.{number}").write_bytes(content)
    assert site.deliver("--slots", "2").status == 0
    assert {(site.spool / name).read_bytes() for name in lock_files(site)} == {content}


@pytest.mark.parametrize("what", ["directory", "link", "closed"])
def test_a_slot_that_cannot_be_opened_keeps_the_message(
    site: Site, unprivileged: Site, what: str
) -> None:
    place = unprivileged if what == "closed" else site
    if what == "directory":
        (place.spool / "slot.0").mkdir()
    elif what == "link":
        (place.spool / "slot.0").symlink_to("/nonexistent/elsewhere")
    else:
        (place.spool / "slot.0").touch(0)
    ended = place.deliver("--slots", "1")
    assert ended.status == 75
    assert ended.output.startswith(b"4.3.0 avcheck: taking a slot: ")
    assert place.scanner.questions == []


def test_the_files_are_private_and_as_many_as_slots(site: Site) -> None:
    with taken(site, 3):
        assert len(lock_files(site)) == 3
    assert {(site.spool / name).stat().st_mode & 0o7777 for name in lock_files(site)} == {0o600}


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "", "100000"])
def test_a_number_that_is_none_keeps_the_message(site: Site, number: str) -> None:
    site.assert_kept(site.deliver("--slots", number), "4.3.5", "slots")
