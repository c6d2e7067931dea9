"""What Exim and sendmail are for a test: mail goes in by SMTP, and there is a queue."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .daemon import Daemon, output_of

# How long a mail system may take over one step of a test: it is idle but for us.
PATIENCE = 60.0


@dataclass(frozen=True)
class Waiting:
    """A message in the queue: its name there, and the queue's file with its header."""

    queue_id: str
    header: bytes


class MailServer(Protocol):
    """A private mail system that delivers only when its queue is run."""

    def start(self) -> None:
        """Start the daemon; raises RuntimeError with its words if it does not listen."""

    def stop(self) -> None:
        """Stop the daemon and wait for it."""

    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """Send a message (with CRLF) to the front door; the name that it got."""

    def run_queue(self) -> None:
        """Try every message once, whenever its next try is due, and wait for the end of it."""

    def queue(self) -> list[Waiting]:
        """The messages in the queue, with their headers."""

    @property
    def log(self) -> str:
        """What it has logged so far."""


class MailDaemon(Daemon):
    """A mail system of one program, on `port`."""

    port: int

    # What its last reply to a message says: the name that it got.
    queued_as: str

    def _words(self) -> list[str]:
        """Its program, with its own configuration."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it greets."""
        return listens(self.port)

    def command(self, *words: str) -> str:
        """Run its program with these words; raises RuntimeError unless it exits 0."""
        return output_of([*self._words(), *words])

    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """Send a message (with CRLF) to the front door; the name that it got."""
        said = submit(self.port, sender, recipients, message)
        found = re.search(self.queued_as, said)
        if found is None:
            raise RuntimeError(f"no name of a message in {said!r}")
        return found[1]


def submit(port: int, sender: str, recipients: Sequence[str], message: bytes) -> str:
    """Send a message by SMTP and return the server's last words.

    Raises smtplib.SMTPException when a recipient or the message is refused.
    """
    options = [] if message.isascii() else ["BODY=8BITMIME"]
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        client.ehlo()
        replies = [client.mail(sender, options)]
        replies += [client.rcpt(recipient) for recipient in recipients]
        replies.append(client.data(message))
    for code, text in replies:
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
    return replies[-1][1].decode(errors="replace")


def listens(port: int) -> bool:
    """Whether somebody greets on this port of 127.0.0.1."""
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE):
            return True
    except OSError:  # smtplib's own are among them
        return False
