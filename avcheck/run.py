"""One run: what belongs to one message, and travels with it from main to the report.

By which name we were called and by whom, how long it may take, who has the message, and
what the report will contain.  Signals belong to the process; they end the current run.

A signal only raises; the with blocks and the one way out (__main__) that the exception
passes do the cleaning.  It raises once: after that the cleaning is not disturbed.
"""

from __future__ import annotations

from time import monotonic

from avcheck import process
from avcheck.caller import Caller
from avcheck.exits import EXPIRED, HELD, Defer, Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Protocol

    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer

    class Origin(Protocol):
        """Who gave us the message, and is to hear what becomes of it."""

        who: str

        def is_gone(self) -> bool:
            """Whether he will not hear of it."""

        def close(self) -> None:
            """Let go of what is needed to tell."""

    class Transaction(Protocol):
        """A transaction that is open at the next hop, which knows the envelope already."""

        def send(self, message: Message, header: bytes, run: Run) -> str:
            """Hand the message on in it; returns the server's name and its words."""

        def drop(self) -> None:
            """End it without the message."""


# Seconds that the alarm comes after the deadline: code with its own deadline gives a
# better reason.
GRACE = 1.0

# The run that signals end; __main__ asks it what to leave with after a bug.
current: Run | None = None


class Record:
    """What is known about the run so far, for the log and the counters."""

    __slots__ = ("action", "answer", "answers", "began", "client", "settings", "size", "steps")

    def __init__(self) -> None:
        self.began = monotonic()
        self.client = ""
        self.settings: Settings | None = None
        self.size = -1
        self.answers: list[Answer] = []
        self.answer: Answer | None = None
        self.action = ""
        self.steps: list[bytes] = []


class Run:
    """The run of one message.

    called is the path that avcheck was called by, caller who gave us the message, transaction
    what is open at the next hop for it, if anything is, and deadline the moment (time.monotonic
    seconds) for all of it.  committed: the receiver may have the message, so only its reply
    counts.  handed_over: the exit status, once the receiver has it.
    """

    __slots__ = (
        *("_stopped", "called", "caller", "committed", "deadline", "handed_over", "record"),
        "transaction",
    )

    def __init__(self, called: bytes = b"", caller: Origin | None = None) -> None:
        self.called = called
        self.caller = caller or Caller()
        self.transaction: Transaction | None = None
        self.deadline = float("inf")
        self.record = Record()
        self.handed_over: int | None = None
        self.committed = False
        self._stopped = False

    def begin(self) -> None:
        """Be the current run: a signal that ends a process raises Stopped from now on."""
        make_current(self)
        process.catch_signals(stop_current)

    def limit(self, seconds: float) -> None:
        """Set the deadline, so many seconds after the beginning, which the alarm sees to."""
        self.deadline = self.record.began + seconds
        process.tick(seconds + GRACE)

    def stop(self, number: int) -> None:
        """Raise Stopped for the signal, unless the answer alone counts or it has been raised.

        The alarm comes each second, and is one only after the deadline.
        """
        if self.committed or self._stopped:
            return
        if number == process.ALARM and monotonic() < self.deadline + GRACE:
            return
        self._stopped = True
        if number == process.ALARM:
            raise Stopped("the time for the whole run is up (--deadline)", EXPIRED)
        raise Stopped(f"stopped by signal {int(number)}", HELD)

    def require_caller(self) -> None:
        """Raise Defer if who called us is gone; to be asked before what cannot be undone."""
        if self.caller.is_gone():
            raise Defer(f"{self.caller.who} is gone; the message may be cut short")

    def caller_gone_note(self) -> str:
        """What to add to the report of a run that ends well, if its caller will not hear of it."""
        if self.caller.is_gone():
            return f"; possible duplicate: {self.caller.who} is gone"
        return ""

    def commit(self) -> None:
        """Ignore signals from now on: the message may be queued on the other side.

        A signal must not turn a yes into a second delivery.  What still ends the wait
        for the answer is the deadline of the connection or of the child.
        """
        self.committed = True

    def mark_handed_over(self, status: int) -> None:
        """Somebody else has the message: leave with this status, even if it is by a bug."""
        self.committed = True
        self.handed_over = status

    def mark_in_doubt(self) -> None:
        """What was taken for a yes has been contradicted: nobody knows who has the message."""
        self.handed_over = None

    @property
    def in_doubt(self) -> bool:
        """Whether somebody else may have the message, and nobody knows."""
        return self.committed and self.handed_over is None


def make_current(run: Run | None) -> None:
    """The run that signals end from now on; None between two messages."""
    global current
    current = run


def stop_current(number: int, frame: FrameType | None) -> None:
    """What a signal does."""
    if current is not None:
        current.stop(number)
