"""Every scanner is asked, all at the same time; one that cannot answer has FAILED."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask, scanners
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import BROKEN, CONFIG, EXPIRED, SILENT, Defer, Stopped
from avcheck.scanners.rows import SCANNERS
from avcheck.seen import FRONT
from avcheck.settings import Settings
from avcheck.spool import Message
from avcheck.verdict import (
    CLEAN,
    FAILED,
    INFECTED,
    Answer,
    Finding,
)
from tests.support.fakes import FakeClamd
from tests.support.wire import MESSAGE, PATIENCE, settings, spooled


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    (tmp_path / "spool").mkdir(mode=0o700)
    with spooled(tmp_path / "spool") as letter:
        yield letter


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[..., FakeClamd]]:
    """Makes daemons, which are stopped in the end."""
    with contextlib.ExitStack() as stack:
        numbers = iter(range(100))

        def make(**how: object) -> FakeClamd:
            path = tmp_path / f"clamd{next(numbers)}"
            daemon = FakeClamd(path, **how)  # type: ignore[arg-type]
            stack.callback(daemon.stop)
            return daemon

        yield make


def asking(*scanners: str, more: tuple[str, ...] = ()) -> Settings:
    """Settings that ask these scanners and no other."""
    words = [word.encode() for scanner in scanners for word in ("-s", scanner)]
    found = settings(*words, *[word.encode() for word in more])
    found.scanners = found.scanners[1:]  # the first is settings' own
    found.need = len(found.scanners)
    return found


def every(message: Message, how: Settings, seconds: float = PATIENCE) -> list[Answer]:
    return ask.ask_each(how.scanners, message, how, monotonic() + seconds)


def test_an_answer_says_who_found_it_where_and_in_what_time(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    daemon = daemons(says=b"Eicar FOUND")
    (answer,) = every(message, asking(f"clamd:{daemon.where}"))
    assert (answer.finding.verdict, answer.finding.names) == (INFECTED, ("Eicar",))
    assert (answer.scanner, answer.where) == ("clamd", daemon.where)
    assert 0 < answer.seconds < PATIENCE
    assert daemon.questions[0].content == FRONT + MESSAGE


def test_the_place_that_answered_is_named(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    daemon = daemons()
    (answer,) = every(message, asking(f"clamd:/nonesuch,{daemon.where},/other"))
    assert (answer.finding.verdict, answer.where) == (CLEAN, daemon.where)


def test_each_place_is_asked_in_its_own_way(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    """The way follows from the place that answered, not from the first one."""
    tcp = FakeClamd(None)
    try:
        (answer,) = every(message, asking(f"clamd:/nonesuch,{tcp.where}"))
    finally:
        tcp.stop()
    assert answer.finding.verdict is CLEAN
    assert tcp.questions[0].way == "INSTREAM"


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ({"reply": b"what\0"}, BROKEN, "unexpected reply 'what'"),
        ({"reply": b""}, BROKEN, "without an answer"),
        ({"hangs_up": True}, BROKEN, "without an answer"),
    ],
)
def test_a_daemon_that_makes_no_sense_has_failed(
    message: Message,
    daemons: Callable[..., FakeClamd],
    how: dict[str, object],
    code: str,
    said: str,
) -> None:
    daemon = daemons(**how)
    (answer,) = every(message, asking(f"clamd:{daemon.where}"))
    assert (answer.finding.verdict, answer.finding.code) == (FAILED, code)
    assert answer.finding.text.startswith(f"{daemon.where}: ")
    assert said in answer.finding.text
    assert (answer.scanner, answer.where) == ("clamd", daemon.where)


def test_a_daemon_that_is_not_there_has_failed(message: Message) -> None:
    (answer,) = every(message, asking("clamd:/nonesuch,/other"))
    assert (answer.finding.verdict, answer.finding.code) == (FAILED, SILENT)
    assert "/nonesuch: connect" in answer.finding.text
    assert "/other: connect" in answer.finding.text
    assert answer.where == "/nonesuch, /other"


def test_a_daemon_that_is_silent_has_failed(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    daemon = daemons(hold="asked")
    (answer,) = every(message, asking(f"clamd:{daemon.where}"), 0.05)
    assert (answer.finding.verdict, answer.finding.code) == (FAILED, EXPIRED)


def test_a_daemon_that_says_ok_with_our_words_unread_has_failed(
    message: Message, tmp_path: Path
) -> None:
    """It cannot have seen the whole message."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "hasty"))
        server.listen()

        def hasty() -> None:
            client, _ = server.accept()
            with client:
                client.recv(10)  # and leaves the rest
                client.sendall(b"stream: OK\0")

        thread = threading.Thread(target=hasty)
        thread.start()
        (answer,) = every(message, asking(f"clamd+stream:{tmp_path}/hasty"))
        thread.join(PATIENCE)
    assert answer.finding.verdict is FAILED


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("way", ["clamd", "clamd+path"])
def test_a_daemon_that_says_ok_before_it_is_asked_has_failed(
    tmp_path: Path, way: str, reads: bool
) -> None:
    """By descriptor and by path as well: it is no answer to our question."""
    ours, theirs = socket.socketpair()

    def finish() -> None:
        with theirs:
            if reads:
                theirs.recv(1 << 16)

    thread = threading.Thread(target=finish)
    with spooled(tmp_path, named=True) as letter:
        theirs.sendall(b"fd[10]: OK\0" if way == "clamd" else letter.path + b": OK\0")
        (target,) = asking(f"{way}:/run/x").scanners[0].targets
        link = Conn(ours, Address(path=b"/run/x"), monotonic() + PATIENCE)
        link.watch(0)
        thread.start()
        with link, pytest.raises(Defer, match="said it is clean"):
            ask.dialogue(scanners.load(SCANNERS["clamd"]), link, letter, target)
        thread.join(PATIENCE)


# Scanners of somebody else.


def module(monkeypatch: pytest.MonkeyPatch, **members: object) -> str:
    """A module that is a scanner; returns its name."""
    found = types.ModuleType("my.scanner")
    vars(found).update(members)
    monkeypatch.setitem(sys.modules, "my", types.ModuleType("my"))
    monkeypatch.setitem(sys.modules, "my.scanner", found)
    return "my.scanner"


def test_a_module_that_is_not_installed_has_failed(message: Message) -> None:
    (answer,) = every(message, asking("no.such.module:/x"))
    assert (answer.finding.verdict, answer.finding.code) == (FAILED, CONFIG)
    assert "not installed" in answer.finding.text


def test_a_module_that_says_nothing_understandable_has_failed(
    message: Message, daemons: Callable[..., FakeClamd], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(conn: object, message: object, target: object) -> Finding:
        raise Defer("is confused", BROKEN)

    name = module(monkeypatch, scan=scan)
    (answer,) = every(message, asking(f"{name}:{daemons().where}"))
    assert (answer.finding.verdict, answer.finding.code, answer.scanner) == (FAILED, BROKEN, name)


# Several at the same time.


def test_all_are_asked_at_the_same_time_and_answer_in_their_order(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    slow, fast = daemons(says=b"Slow FOUND", hold="asked"), daemons(says=b"Fast FOUND")

    def release() -> None:
        fast.arrived("asked")
        slow.release()

    thread = threading.Thread(target=release)
    thread.start()
    answers = every(message, asking(f"clamd:{slow.where}", f"clamd:{fast.where}"))
    thread.join(PATIENCE)
    assert [answer.finding.names for answer in answers] == [("Slow",), ("Fast",)]
    assert [answer.where for answer in answers] == [slow.where, fast.where]


def test_without_a_deadline_all_are_waited_for(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    places = [f"clamd:{daemons().where}" for _ in range(3)]
    answers = every(message, asking(*places), float("inf"))
    assert [answer.finding.verdict for answer in answers] == [CLEAN] * 3


@pytest.mark.parametrize("bug", [KeyError("x"), SystemExit(0), AssertionError()])
def test_a_bug_in_one_is_a_failure_of_that_one(
    message: Message,
    daemons: Callable[..., FakeClamd],
    monkeypatch: pytest.MonkeyPatch,
    bug: BaseException,
) -> None:
    def scan(conn: object, message: object, target: object) -> Finding:
        raise bug

    name = module(monkeypatch, scan=scan)
    daemon = daemons()
    answers = every(message, asking(f"{name}:{daemon.where}", f"clamd:{daemon.where}"))
    assert [answer.finding.verdict for answer in answers] == [FAILED, CLEAN]
    assert answers[0].finding.text.startswith(f"bug: {type(bug).__name__}")
    assert answers[0].scanner == name


def test_who_is_silent_or_does_not_look_at_the_clock_does_not_take_the_others_with_it(
    message: Message, daemons: Callable[..., FakeClamd], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = threading.Event()

    def scan(conn: object, message: object, target: object) -> Finding:
        stuck.wait(PATIENCE)
        return Finding(CLEAN)

    name = module(monkeypatch, scan=scan)
    silent, good = daemons(hold="connected"), daemons()
    places = (f"clamd:{silent.where}", f"{name}:{good.where}", f"clamd:{good.where}")
    answers = every(message, asking(*places), 1.0)
    stuck.set()
    assert [answer.finding.verdict for answer in answers] == [FAILED, FAILED, CLEAN]
    assert [answer.scanner for answer in answers] == ["clamd", name, "clamd"]
    assert [answer.finding.code for answer in answers[:2]] == [EXPIRED, EXPIRED]


def test_a_signal_is_not_one_scanner_s_failure(
    message: Message, daemons: Callable[..., FakeClamd], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(conn: object, message: object, target: object) -> Finding:
        raise Stopped("stopped by signal 15")

    name = module(monkeypatch, scan=scan)
    with pytest.raises(Stopped):
        every(message, asking(f"{name}:{daemons().where}"))


# Enough of them.


def verdicts(message: Message, how: Settings) -> list[tuple[str, str]]:
    answers = ask.ask_scanners(message, how, monotonic() + PATIENCE)
    return [(answer.finding.verdict.name, answer.where) for answer in answers]


def test_backups_are_asked_only_for_who_failed(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    good, first, second = daemons(), daemons(), daemons(says=b"Eicar FOUND")
    backups = ("--backup", f"clamd:{first.where}", "--backup", f"clamd:{second.where}")
    assert verdicts(message, asking(f"clamd:{good.where}", more=backups)) == [("clean", good.where)]
    assert first.questions == second.questions == []

    how = asking(f"clamd:{good.where}", "clamd:/nonesuch", more=backups)
    assert verdicts(message, how) == [
        ("clean", good.where),
        ("failed", "/nonesuch"),
        ("clean", first.where),
    ]

    how.need = 3
    assert [verdict for verdict, _ in verdicts(message, how)] == [
        "clean",
        "failed",
        "clean",
        "infected",
    ]


def test_the_timeout_is_for_the_scanners_and_again_for_the_backups(
    message: Message, daemons: Callable[..., FakeClamd]
) -> None:
    silent, backup = daemons(hold="asked"), daemons()
    how = asking(f"clamd:{silent.where}", more=("--backup", f"clamd:{backup.where}", "-t", "1"))
    assert verdicts(message, how) == [("failed", silent.where), ("clean", backup.where)]
