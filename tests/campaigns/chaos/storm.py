"""A thousand messages, a mail system, and everything that can go wrong around it."""

from __future__ import annotations

import contextlib
import email.utils
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.campaigns.chaos.gate import Gate
from tests.live.recipe import MailSystem
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.daemon import suspend

# How long the mail system may take to send what is left, once nothing goes wrong any more.
CALM_MAX = 240.0

# Between two messages, so that they last for as long as the troubles.
PAUSE = 0.05

# The spool directory's own file system: ten large messages do not fit.
SPOOL_SIZE = "24m"

# A copy may have been sent just before or while the mail system was stopped.
STOP_MARGIN = 3.0

BOUNCE = re.compile(rb"^Content-Type: multipart/report", re.M | re.I)
TRACE_DATE = re.compile(rb";\s+((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [^\r\n(]+)")


class MailUnderTest(Protocol):
    """What the storm needs of a mail system."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it."""

    def submit(self, sender: str, recipients: list[str], message: bytes) -> str:
        """Have a message accepted; its queue id."""

    def try_again(self) -> None:
        """Have what is in the queue tried now."""

    def waiting(self) -> list[str | None]:
        """The tokens of the messages in the queue."""

    def told_of_duplicate(self, queue_id: str) -> bool:
        """Whether the log says that this message may have been sent twice."""

    @property
    def log(self) -> str:
        """All that was logged."""


@dataclass
class Sent:
    """A message that was accepted."""

    queue_id: str
    token: str
    recipients: list[str]
    infected: bool


@dataclass
class Storm:
    """So many messages through `mail`, whose clean mail comes back through `gate`, if there is one.

    With `run_for_each_recipient` an infected message has an entry in the quarantine for each.
    """

    system: MailSystem
    mail: MailUnderTest
    gate: Gate | None
    count: int
    seed: int = 1
    run_for_each_recipient: bool = False
    sent: list[Sent] = field(default_factory=list)
    stops: list[tuple[float, float]] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    more: Sequence[Callable[[], None]] = ()

    def rage(self) -> None:
        """Send all of it, while one thing after another goes wrong; then let it calm down."""
        chance = random.Random(self.seed)
        over = threading.Event()
        accepting = threading.Lock()
        troubles = [
            self.restart_scanner,
            self.kill_scanner,
            self.fill_scanner,
            self.shut_gate,
            self.fill_spool,
            lambda: self.restart_mail(accepting),
            *self.more,
        ]
        failed: list[BaseException] = []

        def work(step: Callable[[], None]) -> threading.Thread:
            def loop() -> None:
                try:
                    while not over.is_set():
                        step()
                except BaseException as why:
                    failed.append(why)

            thread = threading.Thread(target=loop, daemon=True)
            thread.start()
            return thread

        round_of_troubles = self._rounds(troubles, over)
        threads = [work(lambda: next(round_of_troubles)()), work(self.try_again)]
        while not failed and (
            len(self.sent) < self.count or sum(self.happened.values()) < len(troubles)
        ):
            if len(self.sent) < self.count:
                with accepting:
                    self.submit(chance)
            time.sleep(PAUSE)
        over.set()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        self.calm_down()

    def _rounds(
        self, troubles: list[Callable[[], None]], over: threading.Event
    ) -> Iterator[Callable[[], None]]:
        while True:
            for trouble in troubles:
                yield trouble
                yield lambda: pause(over)

    def submit(self, chance: random.Random) -> None:
        """Have one more message accepted, of a kind that chance decides."""
        kind = chance.choices(("clean", "8-bit", "infected", "large"), (50, 25, 20, 5))[0]
        message = {
            "clean": lambda: letter(".\nHello.\n"),
            "8-bit": lambda: letter("Grüße\n", "Content-Transfer-Encoding: 8bit"),
            "infected": lambda: with_attachment(EICAR),
            "large": lambda: with_attachment(chance.randbytes(1_500_000)),
        }[kind]()
        sender = chance.choice(("", "anna@example.com", "anna@example.com"))
        recipients = [f"bert{n}@example.net" for n in range(chance.choice((1, 1, 2, 3)))]
        queue_id = self.mail.submit(sender, recipients, message)
        self.sent.append(Sent(queue_id, token(message) or "", recipients, kind == "infected"))

    def try_again(self) -> None:
        """Have what is in the queue tried."""
        # The mail system may be stopped just now.
        with contextlib.suppress(RuntimeError):
            self.mail.try_again()
        time.sleep(0.3)

    # What goes wrong, each for a moment.

    def restart_scanner(self) -> None:
        self.happened["scanner restarted"] += 1
        self.system.clamd.stop()
        self.system.clamd.start()

    def kill_scanner(self) -> None:
        self.happened["scanner killed"] += 1
        self.system.clamd.kill()
        time.sleep(0.5)
        self.system.clamd.start()

    def fill_scanner(self) -> None:
        """Nobody is served, and the queue for connections is full."""
        self.happened["scanner filled"] += 1
        pid = self.system.clamd.pid
        suspend(pid)
        guests = []
        try:
            for _ in range(300):
                guest = socket.socket(socket.AF_UNIX)
                guests.append(guest)
                guest.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    guest.connect(str(self.system.clamd.socket))
            time.sleep(1.0)
        finally:
            for guest in guests:
                guest.close()
            os.kill(pid, signal.SIGCONT)

    def shut_gate(self) -> None:
        self.happened["reinjection shut"] += 1
        assert self.gate is not None
        self.gate.shut()
        time.sleep(0.5)
        self.gate.open()

    def fill_spool(self) -> None:
        self.happened["spool full"] += 1
        filler = self.system.spool / "wait.filler"
        try:
            with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(65536))
            time.sleep(0.7)
        finally:
            filler.unlink()

    def restart_mail(self, accepting: threading.Lock) -> None:
        self.happened["mail system restarted"] += 1
        with accepting:  # what it takes while it goes down would be in doubt
            began = time.time()
            self.mail.stop()
            self.mail.start()
            self.stops.append((began - STOP_MARGIN, time.time() + STOP_MARGIN))

    def calm_down(self) -> None:
        """Wait until the mail system has sent what is left."""
        end = time.monotonic() + CALM_MAX
        while self.mail.waiting() and time.monotonic() < end:
            self.mail.try_again()
            time.sleep(0.5)

    def account(self) -> Counter[str]:
        """Where all the mail is; AssertionError unless each message is in one place.

        It is there once, but for two accidents that nobody can prevent when mail is handed
        on: the mail system was stopped between the end of a run and its note of that, or the
        line broke between the final dot and its answer, of which the log says "possible
        duplicate".  In the quarantine it is once even then.
        """
        waiting = Counter(self.mail.waiting())
        stored = Counter(
            token(message.read_bytes()) for message in self.system.quarantine.glob("[!.]*/message")
        )
        arrived: dict[str | None, Counter[str]] = {}
        dates: dict[str | None, list[float]] = {}
        for each in self.system.sink.messages:
            assert not BOUNCE.search(each.data), each.data.decode(errors="replace")
            mark = token(each.data)
            arrived.setdefault(mark, Counter()).update(to.decode() for to in each.recipients)
            dates.setdefault(mark, []).append(_handed_back(each.data))
        found: Counter[str] = Counter()
        for sent in self.sent:
            reached = arrived.get(sent.token, Counter())
            copies = max(reached.values(), default=0)
            fact = (sent, dict(reached), stored[sent.token], waiting[sent.token])
            if copies > 1:
                found["delivered twice"] += 1
                named = self.mail.told_of_duplicate(sent.queue_id)
                found["of these named in the log"] += named
                assert named or self._stopped(dates[sent.token]), (
                    fact,
                    dates[sent.token],
                    self.stops,
                )
            if sent.infected:
                assert not reached, fact
            if waiting[sent.token]:
                found["queued"] += 1
                continue
            if sent.infected:
                found["quarantined"] += 1
                # A second try finds what the first has stored, whatever has stopped that.
                assert stored[sent.token] == self.entries(sent.token, sent.recipients), fact
            else:
                found["delivered"] += 1
                assert sorted(reached) == sorted(sent.recipients), fact
                assert not stored[sent.token], fact
        assert self.system.left_behind() == []
        return found

    def entries(self, token: str, recipients: list[str]) -> int:
        """How many entries in the quarantine an infected message has."""
        return len(recipients) if self.run_for_each_recipient else 1

    def _stopped(self, dates: list[float]) -> bool:
        # Dates are in whole seconds.
        return any(first < date + 1 and date < last for date in dates for first, last in self.stops)


def pause(over: threading.Event) -> None:
    """A moment in which nothing goes wrong, unless all is over."""
    over.wait(0.5)


def _handed_back(data: bytes) -> float:
    """When the mail system got a message back: the date of its last Received line."""
    dates = TRACE_DATE.findall(data)
    return email.utils.parsedate_to_datetime(dates[0].decode()).timestamp() if dates else 0.0


@contextlib.contextmanager
def small_spool(system: MailSystem) -> Iterator[None]:
    """The spool directory is a small file system of its own, where that is permitted."""
    spool: Path = system.spool
    status = spool.stat()
    options = f"size={SPOOL_SIZE},mode=0710,uid={status.st_uid},gid={status.st_gid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(spool)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        raise RuntimeError(f"a small spool directory cannot be mounted: {mounted.stderr!r}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(spool)], check=True)
