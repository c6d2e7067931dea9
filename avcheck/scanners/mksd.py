r"""mksd, the daemon of MKS_Vir.

    C: MSQ/the/path\n
    S: OK\n                               nothing found
    S: VIR W32.Bagle /the/path\n          found
    S: ERR text\n                         could not look

Source: libmksd and Exim's client, which take any other word of three letters for a kind
of virus, and a line that begins with A for an error.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, INFECTED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask mksd about the message, with what is ours before it."""
    conn.send(b"MSQ" + message.path + b"\n")
    finding = parse(conn.line().removesuffix(b"\r"))
    if finding.verdict is CLEAN and conn.pending():
        raise Defer("said more than one reply", BROKEN)
    return finding


def parse(line: bytes) -> Finding:
    """The finding that a whole line means; Defer for any other."""
    word, _, rest = line.partition(b" ")
    if word == b"OK":
        return Finding(CLEAN, (), line)
    name = rest.partition(b" ")[0]
    kind = len(word) == 3 and word.isalpha() and word.isupper()
    if name and kind and word != b"ERR" and not word.startswith(b"A"):
        return Finding(INFECTED, (name,), line)
    raise Defer(f"unexpected reply {printable(line, 200)!r}", BROKEN)
