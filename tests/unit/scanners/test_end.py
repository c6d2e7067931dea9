"""What follows an answer that says clean: nothing, or it is not one."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask, scanners
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import Defer
from avcheck.scanners import rows
from avcheck.scanners.rows import PATH, SCANNERS, STREAM
from avcheck.settings import Target
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, INFECTED, Finding
from tests.support.wire import PATIENCE, spooled

# Type, what it says to the question ({path} for the path), and what it says when it is clear that
# there is no other: the same again, and another line that finds something.
OPEN = {
    "fpscand": (b"0 <clean> {path}\n", b"1 <infected: A> {path}->a.zip\n"),
    "sophie": (b"0\n", b"1:A\n"),
    "mksd": (b"OK\n", b"VIR A {path}\n"),
    "avp": (b"\x30\0", b"\x34\0"),
    "aveserver": (b"220 clean\r\n", b"322-A {path}\r\n230 infected\r\n"),
}
GREETINGS = {"aveserver": b"201 hello\r\n"}


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    with spooled(tmp_path, named=True) as letter:
        yield letter


class Daemon:
    """It answers, and speaks once more when it is shown that there is no other question.

    With stays it does not hang up then.
    """

    def __init__(self, greeting: bytes, answer: bytes, more: bytes, stays: bool = False) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._theirs.sendall(greeting)
        self._answer, self._more, self._stays = answer, more, stays
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        with self._theirs as theirs:
            assert theirs.recv(1 << 16)
            theirs.sendall(self._answer)
            poll = select.poll()
            poll.register(theirs, select.POLLRDHUP)
            poll.poll(PATIENCE * 1000)
            theirs.sendall(self._more)
            if self._stays:
                self._done.wait(PATIENCE)

    def verdict(self, type_: str, message: Message) -> Finding:
        try:
            with Conn(self.ours, Address(path=b"/run/x"), monotonic() + PATIENCE) as link:
                link.watch(0)
                module = scanners.load(SCANNERS[type_])
                return ask.dialogue(module, link, message, Target(None, PATH))
        except Defer as why:
            return Finding(FAILED, (), why.text, why.code)
        finally:
            self._done.set()
            self._thread.join(PATIENCE)


def daemon(type_: str, message: Message, *, more: bytes = b"", stays: bool = False) -> Daemon:
    answer, _ = OPEN[type_]
    path = message.path
    return Daemon(
        GREETINGS.get(type_, b""),
        answer.replace(b"{path}", path),
        more.replace(b"{path}", path),
        stays,
    )


def test_every_module_whose_answers_nothing_ends_is_here() -> None:
    modules = {row.module for row in SCANNERS.values() if not row.program}
    told = {
        each
        for each in modules
        if hasattr(scanners.load(rows.Row(each, b"", b"", (), "")), "SILENCE")
    }
    assert told == set(OPEN)


@pytest.mark.parametrize("type_", OPEN)
def test_nothing_more_and_the_end(type_: str, message: Message) -> None:
    assert daemon(type_, message).verdict(type_, message).verdict is CLEAN


@pytest.mark.parametrize("type_", OPEN)
def test_the_same_again_is_another_answer(type_: str, message: Message) -> None:
    again = OPEN[type_][0]
    assert daemon(type_, message, more=again).verdict(type_, message).verdict is FAILED


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("type_", OPEN)
def test_what_is_found_later_is_found(
    type_: str, stays: bool, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanners.load(SCANNERS[type_]), "SILENCE", PATIENCE if not stays else 1.0)
    found = daemon(type_, message, more=OPEN[type_][1], stays=stays).verdict(type_, message)
    assert found.verdict is INFECTED


@pytest.mark.parametrize("type_", OPEN)
def test_who_does_not_hang_up_is_believed_after_a_silence(
    type_: str, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = scanners.load(SCANNERS[type_])
    monkeypatch.setattr(module, "SILENCE", 0.01)
    assert daemon(type_, message, stays=True).verdict(type_, message).verdict is CLEAN


def test_the_deadline_is_no_silence(message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    from avcheck.scanners import mksd

    monkeypatch.setattr(mksd, "SILENCE", float("inf"))
    with pytest.raises(Defer, match="in time"):
        ours, theirs = socket.socketpair()

        def answer() -> None:
            assert theirs.recv(1 << 16)
            theirs.sendall(b"OK\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with theirs, Conn(ours, Address(path=b"/run/x"), monotonic() + 1) as link:
            ask.dialogue(mksd, link, message, Target(None, PATH))
        thread.join(PATIENCE)


@pytest.mark.parametrize("bye", [b"200 bye\r\n", b""])
def test_aveserver_may_say_goodbye(bye: bytes, message: Message) -> None:
    assert daemon("aveserver", message, more=bye).verdict("aveserver", message).verdict is CLEAN


@pytest.mark.parametrize("more", [b"200 bye", b"200 bye\r\n200 bye\r\n", b"220 clean\r\n", b"x"])
def test_but_nothing_else(more: bytes, message: Message) -> None:
    assert daemon("aveserver", message, more=more).verdict("aveserver", message).verdict is FAILED


def test_members_are_not_the_whole(message: Message) -> None:
    from avcheck.scanners import fpscand

    about = message.path
    member = b"0 <clean> " + about + b"->a\n"
    whole = b"0 <clean> " + about + b"\n"
    assert fpscand.parse(member + whole, about).verdict is CLEAN
    assert fpscand.parse(whole + member, about).verdict is CLEAN
    for reply in (member, member + member, whole + whole, whole.rstrip(), b"", b"\n"):
        with pytest.raises(Defer):
            fpscand.parse(reply, about)


def test_fpscand_need_not_read_the_goodbye(tmp_path: Path) -> None:
    """One that hangs up after each answer leaves it in the socket."""
    ours, theirs = socket.socketpair()

    def play() -> None:
        with theirs:
            heard = b""
            while not heard.endswith(b"Bye.\n"):
                heard += theirs.recv(1 << 16)
            theirs.sendall(b"0 <clean> avcheck\n")
            assert theirs.recv(1, socket.MSG_PEEK)  # the goodbye has come

    thread = threading.Thread(target=play)
    thread.start()
    with (
        spooled(tmp_path) as message,
        Conn(ours, Address(path=b"/run/x"), monotonic() + PATIENCE) as link,
    ):
        link.watch(message.seen)
        module = scanners.load(SCANNERS["fpscand"])
        assert ask.dialogue(module, link, message, Target(None, STREAM)).verdict is CLEAN
    thread.join(PATIENCE)


def test_what_streams_has_been_read(message: Message) -> None:
    """One that answers with the message unread in its socket has not seen it."""

    class Yes:
        @staticmethod
        def scan(link: Conn, message: Message, target: Target) -> Finding:
            link.send_file(message.fd, 0, message.seen)
            return Finding(CLEAN, (), link.line())

    ours, theirs = socket.socketpair()
    theirs.sendall(b"yes\n")
    with (
        theirs,
        pytest.raises(Defer, match="has not read the whole"),
        Conn(ours, Address(path=b"/run/x"), monotonic() + PATIENCE) as link,
    ):
        ask.dialogue(Yes, link, message, Target(None, STREAM))
