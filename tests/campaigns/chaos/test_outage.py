"""The scanner is away for a while: thousands of messages wait, and then all of them arrive, once.

A few dozen in `make check`, three for each message of `make chaos`.
"""

from __future__ import annotations

import os
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.live.recipe import BOUNCED, MailSystem
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.postfix import Postfix

COUNT = 3 * sweeps.messages(20)

# One in so many has a virus.
INFECTED = 20

# So many clients send at a time.
CLIENTS = 4

# What the service `avcheck` of docs/postfix.md may run at a time.
PROCESSES = 10

# A run takes far less than a second, even on a busy machine.
PATIENCE = 60.0 + COUNT * 0.3


def send(port: int, messages: Sequence[bytes]) -> None:
    """Have all of them accepted, by several clients at a time."""
    failed: list[Exception] = []

    def client(mine: Sequence[bytes]) -> None:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as line:
                for message in mine:
                    line.sendmail("anna@example.com", ["bert@example.net"], message)
        except (OSError, smtplib.SMTPException) as why:
            failed.append(why)

    threads = [
        threading.Thread(target=client, args=(messages[number::CLIENTS],))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def runs_of(program: Path) -> int:
    """How many messages are in the hands of this program at the moment."""
    queue_ids = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        # Not its children, of which one may still have its words, nor those of its handler.
        if os.fsencode(program) in words[:3] and b"--queue-id" in words:
            queue_ids.add(words[words.index(b"--queue-id") + 1])
    return len(queue_ids)


class Watch:
    """Looks, in the with block, how many runs there are at a time: `most` at the end."""

    def __init__(self, program: Path) -> None:
        self.most = 0
        self._program = program
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, runs_of(self._program))


@contextmanager
def away(mail_system: MailSystem) -> Iterator[None]:
    """The scanner is stopped in the with block."""
    mail_system.clamd.stop()
    try:
        yield
    finally:
        mail_system.clamd.start()


def account(mail_system: MailSystem, postfix: Postfix, messages: Sequence[bytes]) -> None:
    """Show that each message is where it belongs, once, and nothing else anywhere."""
    postfix.wait_until(
        lambda: postfix.queue_length("incoming", "active", "deferred") == 0,
        "an empty queue",
        PATIENCE,
    )
    assert not BOUNCED.search(postfix.log)
    arrived = Counter(token(each.data) for each in mail_system.sink.messages)
    stored = Counter(
        token(message.read_bytes()) for message in mail_system.quarantine.glob("[!.]*/message")
    )
    for message in messages:
        infected = message.startswith(b"From:") and b"multipart/mixed" in message
        places = (arrived[token(message)], stored[token(message)])
        assert places == ((0, 1) if infected else (1, 0)), (places, message[:500])
    assert postfix.queue() == []
    assert mail_system.left_behind() == []


def mixed(count: int) -> list[bytes]:
    """So many small messages, some of them infected."""
    return [letter() if n % INFECTED else with_attachment(EICAR) for n in range(count)]


def test_what_waited_for_the_scanner_arrives_once_with_postqueue(mail_system: MailSystem) -> None:
    program = Path(mail_system.names["/opt/avcheck"], "bin", "avcheck")
    with mail_system.postfix("outage") as postfix, Watch(program) as watch:
        messages = mixed(COUNT)
        began = time.monotonic()
        with away(mail_system):
            send(postfix.port, messages)
            postfix.wait_until(
                lambda: (
                    postfix.queue_length("incoming", "active") == 0
                    and postfix.queue_length("deferred") == COUNT
                ),
                "all deferred",
                PATIENCE,
            )
            assert not any(map(mail_system.delivered, messages[:1]))
        waited = time.monotonic()
        during, watch.most = watch.most, 0
        meanwhile = letter()
        mail_system.shell("flush", postfix)
        mail_system.submit(postfix, meanwhile)
        account(mail_system, postfix, [*messages, meanwhile])
        over = time.monotonic()
        assert 1 <= during <= PROCESSES
        assert 1 <= watch.most <= PROCESSES
        tries = Counter(
            "deferred" if "status=deferred" in line else "sent"
            for line in postfix.log.splitlines()
            if " relay=avcheck, " in line
        )
        # The second time each of them is done: nothing is in the other's way.
        assert tries == {"deferred": COUNT, "sent": COUNT + 1}
        seconds = {
            "seconds until all were accepted and deferred": round(waited - began),
            "seconds until all were delivered": round(over - waited),
        }
        notes.tell("outage", {"messages": COUNT}, {**seconds, "at a time": watch.most})


def test_what_waited_for_the_scanner_arrives_once_by_itself(mail_system: MailSystem) -> None:
    """Postfix tries again by its own clock, which is made to run faster here."""
    times = "queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n"
    with mail_system.postfix("patient", more={"main.cf": times}) as postfix:
        messages = mixed(COUNT // 5)
        with away(mail_system):
            send(postfix.port, messages)
            # Each of them has been tried more than once: the pause has grown.
            postfix.wait_until(
                lambda: postfix.log.count("status=deferred") > 2 * len(messages),
                "several tries of each",
                PATIENCE,
            )
        account(mail_system, postfix, messages)
