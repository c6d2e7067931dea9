"""The storm over avcheck-smtp: behind the queue of a Postfix, and before it."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.campaigns.chaos.gate import Gate
from tests.campaigns.chaos.postfix import StormyPostfix
from tests.campaigns.chaos.storm import MailUnderTest, Storm, small_spool
from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.live.test_smtpd_outage import sessions
from tests.support.letters import token

COUNT = sweeps.messages(15)

# Of one test; it takes longer with more messages.
pytestmark = pytest.mark.timeout(300 + COUNT)

# Seconds until a client before the queue tries again, and for how long it does.
AGAIN = 0.2
PATIENCE = 120.0

# What Postfix says where it does not know what has become of a message.
UNSURE = ("possible duplicate", "message may be sent more than once", "queue file write error")


class AfterMail(StormyPostfix):
    """A Postfix that sends what is in its queue through avcheck-smtp."""

    def told_of_duplicate(self, queue_id: str) -> bool:
        lines = [line for line in self.log.splitlines() if f" {queue_id}: " in line]
        return any(words in line for line in lines for words in UNSURE)


class BeforeMail(AfterMail):
    """A Postfix that asks avcheck-smtp before it takes a message; its clients try again."""

    def __init__(self, found: Way) -> None:
        super().__init__(found.postfix)
        self._port = found.port
        self._unsure: set[str] = set()
        self.refused: set[str] = set()
        self.submit = self._submit

    def told_of_duplicate(self, queue_id: str) -> bool:
        return queue_id in self._unsure

    def _submit(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """Have it taken, or refused: by that it is known in the place of a queue ID."""
        name = token(message) or ""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            code, words = self._tried(sender, recipients, message)
            if code // 100 == 5:
                self.refused.add(name)
                assert b"5.7.1 message refused: infected" in words, words
            if code // 100 in (2, 5):
                return name
            if not code or any(each in words.decode() for each in UNSURE):
                self._unsure.add(name)
            time.sleep(AGAIN)
        raise AssertionError(f"nobody takes it: {words!r}")

    def _tried(self, sender: str, recipients: Sequence[str], message: bytes) -> tuple[int, bytes]:
        """The code for the message, 0 where it was not heard, and its words."""
        begun = False
        try:
            with smtplib.SMTP("127.0.0.1", self._port, timeout=PATIENCE) as client:
                client.ehlo()
                client.mail(sender, [] if message.isascii() else ["BODY=8BITMIME"])
                for each in recipients:
                    code, words = client.rcpt(each)
                    if code // 100 != 2:
                        return 450, words
                begun = True
                return client.data(message)
        except smtplib.SMTPDataError as why:
            return why.smtp_code, why.smtp_error if isinstance(why.smtp_error, bytes) else b""
        except (OSError, smtplib.SMTPException):
            return (0 if begun else 450), b""


class SessionStorm(Storm):
    """With sessions that are killed, and what is refused before the queue."""

    def __init__(self, system: MailSystem, mail: MailUnderTest, gate: Gate, found: Way) -> None:
        super().__init__(system, mail, gate, COUNT)
        self._way = found
        self.more = (self.kill_sessions,)

    def kill_sessions(self) -> None:
        self.happened["sessions killed"] += 1
        for pid in sessions(self._way):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def entries(self, token: str, recipients: list[str]) -> int:
        refused = isinstance(self.mail, BeforeMail) and token in self.mail.refused
        return 0 if refused else super().entries(token, recipients)

    def account(self) -> Counter[str]:
        found = super().account()
        if isinstance(self.mail, BeforeMail):
            # None of them is somewhere else.
            assert len(self.mail.refused) == sum(each.infected for each in self.sent)
            found["refused"] = found.pop("quarantined", 0)
        return found


@contextlib.contextmanager
def gated(mail_system: MailSystem, name: str) -> Iterator[tuple[Way, Gate]]:
    """That way, with a gate before the smtpd(8) that takes mail back."""
    gates: list[Gate] = []

    def gate(behind: int) -> int:
        gates.append(Gate(behind))
        return gates[0].port

    deadline = ("deadline 250", "deadline 5") if name == "after" else ("deadline 90", "deadline 5")
    with way(mail_system, name, deadline, label=f"chaos-{name}", onward=gate) as found, gates[0]:
        yield found, gates[0]


@pytest.mark.parametrize("name", ["after", "before"])
def test_sessions(mail_system: MailSystem, name: str) -> None:
    with small_spool(mail_system), gated(mail_system, name) as (found, gate):
        mail = BeforeMail(found) if found.before else AfterMail(found.postfix)
        storm = SessionStorm(mail_system, mail, gate, found)
        storm.rage()
        notes.tell(f"storm, sessions {name} the queue", storm.happened, storm.account())
        assert "status=bounced" not in mail.log
