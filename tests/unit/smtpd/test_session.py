"""A session in this process: what it does when nobody says anything, or nobody listens."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from avcheck import act, report
from avcheck.options import reading, rows
from avcheck.settings import Settings
from avcheck.smtpd import message, session
from avcheck.smtpd.client import Client
from avcheck.state import hold
from tests.support.fakes import FakeClamd, FakeSmtp
from tests.support.smtp_client import CONTENT, WIRE, Talk
from tests.support.wire import no_file

SESSION = rows.Command(rows.SMTP)
CALLED = b"/opt/avcheck/bin/avcheck"


pytestmark = pytest.mark.usefixtures("signals_as_before")


@pytest.fixture(autouse=True)
def without_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOG", "/nonesuch/log")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory with a scanner, a next hop and a spool."""
    (tmp_path / "spool").mkdir(mode=0o700)
    with FakeClamd(tmp_path / "clamd"), FakeSmtp(tmp_path / "smtp"):
        yield tmp_path


def settings(place: Path, *words: str) -> Settings:
    line = ["-s", f"clamd:{place}/clamd", "-d", f"{place}/spool", "-S", f"unix:{place}/smtp"]
    return reading.read([os.fsencode(word) for word in [*line, *words]], no_file, SESSION)


class Pair:
    """Both ends of a connection; the session runs here, the client in a thread."""

    def __init__(self, place: Path, *words: str) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.talk = Talk(self.theirs)
        self.session = session.Session(
            Client(self.ours.fileno(), self.ours.fileno()), settings(place, *words), CALLED
        )
        self.failed: list[BaseException] = []

    def play(self, client: object) -> None:
        """Serve, while the client talks; both have to come to their end."""

        def run() -> None:
            try:
                client(self.talk)  # type: ignore[operator]
            except BaseException as why:
                self.failed.append(why)
            finally:
                self.theirs.close()

        thread = threading.Thread(target=run)
        thread.start()
        self.session.serve()
        self.ours.close()
        thread.join(20)
        if self.failed:
            raise self.failed[0]


def test_a_message_is_taken(place: Path) -> None:
    def client(talk: Talk) -> None:
        talk.hello()
        assert talk.send() == b"250 2.0.0 taken\r\n"
        talk.quit()

    Pair(place).play(client)


def test_a_client_that_says_nothing_is_told_goodbye(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_MAX", 0.1)

    def client(talk: Talk) -> None:
        talk.hello()
        assert talk.hear().startswith(b"421 4.4.7 the client says nothing any more")
        talk.hung_up()

    Pair(place).play(client)


def stops_in_the_content(talk: Talk) -> None:
    """A client that is told goodbye for it."""
    talk.hello()
    talk.envelope()
    assert talk.ask(b"DATA").startswith(b"354 ")
    talk.say(b"half a mess")
    assert talk.hear().startswith(b"421 4.4.7 ")
    talk.hung_up()


def test_one_that_stops_in_the_content_is_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "SILENCE_MAX", 0.1)
    Pair(place).play(stops_in_the_content)
    assert os.listdir(place / "spool") == []


def test_the_deadline_is_for_the_content_as_well(place: Path) -> None:
    Pair(place, "--deadline", "0.2").play(stops_in_the_content)


def test_a_message_is_not_begun_long_after_the_end(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spawn(8) would kill us in it."""
    monkeypatch.setattr(session, "TRANSACTION_MAX", 0.2)

    def client(talk: Talk) -> None:
        talk.hello()
        talk.envelope()
        sleep(0.4)
        assert talk.ask(b"DATA").startswith(session.ENOUGH)
        talk.hung_up()

    Pair(place, "--session", "0.1").play(client)


def test_one_that_was_begun_before_may_end(place: Path) -> None:
    def client(talk: Talk) -> None:
        talk.hello()
        talk.envelope()
        sleep(0.2)
        assert talk.data() == b"250 2.0.0 taken\r\n"
        assert talk.hear().startswith(session.ENOUGH)

    Pair(place, "--session", "0.1").play(client)


def test_one_that_does_not_listen_is_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_MAX", 0.1)
    monkeypatch.setattr(session, "ENOUGH", b"421 enough")
    done = threading.Event()

    def client(talk: Talk) -> None:
        talk.socket.settimeout(0.5)
        try:
            while not done.is_set():
                talk.say(b"NOOP\r\n" * 10_000)
        except OSError:
            return

    Pair(place).play(client)
    done.set()


def test_one_that_says_something_now_and_then_gets_a_message_through(place: Path) -> None:
    def client(talk: Talk) -> None:
        assert talk.hear().startswith(b"220 ")
        stream = b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
        for at in range(len(stream)):
            talk.say(stream[at : at + 1])
        assert [talk.hear()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        for at in range(len(WIRE)):
            talk.say(WIRE[at : at + 1])
        assert talk.hear() == b"250 2.0.0 taken\r\n"
        talk.quit()

    Pair(place).play(client)


def test_a_bug_in_a_session_is_told_in_its_words(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("by zero\r\n550 no")

    monkeypatch.setattr(hold, "refuse_while_paused", broken)

    def client(talk: Talk) -> None:
        talk.hello()
        reply = talk.ask(b"MAIL FROM:<a@x>")
        assert reply.startswith(b"421 4.3.0 bug or broken installation: ZeroDivisionError: by zero")
        assert reply.count(b"\n") == 1
        talk.hung_up()

    Pair(place).play(client)


@pytest.mark.parametrize("taken", [False, True])
def test_a_bug_after_the_yes_is_still_a_yes(
    place: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    real = act.on

    def broken(*args: object) -> None:
        if taken:
            real(*args)  # type: ignore[arg-type]
        raise ZeroDivisionError

    monkeypatch.setattr(act, "on", broken)

    def client(talk: Talk) -> None:
        talk.hello()
        talk.envelope()
        reply = talk.data()
        assert reply.startswith(b"250 2.0.0 taken" if taken else b"421 4.3.0 bug")

    Pair(place).play(client)


def test_whom_a_message_came_from_is_one_word() -> None:
    known = {b"NAME": b"mx, evil=1", b"ADDR": b"192.0.2.1"}
    assert message.client_of(known, b"127.0.0.1") == "mx??evil=1[192.0.2.1]"
    assert message.client_of({}, b"127.0.0.1") == "unknown[127.0.0.1]"
    assert message.client_of({b"NAME": b"", b"ADDR": b""}, b"127.0.0.1") == "unknown[unknown]"


def test_a_message_of_the_suite_goes_over_the_wire_and_back() -> None:
    assert re.sub(rb"^\.", b"", WIRE, flags=re.M).removesuffix(b"\r\n") == CONTENT
