"""The scanners: one row and one module each.

A module has these members:

    scan(conn, message, target) -> Finding   the dialogue, a straight line of sends and reads
    parse(...) -> Finding                    pure; CLEAN only for the exact words that mean it

and mostly a third, for an answer that parse has refused or that did not come to its end:

    found(reply, message, target) -> Finding   pure; what it has found all the same

The rule for both: INFECTED is safe to take from a loose reading, and CLEAN never is.  So
parse demands every word and every end, and found reads what was said, of whatever length and
however it is spaced, for what cannot be mistaken (and whatever it says, ask takes no CLEAN
from it).  The words of an answer that a stranger chose, as the name of a member, can make
it infected at worst.

Whether an answer was the answer to the whole message, and all of the answer, is seen to in one
place, by ask.  A module whose answers nothing ends, neither a mark nor a size nor that the
daemon hangs up, says so by SILENCE: how many seconds without another word are an end, if
the daemon does not hang up when it is shown that there is no other question.

A module begins with a docstring that shows the dialogue.  (A scanner that is a program
and not a daemon has run(message, target, deadline) in place of scan.)  One whose parameters
can be wrong has check(target), which raises Defer then.  A row is strings only; the
module is imported when the row is used.  X_Y is a part of the module X.

Another's scanner is named by its module, as in -s mysite.scanner:/run/x.sock, and
has the same members.
"""

from __future__ import annotations

from sys import modules

from avcheck.scanners.rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Finding

    class Module(Protocol):
        """A scanner that is a daemon."""

        def scan(self, conn: Conn, message: Message, target: Target) -> Finding:
            """What the daemon at the other end of conn says; raises Defer if it says nothing."""

    class Program(Protocol):
        """A scanner that is a program."""

        def run(self, message: Message, target: Target, deadline: float) -> Finding:
            """What the program says until the deadline; raises Defer if it says nothing."""


def lines_of(reply: bytes) -> list[bytes]:
    """The lines of a reply for a second reading, whatever they end in, cut ones included."""
    return reply.replace(b"\r", b"\n").replace(b"\0", b"\n").split(b"\n")


def load(row: Row) -> Module | Program:
    """The module of the row; raises ImportError when it is not installed."""
    name = row.module if "." in row.module else "avcheck.scanners." + row.module
    __import__(name)  # importlib.import_module does no more, and takes 0.3 ms to import
    module: Module | Program = modules[name]
    return module
