"""Mail through a mail system whose queue is run by the test, and an account of all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.live.recipe import MailSystem
from tests.support.letters import token
from tests.support.servers.queue import MailServer, Waiting
from tests.support.servers.sink import Received

# The token in a queue's own file: there the lines of the header have something before them.
QUEUED = re.compile(rb"X-Token: (\w+)")

BOUNCE = re.compile(rb"^Content-Type: multipart/report", re.M | re.I)


@dataclass(frozen=True)
class Accepted:
    """A message that the mail system took the responsibility for."""

    message: bytes
    recipients: list[str]


class Through:
    """A mail system with avcheck: `front` takes mail, and `behind`, maybe the same, sends it on."""

    def __init__(self, shared: MailSystem, front: MailServer, behind: MailServer) -> None:
        self.shared = shared
        self.front = front
        self.behind = behind
        self._accepted: list[Accepted] = []
        # The next hop is shared with tests that want a bounce, and have had theirs.
        self._before = len(self.shared.sink.messages)

    def submit(
        self,
        message: bytes,
        sender: str = "anna@example.com",
        recipients: tuple[str, ...] = ("bert@example.net",),
    ) -> str:
        """Have a message accepted; its queue id.  It will have to be accounted for."""
        assert token(message), "a message without a token cannot be accounted for"
        queue_id = self.front.submit(sender, recipients, message)
        self._accepted.append(Accepted(message, list(recipients)))
        return queue_id

    def run(self) -> None:
        """Let everything be tried once, and what was handed back go on."""
        self.front.run_queue()
        self.behind.run_queue()

    def waiting(self, message: bytes) -> list[Waiting]:
        """The entries of the front queue that hold a message."""
        return [each for each in self.front.queue() if mark(each) == token(message)]

    def delivered(self, message: bytes) -> list[Received]:
        """The copies of a message that have arrived at the next hop."""
        return self.shared.delivered(message)

    def bounces(self, message: bytes) -> list[Received]:
        """The notices to a sender that a message could not be delivered."""
        sign = token(message)
        assert sign
        return [
            each
            for each in self.shared.sink.messages
            if BOUNCE.search(each.data) and sign.encode() in each.data
        ]

    def account_for(self) -> None:
        """Show that each accepted message is in one place, for every recipient, once."""
        self.run()
        assert self.behind is self.front or self.behind.queue() == []
        queued = [mark(each) for each in self.front.queue()]
        for message in self._accepted:
            reached = sorted(
                recipient.decode()
                for each in self.shared.sink.messages
                if token(each.data) == token(message.message)
                for recipient in each.recipients
            )
            stored = len(self.shared.quarantined(message.message))
            waits = queued.count(token(message.message))
            # An entry of the quarantine is for one run, which may be one recipient.
            assert reached == sorted(message.recipients) or not reached, (
                message.recipients,
                reached,
            )
            assert bool(reached) + bool(stored) + bool(waits) == 1, (
                message,
                reached,
                stored,
                waits,
            )
            assert stored in (0, 1, len(message.recipients)), (message, stored)
        ours = self.shared.sink.messages[self._before :]
        assert not [each for each in ours if BOUNCE.search(each.data)]
        assert self.shared.left_behind() == []


def unchanged(message: bytes, data: bytes) -> None:
    """Nothing but Received lines was put before the message, and nothing else was done to it."""
    assert data.endswith(message), (message[:500], data[:500])
    before = data[: -len(message)].decode()
    assert re.fullmatch(r"(Received: .*\n(\s.*\n)*){2}", before), before


def arrives(
    through: Through,
    message: bytes,
    sender: str = "anna@example.com",
    recipients: tuple[str, ...] = ("bert@example.net",),
) -> None:
    """A message is sent through and arrives, once and unchanged, envelope included."""
    through.submit(message, sender, recipients)
    through.run()
    received = through.delivered(message)
    for each in received:
        unchanged(message, each.data)
        assert each.sender.decode() == sender
    reached = sorted(to.decode() for each in received for to in each.recipients)
    assert reached == sorted(recipients)


def mark(waiting: Waiting) -> str | None:
    """The token of a message in a queue, or None."""
    found = QUEUED.search(waiting.header)
    return found[1].decode() if found else None


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with each change made; raises ValueError for words that are not in it."""
    for documented, changed in changes:
        if documented not in text:
            raise ValueError(f"{documented!r} is not in the document")
        text = text.replace(documented, changed)
    return text
