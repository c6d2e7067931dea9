"""What every mail system does that is set up as its page says: one contract for all of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.live.recipe import MailSystem
from tests.live.test_exim import started as exim_started
from tests.live.test_sendmail import started as sendmail_started
from tests.live.through import Through, arrives, unchanged
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.exim import Exim
from tests.support.servers.postfix import Postfix
from tests.support.servers.queue import Waiting
from tests.support.servers.sendmail import Program


class PostfixServer:
    """A Postfix whose queue is run by the test, too, beside what it does by itself."""

    def __init__(self, postfix: Postfix) -> None:
        self.postfix = postfix
        self.start = postfix.start
        self.stop = postfix.stop

    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """Send a message (with CRLF) to the front door; the name that it got."""
        return self.postfix.submit(sender, recipients, message)

    def run_queue(self) -> None:
        """Have everything that is deferred tried again, and wait for the end of it."""
        self._settle()
        tries = {each.queue_id: self._tries(each.queue_id) for each in self.postfix.queue()}
        if tries:
            self.postfix.flush()
            self.postfix.wait_until(
                lambda: all(self._tries(queue_id) > count for queue_id, count in tries.items()),
                "another try of each message",
            )
            self._settle()

    def _tries(self, queue_id: str) -> int:
        return len(self.postfix.outcomes(queue_id, relay="avcheck"))

    def _settle(self) -> None:
        self.postfix.wait_until(
            lambda: all(each.queue == "deferred" for each in self.postfix.queue()), "a quiet queue"
        )

    def queue(self) -> list[Waiting]:
        """The messages in the queue, with their headers and the reasons."""
        return [
            Waiting(
                each.queue_id,
                self.postfix.command("postcat", "-hq", each.queue_id).encode()
                + "\n".join(each.reasons).encode(),
            )
            for each in self.postfix.queue()
        ]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.postfix.log


@contextmanager
def _postfix(mail_system: MailSystem, _: Path) -> Iterator[Through]:
    with mail_system.postfix("contract-postfix") as postfix:
        server = PostfixServer(postfix)
        yield Through(mail_system, server, server)


def _exim(mail_system: MailSystem, directory: Path) -> AbstractContextManager[Through]:
    return exim_started(mail_system, Exim.unpack(directory / "exim-package"), "contract-exim")


def _sendmail(mail_system: MailSystem, directory: Path) -> AbstractContextManager[Through]:
    program = Program.unpack(directory / "sendmail-package")
    return sendmail_started(mail_system, program, "contract-sendmail")


SYSTEMS: dict[str, Callable[[MailSystem, Path], AbstractContextManager[Through]]] = {
    "postfix": _postfix,
    "exim": _exim,
    "sendmail": _sendmail,
}


@pytest.fixture(scope="module", params=SYSTEMS)
def name(request: pytest.FixtureRequest) -> str:
    system: str = request.param
    return system


@pytest.fixture(scope="module")
def through(name: str, mail_system: MailSystem, open_directory: Path) -> Iterator[Through]:
    """The mail system with exactly the documented lines."""
    with SYSTEMS[name](mail_system, open_directory) as system:
        yield system


BODIES = {
    "text": letter("Hello,\n\nthis is a text.\n"),
    "dots and blank lines": letter(
        ".\n..\n.a\n\n\nFrom me\n>From x\n blank \n trailing blank \n\t\n\n.\n\n"
    ),
    "8 bits": letter(
        "Grüße, 日本語\n".encode() + "Gr\u00fc\u00dfe\n".encode("latin-1"),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ),
    "no Date, no Message-ID": re.sub(rb"(Date|Message-ID): .*\r\n", b"", letter()),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_clean_message_arrives_unchanged(through: Through, name: str, body: str) -> None:
    mark = f"X-Token: {name}".encode()  # it is the next mail system's message as well
    arrives(through, BODIES[body].replace(b"X-Token: ", mark))


# sendmail completes an address in the header.
@pytest.mark.parametrize("name", ["postfix", "exim"], indirect=True)
def test_a_from_without_a_domain_arrives_unchanged(through: Through) -> None:
    arrives(through, letter().replace(b"From: Anna <anna@example.com>", b"From: anna"))


def test_a_bounce_keeps_its_null_sender(through: Through) -> None:
    arrives(through, letter(), sender="")


ODD = ('"a b"@example.net', '"x$(id)`id`"@example.net', "a+b@example.net")
MORE_ODD = {
    "postfix": ('"a,b"@example.net',),
    "exim": ('"a,b"@example.net', "-x@example.net"),
    "sendmail": ("A.B@Example.NET", "-x@example.net"),
}


def test_odd_addresses_arrive_unchanged(through: Through, name: str) -> None:
    recipients = (*ODD, *MORE_ODD[name])
    arrives(through, letter(), sender='"two words"@example.com', recipients=recipients)


SIZES = {"postfix": 30_000_000, "exim": 10_000_000, "sendmail": 10_000_000}


def test_a_large_attachment_arrives_unchanged(through: Through, name: str) -> None:
    arrives(through, with_attachment(os.urandom(SIZES[name])))


def test_a_virus_goes_to_the_quarantine(through: Through, name: str) -> None:
    message = with_attachment(EICAR, "eicar.com")
    recipients = ["bert@example.net", "carl@example.net"]
    queue_id = through.submit(message, "", tuple(recipients))
    through.run()
    entries = through.shared.quarantined(message)
    abouts = [json.loads((entry / "about.json").read_text()) for entry in entries]
    assert {(about["queue_id"], about["sender"]) for about in abouts} == {(queue_id, "")}
    assert sorted(to for about in abouts for to in about["recipients"]) == recipients
    assert through.delivered(message) == []
    assert through.waiting(message) == []
    if name == "exim":  # as its page says
        said = rf"{queue_id}.* transport output: infected: Eicar"
        assert re.search(said, through.front.log)


def why(through: Through, name: str, queue_id: str, waiting: Waiting) -> str:
    """What the mail system says of a message that waits: Exim in its log, the others with it."""
    if name == "exim":
        return "".join(line for line in through.front.log.splitlines() if queue_id in line)
    return waiting.header.decode(errors="replace")


def test_mail_waits_for_clamd(through: Through, name: str) -> None:
    message, infected = letter(), with_attachment(EICAR)
    socket = str(through.shared.clamd.socket)
    expected = {
        "postfix": [socket],
        "exim": ["transport output: 4.4.1 ", socket, "returned 75"],
        "sendmail": ["EX_TEMPFAIL"],
    }[name]
    through.shared.clamd.stop()
    try:
        ids = [through.submit(each) for each in (message, infected)]
        through.run()
        for queue_id, each in zip(ids, (message, infected), strict=True):
            [entry] = through.waiting(each)
            said = why(through, name, queue_id, entry)
            assert [words for words in expected if words not in said] == [], said
        assert through.delivered(message) == []
    finally:
        through.shared.clamd.start()
    through.run()
    [received] = through.delivered(message)
    unchanged(message, received.data)
    assert len(through.shared.quarantined(infected)) == 1


def test_mail_waits_while_there_is_a_waitfile(through: Through) -> None:
    message = letter()
    through.shared.shell("hold")
    try:
        through.submit(message)
        through.run()
        assert len(through.waiting(message)) == 1
    finally:
        through.shared.waitfile.unlink()
    through.run()
    assert len(through.delivered(message)) == 1


def test_every_accepted_message_is_accounted_for(through: Through) -> None:
    """Must stay the last test of this module, for each mail system."""
    through.account_for()
    assert through.front.queue() == []
