"""A Debian machine with Postfix as the package leaves it, on which the page was followed."""

from __future__ import annotations

import json
import mailbox
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

from tests.live.debian import COMMON, Debian
from tests.live.recipe import DOCUMENT, blocks
from tests.support.letters import token
from tests.support.servers.machine import HOSTNAME, Layer

ANSWERS = f"""\
postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string {HOSTNAME}
"""

SOCKET_UNIT = "/etc/systemd/system/clamav-daemon.socket.d/avcheck.conf"

# Everything in the queue is tried every second, and bounces after some of them.
BRIEF = {
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
    "maximal_queue_lifetime": "3s",
    "bounce_queue_lifetime": "3s",
}

# send.py SENDER RECIPIENT...: a message by SMTP to port 25; says the last reply.
SEND = """\
import smtplib, sys
message = sys.stdin.buffer.read()
options = [] if message.isascii() else ["BODY=8BITMIME"]
addresses = sys.argv[1:]
if not "".join(addresses).isascii():
    options.append("SMTPUTF8")
with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
    client.command_encoding = "utf-8"
    client.ehlo()
    reply = client.mail(addresses[0], options)
    for address in addresses[1:]:
        reply = client.rcpt(address) if reply[0] == 250 else reply
    reply = client.data(message) if reply[0] == 250 else reply
print(*reply)
"""


def layer() -> Layer:
    """The packages, Postfix as an Internet Site."""
    return Layer(*COMMON, "postfix", answers=ANSWERS, purge="postfix")


class PostfixMachine(Debian):
    """The machine; usable inside a with statement, in which sections 2 to 7 were followed.

    before and aliases have what its configuration was before.  Its users are anna and bob.
    """

    before: dict[str, tuple[int, int, int, bytes]]
    aliases: str

    def __init__(self, layer: Layer, wheels: Path) -> None:
        super().__init__(layer, wheels)
        self._flushed = 0.0
        self.page = blocks(DOCUMENT)

    def __enter__(self) -> PostfixMachine:
        super().__enter__()
        try:
            self.put("/root/send.py", SEND)
            self.shell("useradd --create-home anna; useradd --create-home bob")
            self.append("/etc/aliases", "jürgen: bob\n")
            self.run("newaliases")
            self.before, self.aliases = self.files("/etc/postfix"), self.read("/etc/aliases")
            self.put(SOCKET_UNIT, self.page["socket.conf"])
            self.append("/etc/postfix/master.cf", self.page["master.cf"])
            self.append("/etc/postfix/main.cf", self.page["main.cf"])
            self.put("/etc/postfix/avcheck_dsn", self.page["avcheck_dsn"])
            self.run("postfix", "check")
            self.run("systemctl", "start", "postfix")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def by_sendmail(
        self, message: bytes, *recipients: str, sender: str = f"anna@{HOSTNAME}"
    ) -> bool:
        """Hand in a message by sendmail(1); whether it was taken."""
        text = message.replace(b"\r\n", b"\n")
        words = ("sendmail", "-f", sender, "-i", "--", *recipients)
        return self.attempt(*words, data=text).returncode == 0

    def by_smtp(self, message: bytes, *recipients: str, sender: str = f"anna@{HOSTNAME}") -> bool:
        """Hand in a message at port 25; whether it was taken."""
        said = self.run("python3", "/root/send.py", sender, *recipients, data=message)
        return said.startswith("250 ")

    def queue(self) -> list[dict[str, Any]]:
        """What is in the queue, as postqueue -j gives it."""
        return [json.loads(line) for line in self.run("postqueue", "-j").splitlines()]

    def flush(self) -> None:
        """Have everything tried again, once a second.

        What a delivery agent has not let go when its turn comes, qmgr(8) puts off for 5 minutes,
        whatever minimal_backoff_time says: "skipped, still being delivered".
        """
        if time.monotonic() > self._flushed + 1.0:
            self._flushed = time.monotonic()
            self.run("postqueue", "-f")

    def settle(self) -> None:
        """Wait until every message is out of the queue."""
        self.wait_until(lambda: not self.queue(), "empty queue")

    def mail(self, user: str) -> list[Message]:
        """The mailbox of a user."""
        file = self.path(f"/var/mail/{user}")
        return list(mailbox.mbox(file, create=False)) if file.exists() else []

    def copies(self, user: str, message: bytes) -> list[Message]:
        """The copies of a message in the mailbox of a user."""
        return [each for each in self.mail(user) if each["X-Token"] == token(message)]

    def reports(self, queue_id: str) -> list[Message]:
        """What postmaster was told of a message."""
        return [
            each
            for each in self.mail("root")
            if str(each["Subject"]).startswith("avcheck on") and queue_id in str(each.get_payload())
        ]

    def queue_ids(self, message: bytes) -> list[str]:
        """The queue ids that a message has had, the first one at the front door."""
        mark = f"cleanup.*: (\\w+): message-id=<{token(message)}@"
        return re.findall(mark, self.read("/var/log/syslog"))

    def outcomes(self, queue_id: str) -> list[tuple[str, str]]:
        """Recipient and status of each delivery of a message."""
        line = rf"\b{queue_id}: to=<([^>]*)>.* status=(\w+)"
        return re.findall(line, self.read("/var/log/syslog"))

    def quarantined(self, message: bytes) -> list[dict[str, Any]]:
        """The sidecars of the entries of the quarantine that hold a message."""
        mark = b"X-Token: " + str(token(message)).encode()
        return [
            json.loads((file.parent / "about.json").read_text())
            for file in self.path("/var/spool/avcheck/quarantine").glob("2*/message")
            if mark in file.read_bytes()
        ]

    @contextmanager
    def settings(self, **values: str) -> Iterator[None]:
        """main.cf with these, for a while."""
        self.run("postconf", "-e", *(f"{name}={value}" for name, value in values.items()))
        self.run("postfix", "reload")
        try:
            yield
        finally:
            self.run("postconf", "-X", *values)
            self.run("postfix", "reload")

    @contextmanager
    def without_clamd(self) -> Iterator[None]:
        """clamd is away, for a while."""
        self.run("systemctl", "stop", "clamav-daemon")
        try:
            yield
        finally:
            self.run("systemctl", "start", "clamav-daemon")
            self.wait_until(lambda: self.path("/run/clamav/clamd.ctl").is_socket(), "clamd")


WAYS: dict[str, Callable[..., bool]] = {
    "sendmail": PostfixMachine.by_sendmail,
    "smtp": PostfixMachine.by_smtp,
}
