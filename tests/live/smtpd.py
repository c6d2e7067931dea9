"""A Postfix with avcheck-smtp after the queue or before it, as docs/postfix.md has them."""

from __future__ import annotations

import signal
import smtplib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live.recipe import MailSystem
from tests.support.mta import until
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import PATIENCE, Postfix
from tests.support.servers.queue import listens

AFTER = {"main.cf": "main-smtp", "master.cf": "master-smtp", "smtp.conf": "smtp.conf"}
BEFORE = {"master.cf": "master-before", "smtp.conf": "before.conf"}

# A door that no mail is scanned behind: what comes by it shows what Postfix does by itself.
PAST = """\
127.0.0.1:{port} inet n - n - - smtpd
    -o content_filter=
    -o smtpd_proxy_filter=
"""


@dataclass(frozen=True)
class Way:
    """A Postfix that takes mail at `port`; what comes to `unfiltered` goes on without avcheck.

    `filter` is the port of avcheck-smtp, and `behind` that of the smtpd(8) behind it.
    """

    name: str
    postfix: Postfix
    port: int
    unfiltered: int
    filter: int
    behind: int

    @property
    def before(self) -> bool:
        return self.name == "before"

    def send(
        self,
        message: bytes,
        *recipients: str,
        sender: str = "anna@example.com",
        options: Sequence[str] = (),
    ) -> Sent:
        """Send a message (with CRLF); what was said to each recipient, and to the message."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as client:
            client.ehlo()
            eight = [] if message.isascii() else ["BODY=8BITMIME"]
            code, words = client.mail(sender, [*options, *eight])
            assert code == 250, words
            replies = {each: client.rcpt(each)[0] for each in recipients or ("bert@example.net",)}
            code, words = client.data(message)
        return Sent(replies, code, words.decode())


@dataclass(frozen=True)
class Sent:
    """The codes for the recipients, and the reply to the message."""

    recipients: Mapping[str, int]
    code: int
    words: str

    @property
    def queue_id(self) -> str:
        """The one of the Postfix that has taken it."""
        assert self.code == 250, self
        return self.words.rpartition("queued as ")[2]


@contextmanager
def activated(
    system: MailSystem, command: Sequence[str], port: int, *options: str
) -> Iterator[None]:
    """The command runs behind a socket on that port, as systemd has it."""
    packages.need("systemd", commands=["systemd-socket-activate"])
    activate = ["systemd-socket-activate", "--inetd", *options, "-l", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        ["runuser", "-u", system.client, "--", *activate, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        until(lambda: listens(port))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@contextmanager
def way(
    system: MailSystem,
    name: str,
    *changes: tuple[str, str],
    main: str = "",
    master: str = "",
    label: str = "",
    onward: Callable[[int], int] = lambda port: port,
) -> Iterator[Way]:
    """The way of that name, "after" or "before"; changes replace words in it.

    main and master are more of main.cf and of master.cf; onward gives the port that avcheck-smtp
    passes mail on to, for the one that takes it.
    """
    before = name == "before"
    filter_, behind, past = free_port(), free_port(), free_port()
    label = label or f"smtpd-{name}"
    names = {
        "sendmail 127.0.0.1:10026": f"sendmail 127.0.0.1:{onward(behind)}",
        "127.0.0.1]:10025": f"127.0.0.1]:{filter_}",
        "127.0.0.1:10025": f"127.0.0.1:{filter_}",
        "127.0.0.1:10026": f"127.0.0.1:{behind}",
        "/etc/avcheck/": f"{system.directory}/{label}/config/",
    }
    more = {"master.cf": PAST.format(port=past) + master, "main.cf": main}
    port = free_port()
    if before:
        names["smtp      inet"] = f"127.0.0.1:{port} inet"
        # Nothing of Postfix is there in a chroot of a test.
        names["       y       "] = "       n       "
        more["master.cf"] += system.blocks["master-door"]
    with system.postfix(
        label, *changes, blocks=BEFORE if before else AFTER, more=more, names=names
    ) as postfix:
        front = port if before else postfix.port
        yield Way(name, postfix, front, past, filter_, behind)
        system.settle(postfix)
