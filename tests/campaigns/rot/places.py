"""avcheck between a real daemon, which it reaches through the middle, and played others.

Scanned   a real scanner behind the middle; the mail server and the handler are played
Handed    a real mail server behind the middle; clamd is played, and finds nothing
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.campaigns.faults.scenes import wait_until_read
from tests.campaigns.rot.kinds import IDLE, SPLIT, Rot
from tests.campaigns.rot.middle import Conversation, Middle
from tests.campaigns.rot.middle import Place as Where
from tests.support.letters import EICAR
from tests.support.mta import RECIPIENT, SENDER, Ended, Running, Site, until
from tests.support.program import Program
from tests.support.servers.exim import Exim
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Received, Sink

CLEAN = b"Subject: a test\n\nHello.\n"
INFECTED = b"Subject: a test\n\n" + EICAR + b"\n"

# Seconds that avcheck waits where the rot has left nobody who would say anything.
SCAN = 1.0
WHOLE = 2.0
HASTY = ("-t", f"{SCAN:g}", "--deadline", f"{WHOLE:g}")

# What does no harm needs no haste, and then has to go well on the slowest machine.
HARMLESS = (IDLE, SPLIT)

TAKE = 'cat "$1" >"$notes/part" && rm "$1" && mv "$notes/part" "$notes/message"'

NUMBERS = itertools.count(1)


@dataclass
class Run:
    """A run and everything that came of it.

    delivered has what the mail server took, handled what the handler took.  number and
    message are its own; left is what it left in the spool.
    """

    rot: Rot | None
    number: int
    message: bytes
    ended: Ended
    conversations: list[Conversation]
    delivered: list[Received] = field(default_factory=list)
    handled: list[bytes] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def conversation(self) -> Conversation:
        """The first one, which is the one that rots."""
        return self.conversations[0]


class Place:
    """A site with its middle; run() gives avcheck a message there.  at_end closes it.

    is_brief tells that not everything is done here, for the replies are long, or the server
    takes its time; is_like_another, that only its last words differ from another one's.
    """

    def __init__(
        self,
        name: str,
        command: Path,
        directory: Path,
        daemon: Where,
        *,
        unix: bool = False,
        patience: float,
    ) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        self.name = name
        self.unix = unix
        self.site = Site([command], directory)
        self.middle = Middle(daemon, directory / "middle" if unix else None)
        self.words: Sequence[str | bytes] = ()
        self.at_end = ExitStack()
        self.at_end.enter_context(self.site)
        self.at_end.enter_context(self.middle)
        self.is_brief = False
        self.is_like_another = False
        self._patience = patience
        self._running: Running | None = None

    def message(self, number: int) -> bytes:
        """The message of a run."""
        raise NotImplementedError

    def account(self, run: Run) -> None:
        """Note what came of the message, once nobody does anything with it any more."""
        raise NotImplementedError

    def run(self, rot: Rot | None) -> Run:
        """One message, with that happening on the way."""
        number = next(NUMBERS)
        message = self.message(number)
        haste = () if rot is None or rot.kind in HARMLESS else HASTY
        command, *words = self.words
        self._running = None
        self.middle.begin(rot, self._waits, self._patience)
        self._running = self.site.start([command, *haste, *words])
        ended = self._running.end(message)
        self.site._running.clear()
        run = Run(rot, number, message, ended, self.middle.end())
        self.account(run)
        run.left = self.site.left
        for name in run.left:
            (self.site.spool / name).unlink()
        return run

    def _waits(self) -> bool:
        """Whether avcheck waits for a socket."""
        running = self._running
        return running is not None and running.is_in("poll_schedule")


class Scanned(Place):
    """The scanner is real; `scanner` is the word after -s, with an @ for the address.

    clean is what has to have arrived before a message may be delivered, all of it, and
    found what has to before the handler gets it.
    """

    def __init__(
        self,
        name: str,
        command: Path,
        directory: Path,
        daemon: Where,
        *,
        scanner: str,
        clean: bytes,
        found: bytes,
        infected: bool,
    ) -> None:
        unix = isinstance(daemon, Path)
        super().__init__(name, command, directory, daemon, unix=unix, patience=SCAN)
        self.infected = infected
        self.clean = re.compile(clean, re.DOTALL)
        self.found = re.compile(found, re.DOTALL)
        self.hop = self.site.smtp()
        self.handler = self.site.handler(TAKE)
        self.words = self.site.words(scanners=[scanner.replace("@", self.middle.address)])

    def message(self, number: int) -> bytes:
        return INFECTED if self.infected else CLEAN

    def account(self, run: Run) -> None:
        wait_until_read(self.hop)
        run.delivered = [
            Received(letter.sender, list(letter.recipients), letter.data)
            for letter in self.hop.messages
        ]
        self.hop.messages.clear()
        run.handled = taken(self.handler)


def taken(handler: Program) -> list[bytes]:
    """What the handler has taken since it was asked that the last time."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        found.append(handler.note("message"))
        (handler.path.with_name(handler.path.name + ".notes") / "message").unlink()
    return found


class MailServer(Protocol):
    """What is behind the middle, and takes mail."""

    where: tuple[str, int]

    def account(self, run: Run) -> None:
        """Note what was taken in this run, if that can be told already."""

    def account_for_all(self, runs: Sequence[Run]) -> None:
        """Note what was taken in each of the runs, if it was not noted before."""

    def is_whole(self, copy: Received, message: bytes) -> bool:
        """Whether that is the message, for whom and as it was handed on."""


class Handed(Place):
    """The mail server is real; its middle stands between it and the handing on.

    refuses tells that it says no to the final dot.
    """

    def __init__(
        self,
        name: str,
        command: Path,
        directory: Path,
        server: MailServer,
        refuses: bool = False,
    ) -> None:
        super().__init__(name, command, directory, server.where, patience=WHOLE)
        self.server = server
        self.refuses = refuses
        self.site.clamd()
        self.site.hop = ("-S", self.middle.address)
        self.words = self.site.words()

    def message(self, number: int) -> bytes:
        return b"Subject: run %08d\n\nHello.\n.\n..dots\n" % number

    def account(self, run: Run) -> None:
        self.server.account(run)


def on_the_wire(message: bytes) -> bytes:
    return message.replace(b"\n", b"\r\n")


class Sinking:
    """A sink: quick, and it tells at once what it has."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.where = ("127.0.0.1", self.sink.port)

    def account(self, run: Run) -> None:
        until(lambda: not self.sink._server._open)
        run.delivered = self.sink.take()

    def account_for_all(self, runs: Sequence[Run]) -> None:
        pass

    def is_whole(self, copy: Received, message: bytes) -> bool:
        return copy == Received(SENDER, [RECIPIENT], on_the_wire(message))


# A mail system's own trace, and the name of the message in there; what it calls the
# message in its answer, and in a bounce; and the number that the message has from here.
TRACE = re.compile(rb"Received: from [^\r]*\r\n(?:[ \t][^\r]*\r\n)*")
NAMED = re.compile(rb"^(?:Received: .*?|\s)\bid ([\w-]+)\r$", re.MULTILINE | re.DOTALL)
QUEUED = re.compile(rb"(?:queued as |OK id=)([\w-]+)")
NUMBER = re.compile(rb"Subject: run (\d{8})\r?$", re.MULTILINE)


class Queue:
    """A mail system that sends everything on to a sink, which tells what it was.

    wait_until_sent returns when it has sent on all that it has taken.
    """

    def __init__(self, port: int, sink: Sink, wait_until_sent: Callable[[], None]) -> None:
        self.where = ("127.0.0.1", port)
        self._sink = sink
        self._wait_until_sent = wait_until_sent

    def account(self, run: Run) -> None:
        pass

    def account_for_all(self, runs: Sequence[Run]) -> None:
        """By the name that it gave to the message, or else by the number in there."""
        self._wait_until_sent()
        by_name, by_number = dict[bytes, Run](), dict[bytes, Run]()
        for run in runs:
            by_number[b"%08d" % run.number] = run
            for conversation in run.conversations:
                for name in QUEUED.findall(conversation.back.said):
                    by_name[name] = run
        for copy in self._sink.take():
            found = [by_name[name] for name in NAMED.findall(copy.data) if name in by_name]
            found += [by_number[each] for each in NUMBER.findall(copy.data) if each in by_number]
            assert found, f"nobody has sent that: {copy}"
            found[0].delivered.append(copy)

    def is_whole(self, copy: Received, message: bytes) -> bool:
        wire = on_the_wire(message)
        return (
            (copy.sender, copy.recipients) == (SENDER, [RECIPIENT])
            and copy.data.endswith(wire)
            and bool(TRACE.fullmatch(copy.data.removesuffix(wire)))
        )


# A second door, where the answer to every final dot is a no.
REFUSING = """\
127.0.0.1:{port} inet n - n - - smtpd
    -o smtpd_end_of_data_restrictions=defer
"""


def settled(postfix: Postfix) -> None:
    """Return when all connections to it are over, and its queue is empty."""

    def is_over() -> bool:
        log = postfix.log
        return log.count(": connect from") == log.count(": disconnect from")

    postfix.wait_until(is_over, "all connections are over")
    postfix.wait_until(lambda: not postfix.queue(), "the queue is empty")


def sent_on(exim: Exim) -> None:
    """The same; there a bounce is queued by the run that finds its reason."""
    daemon = exim.pid
    until(lambda: not Path(f"/proc/{daemon}/task/{daemon}/children").read_text())
    exim.run_queue()
    exim.run_queue()
    assert exim.queue() == []
