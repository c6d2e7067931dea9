"""The scanners: one row (in rows) and one module each.

A module begins with a docstring that shows the dialogue, and has these members:

    scan(conn, message, target) -> Finding     the dialogue, a straight line of sends and reads
    parse(...) -> Finding                      pure; CLEAN only for the exact reply that means it
    found(reply, message, target) -> Finding   pure; what an incomplete or malformed reply found

found is optional, and called when parse has refused a reply or the reply was cut.  INFECTED
is safe to take from a loose reading, CLEAN never is: parse insists on every byte and on the
end of the reply; found looks for what cannot be mistaken, and ask takes no CLEAN from it.  A
part of the reply that the sender of the message chose, such as the name of an attachment, can
make it infected at worst.

That a CLEAN is the answer to the whole message, and that nothing follows it, is checked in
one place, ask.  Where nothing marks the end of a reply (no line end, no size, no hanging up)
the module has SILENCE: after so many seconds without another byte the reply is complete, if
the daemon does not hang up when it is shown that there is no other question.

A scanner that is a program has run(message, target, deadline) in place of scan.  A module
with parameters has check(target), which raises Defer if one of them is wrong.  The module
X_Y is a part of the module X.

A scanner that does not come with avcheck is named by its module, as in
-s mysite.scanner:/run/x.sock, and has the same members.
"""

from __future__ import annotations

from sys import modules

from avcheck.scanners.rows import Row
from avcheck.verdict import INFECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol, TypeVar

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Finding, Verdict

    T = TypeVar("T", Verdict, Verdict | None)

    class Module(Protocol):
        """A scanner that is a daemon."""

        def scan(self, conn: Conn, message: Message, target: Target) -> Finding:
            """What the daemon found; raises Defer if it gives no answer."""

    class Program(Protocol):
        """A scanner that is a program."""

        def run(self, message: Message, target: Target, deadline: float) -> Finding:
            """What the program found; raises Defer if it gives no answer by the deadline."""


def lines_of(reply: bytes) -> list[bytes]:
    """The lines of a reply for found: whatever they end in, and the last one even if it is cut."""
    return reply.replace(b"\r", b"\n").replace(b"\0", b"\n").split(b"\n")


def class_of_name(name: bytes, classes: Iterable[tuple[bytes, Verdict]]) -> Verdict:
    """What a signature's name means: the first beginning that it has; INFECTED if it has none."""
    for beginning, verdict in classes:
        if name.startswith(beginning):
            return verdict
    return INFECTED


def class_of_text(text: bytes, classes: Iterable[tuple[bytes, T]], otherwise: T) -> T:
    """What a description means: the first phrase (in lower case) that is in it, in any case."""
    lower = text.lower()
    for phrase, verdict in classes:
        if phrase in lower:
            return verdict
    return otherwise


def load(row: Row) -> Module | Program:
    """The module of the row; raises ImportError when it is not installed."""
    name = row.module if "." in row.module else "avcheck.scanners." + row.module
    __import__(name)  # importlib.import_module does no more, and takes 0.3 ms to import
    module: Module | Program = modules[name]
    return module
