"""Daemons that answer before they have the message: not one of them has said that it is clean.

Each clean dialogue by stream in tests/support/transcripts is played by a daemon that speaks the
last answer too soon, and then reads on as if nothing were.  So a new scanner is covered by
its transcripts.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask, order, scanners
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import BROKEN, Defer
from avcheck.scanners import icap
from avcheck.scanners.rows import SCANNERS, STREAM
from avcheck.settings import Target
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, UNSCANNABLE, Finding
from tests.support.fakes import Server
from tests.support.wire import MESSAGE, PATIENCE, spooled
from tests.unit.scanners.test_transcripts import DIALOGUES, Dialogue, pieces
from tests.unit.test_ask import asking, every

TIMES = 200

NAMES = ("clean/", "clean-lf/", "clean-preview/2")  # the preview of the first is all but one byte

PLAYED = [
    each
    for each in DIALOGUES
    if (each.way, each.verdict) == (STREAM, CLEAN) and each.id.partition("/")[2].startswith(NAMES)
]


def spoken(text: str, message: Message) -> bytes:
    return b"".join(each or b"" for each in pieces(text, message))


class Part:
    """What the daemon of a dialogue plays: its turns, and where in the last one the message is."""

    def __init__(self, dialogue: Dialogue, message: Message) -> None:
        self.turns = [(spoken(c, message), spoken(s, message)) for c, s in dialogue.turns]
        while not self.turns[-1][1]:  # the client's goodbye
            del self.turns[-1]
        question = self.turns[-1][0]
        self.end = question.index(MESSAGE[-5:]) + 5
        # Before the question, with its first byte, in the middle of the message, and with
        # the last byte but two.
        self.places = [0, 1, self.end - len(MESSAGE) // 2, self.end - 2]
        self.whole = len(question)

    def play(self, theirs: socket.socket, place: int, sip: int = 1 << 16) -> None:
        """Speak the last answer when so many bytes of its question are read."""
        with theirs:
            for number, (question, answer) in enumerate(self.turns):
                last = number == len(self.turns) - 1
                left = place if last else len(question)
                while left:
                    data = theirs.recv(left)
                    if not data:
                        return
                    left -= len(data)
                theirs.sendall(answer)
            left = self.whole - place
            while left and (data := theirs.recv(min(sip, left))):
                left -= len(data)


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    with spooled(tmp_path) as letter:
        yield letter


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for: what is known is known by the order of events."""
    monkeypatch.setattr(order, "QUIET_UNIX", 0.0)
    monkeypatch.setattr(icap, "GRACE", 0.0)


def verdict(
    dialogue: Dialogue, message: Message, place: int, sip: int = 1 << 16, watched: int = 0
) -> Finding:
    """What is made of a daemon that answers there; watched is the size to watch for."""
    ours, theirs = socket.socketpair()
    part = Part(dialogue, message)
    daemon = threading.Thread(target=part.play, args=(theirs, place, sip))
    daemon.start()
    try:
        with Conn(ours, Address(path=b"/run/eager"), monotonic() + PATIENCE) as link:
            link.watch(watched or message.seen)
            module = scanners.load(SCANNERS[dialogue.scanner])
            return ask.dialogue(module, link, message, dialogue.target)
    except Defer as why:
        return Finding(FAILED, (), why.text, why.code)
    finally:
        daemon.join(PATIENCE)


def test_every_module_that_streams_is_played() -> None:
    modules = {row.module for row in SCANNERS.values() if STREAM in row.ways}
    assert modules == {SCANNERS[dialogue.scanner].module for dialogue in PLAYED}


@pytest.mark.usefixtures("seldom_measured")
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("dialogue", PLAYED, ids=str)
def test_who_answers_first_and_reads_on_has_not_said_clean(
    dialogue: Dialogue, place: int, message: Message, no_time: None
) -> None:
    where = Part(dialogue, message).places[place]
    for _ in range(TIMES):
        assert verdict(dialogue, message, where).verdict in (FAILED, UNSCANNABLE)


@pytest.mark.parametrize("dialogue", PLAYED, ids=str)
def test_nor_has_who_reads_on_byte_by_byte(
    dialogue: Dialogue, message: Message, no_time: None
) -> None:
    where = Part(dialogue, message).places[2]
    for _ in range(TIMES):
        assert verdict(dialogue, message, where, sip=1).verdict in (FAILED, UNSCANNABLE)


@pytest.mark.parametrize("dialogue", PLAYED, ids=str)
def test_nor_has_who_answers_one_byte_before_the_end(
    dialogue: Dialogue, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is told by time; who takes none is not waited for."""
    monkeypatch.setattr(order, "QUIET_UNIX", PATIENCE)
    part = Part(dialogue, message)
    # So small a message is as long as the questions before it, at which nobody is to wait.
    watched = 1 + sum(len(question) for question, _ in part.turns[:-1])
    for _ in range(TIMES):
        finding = verdict(dialogue, message, part.end - 1, watched=watched)
        assert finding.verdict in (FAILED, UNSCANNABLE)


@pytest.mark.parametrize("dialogue", PLAYED, ids=str)
def test_who_has_all_of_it_has_said_clean(
    dialogue: Dialogue, message: Message, no_time: None
) -> None:
    """The same daemon, in time; one that counts need not wait for the sign of the end."""
    part = Part(dialogue, message)
    for _ in range(20):
        assert verdict(dialogue, message, part.whole).verdict is CLEAN


# Through the door that everybody uses.


class Hasty(Server):
    """A daemon that says yes as soon as it is asked, and then reads on, to these bytes at most."""

    def __init__(self, path: Path | None, yes: bytes, end: bytes) -> None:
        self._yes = yes
        self._end = end
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        client.recv(4)
        client.sendall(self._yes)
        while (data := client.recv(1 << 16)) and not data.endswith(self._end):
            pass


class InPieces:
    """Somebody's module, which sends the message without send_file, and in lines."""

    @staticmethod
    def scan(link: Conn, message: Message, target: Target) -> Finding:
        size = message.seen
        link.send(b"CHECK %d\n" % size)
        for line in os.pread(message.fd, size, 0).splitlines(keepends=True):
            link.send(line)
        return Finding(CLEAN, (), link.line())


class AtOnce(InPieces):
    """The same with send_file."""

    @staticmethod
    def scan(link: Conn, message: Message, target: Target) -> Finding:
        size = message.seen
        link.send(b"CHECK %d\n" % size)
        link.send_file(message.fd, 0, size)
        return Finding(CLEAN, (), link.line())


@pytest.mark.parametrize("module", [InPieces, AtOnce])
@pytest.mark.parametrize("large", [False, True])
def test_a_module_of_somebody_else_is_watched_likewise(
    module: type[InPieces], large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "QUIET_UNIX", 0.0)
    monkeypatch.setattr(scanners, "load", lambda row: module)
    (tmp_path / "spool").mkdir(mode=0o700)
    content = MESSAGE + (b"x" * 70 + b"\n") * (5_000 if large else 0)
    with (
        Hasty(tmp_path / "hasty", b"PASS\n", b"END\n") as daemon,
        spooled(tmp_path / "spool", content) as message,
    ):
        for _ in range(5 if large else TIMES):
            assert asked(message, f"some.body:{daemon.where}").text.endswith(
                "said it is clean before it had the whole question"
            )


@pytest.mark.parametrize("unix", [False, True])
def test_clamd_is_watched_by_every_way_that_streams(
    unix: bool, message: Message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "QUIET_TCP", PATIENCE)
    with Hasty(tmp_path / "hasty" if unix else None, b"stream: OK\0", bytes(4)) as daemon:
        for _ in range(TIMES):
            finding = asked(message, f"clamd+stream:{daemon.where}")
            assert (finding.verdict, finding.code) == (FAILED, BROKEN)


def asked(message: Message, scanner: str) -> Finding:
    (answer,) = every(message, asking(scanner))
    return answer.finding
