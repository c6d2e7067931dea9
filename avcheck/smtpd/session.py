"""One connection, from the greeting to the goodbye.

Signals end it between two messages, never in one.
"""

from __future__ import annotations

import gc
from time import monotonic

from avcheck import process, report
from avcheck import run as run_
from avcheck.deliver import smtp
from avcheck.exits import HELD, Defer, Leave, Stopped
from avcheck.run import Run
from avcheck.smtpd import commands, kept, message
from avcheck.smtpd.client import Gone, Late
from avcheck.smtpd.dialogue import Dialogue
from avcheck.smtpd.events import Data, Hello, Mail, Relay
from avcheck.smtpd.hop import Hop
from avcheck.state import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from avcheck.deliver.smtp_replies import Reply
    from avcheck.settings import Settings
    from avcheck.smtpd.client import Client
    from avcheck.smtpd.events import Event

# Seconds for the client to say something, and for it to take what we say.
IDLE_MAX = 300.0

# Seconds beyond --session for a transaction that has been begun to come to DATA.
TRANSACTION_MAX = 100.0

XFORWARD = b"XFORWARD " + b" ".join(commands.XFORWARD)

# The reply to what comes after the last message of a session.
ENOUGH = b"421 4.3.2 Service closing this connection; the next one is welcome"


class Session:
    """A connection with a client, by these settings; called is the path of avcheck."""

    def __init__(self, client: Client, settings: Settings, called: bytes) -> None:
        self._client = client
        self._settings = settings
        self._called = called
        self._peer = client.peer()
        self._hop = None if settings.program else Hop(settings)
        self._dialogue = Dialogue(smtp.hello(), settings.xclient and not settings.program)
        self._ends = monotonic() + settings.session
        self._messages = 0
        self._idle = False
        self._stopped = 0  # by this signal, at the next opportunity
        self._broken = False

    @property
    def is_well(self) -> bool:
        """Whether this process may serve another one: no signal has come, and nothing broke."""
        return not (self._stopped or self._broken)

    def serve(self, stopped: int = 0) -> None:
        """Have the whole conversation; never raises."""
        process.catch_signals(self._signal)
        self._stopped = self._stopped or stopped
        run_.make_current(None)
        process.tick(1.0)
        try:
            self._converse()
        except Gone:
            if self._dialogue.transaction:
                self._log("lost connection in a transaction")
        except Leave as why:
            self._close(why)
        except BaseException as bug:
            self._broken = True
            self._close(Defer(f"bug or broken installation: {type(bug).__name__}: {bug}"))
        finally:
            if self._hop:
                self._hop.quit()

    def _converse(self) -> None:
        dialogue = self._dialogue
        while True:
            if self._stopped or self._messages >= self._settings.messages or self._over():
                dialogue.retiring = ENOUGH
            event = dialogue.next()
            if event is not None:
                self._handle(event)
                continue
            self._flush()
            if dialogue.closing:
                return
            data = self._receive()
            if not data:
                raise Gone
            dialogue.receive(data)

    def _handle(self, event: Event) -> None:
        dialogue, hop = self._dialogue, self._hop
        if isinstance(event, Hello):
            if hop:  # what XFORWARD has told it is over, too
                hop.drop()
            offered = hop.offers(self._settings.xclient) if hop else [*kept.OFFERED]
            dialogue.greet([*offered, XFORWARD], event.extended)
        elif isinstance(event, Mail):
            try:
                hold.refuse_while_paused(self._settings.waitfile)
            except Defer as why:
                dialogue.say(f"451 {why.code} {why.text}".encode())
            else:
                dialogue.allow()
        elif isinstance(event, Relay):
            dialogue.answer(hop.ask(event.commands) if hop else self._keep(event))
        elif isinstance(event, Data):
            if monotonic() < self._ends + TRANSACTION_MAX:
                self._take()
            else:  # this message might be killed with us (see --session)
                dialogue.end(ENOUGH)

    def _keep(self, event: Relay) -> list[Reply]:
        """Take the envelope, which nobody else wants to know yet."""
        transaction = self._dialogue.transaction
        known = len(transaction.recipients) if transaction else 0
        return kept.answers(event.commands, known)

    def _take(self) -> None:
        """Take a message, or say why not."""
        dialogue = self._dialogue
        run = Run(self._called, message.Origin(dialogue, self._client))
        run.transaction = self._hop
        run.record.client = message.client_of(
            {**dialogue.client, **dialogue.attributes}, self._peer
        )
        settings = message.settings_of(self._settings, dialogue)
        run_.make_current(run)
        try:
            source = message.Source(dialogue, self._client, run)
            reply = message.check(settings, source, run, self._hop)
        finally:
            run_.make_current(None)
        if self._hop:
            self._hop.drop()
        self._messages += 1
        if reply.startswith(b"421"):
            self._broken = True
            dialogue.end(reply)
        else:
            dialogue.finish(reply)
        try:
            self._flush()
        except Leave:
            if run.handed_over is not None:
                self._log("possible duplicate: the client was gone before it heard of it")
            raise

    def _over(self) -> bool:
        return monotonic() >= self._ends

    def _flush(self) -> None:
        output, self._dialogue.output = self._dialogue.output, b""
        if output:
            self._client.write(output, monotonic() + IDLE_MAX)

    def _receive(self) -> bytes:
        """What the client says next; a signal ends the wait for it, and so does --session."""
        until = monotonic() + IDLE_MAX
        if not self._dialogue.transaction:
            until = min(until, self._ends)
        self._idle = True
        try:
            if self._stopped:
                raise Stopped(f"stopped by signal {self._stopped}", HELD)
            return self._client.read(until)
        finally:
            self._idle = False

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if number == process.ALARM:
            run_.stop_current(number, frame)
            return
        self._stopped = int(number)
        if self._idle:
            self._idle = False  # once
            raise Stopped(f"stopped by signal {int(number)}", HELD)

    def _close(self, why: Leave) -> None:
        """Say why, to the client if it is there, and to the log."""
        reply = f"421 {why.code} {why.text}".encode()
        if isinstance(why, Late) and not self._dialogue.transaction and self._over():
            reply = ENOUGH  # nothing is wrong
        else:
            self._log(reply.decode())
        self._dialogue.end(reply)
        try:
            self._flush()
        except Leave:
            return

    def _log(self, text: str) -> None:
        client = message.client_of(self._dialogue.client, self._peer)
        report.note(f"client={client}: {text}")


def serve(client: Client, settings: Settings, called: bytes, stopped: int = 0) -> Session:
    """Serve one connection; returns what it was.

    stopped is a signal that has come before: then the client only hears that.
    """
    session = Session(client, settings, called)
    session.serve(stopped)
    return session


def begin() -> None:
    """What a process does before its first session.

    Garbage collection has been off since prepare(): what is loaded stays, and what a message
    leaves behind does not.
    """
    gc.freeze()
    gc.enable()
