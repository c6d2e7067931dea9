r"""mksd, the daemon of MKS_Vir.

    C: MSQ/the/path\n
    S: OK\n                               nothing found
    S: VIR W32.Bagle /the/path\n          found
    S: ERR text\n                         could not look

Source: libmksd and Exim's client, which take any other word of three letters for a kind
of virus, and a line that begins with A for an error.

Decided: nothing marks the last line, so we close our side, and the daemon has to hang up or
be silent.
"""

from __future__ import annotations

from avcheck.exits import unexpected
from avcheck.scanners import lines_of
from avcheck.verdict import CLEAN, INFECTED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message


# Seconds of silence that end the answer of a daemon that does not hang up when we do.
SILENCE = 1.0


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask mksd about the message."""
    conn.send(b"MSQ" + message.path + b"\n")
    return parse(next(conn.lines()), message.path)


def parse(line: bytes, path: bytes) -> Finding:
    """The finding that a whole line about the path means; Defer for any other."""
    if line in (b"OK", b"OK " + path):
        return Finding(CLEAN, (), line)
    if name := _virus(line):
        return Finding(INFECTED, (name,), line)
    raise unexpected(line)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    for line in lines_of(reply):
        if name := _virus(line):
            return Finding(INFECTED, (name,), line)
    raise unexpected(reply)


def _virus(line: bytes) -> bytes:
    """The name in a line about a virus of whatever kind; empty for any other line."""
    word, _, rest = line.partition(b" ")
    kind = len(word) == 3 and word.isalpha() and word.isupper()
    return rest.partition(b" ")[0] if kind and word != b"ERR" and word[:1] != b"A" else b""
