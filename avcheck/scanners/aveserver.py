r"""aveserver, the daemon of Kaspersky Anti-Virus 5 for mail and file servers.

    S: 201 1 4711 01012006 150000 5.5\r\n       any 2xx
    C: SCAN bPQRSTUW /the/path\r\n
    S: 322-EICAR-Test-File /the/path/att.zip/eicar.com\r\n     for each one found
    S: 230 File is infected\r\n

3xx lines come before the result, which is the first line of another kind.  CLEAN is 220
and no 322 before it.  The letters choose what is scanned and reported; these are Exim's
and e2guardian's.
Source: the clients of Exim, HAVP, cgpav and clapf.

Decided: the dash after a code means nothing: clients end at the first 2xx, 4xx or 5xx
line, and the vendor's sends it after 322 only.  Which letters ask for what is not known.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

LETTERS = b"bPQRSTUW"

FOUND = b"322"  # a name and an object

CLASSES: dict[bytes, Verdict] = {
    b"220": CLEAN,
    b"221": INFECTED,  # and disinfected, which we do not ask for
    b"230": INFECTED,
    b"231": INFECTED,  # and cannot be disinfected
    b"232": SUSPICIOUS,
    b"233": SUSPICIOUS,  # a warning: like a virus, but changed
    b"234": UNSCANNABLE,  # corrupt
    b"240": ENCRYPTED,
}


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask aveserver about the message, with what is ours before it."""
    greeting = conn.line()
    if not greeting.startswith(b"2"):
        raise _unexpected(greeting)
    conn.send(b"SCAN " + LETTERS + b" " + message.path + b"\r\n")
    finding = parse(_lines(conn))
    if finding.verdict is CLEAN and conn.pending():
        raise Defer("said more than one reply", BROKEN)
    return finding


def parse(lines: Iterable[bytes]) -> Finding:
    """The finding that the lines of a whole reply mean; Defer for any others."""
    names = []
    result = b""
    for line in lines:
        if line.startswith(FOUND):
            names.append(line[4:].partition(b" ")[0])
        elif not line.startswith(b"3"):
            result = line
            break
    verdict = CLASSES.get(result[:3]) if result[3:4] in (b" ", b"-", b"") else None
    if names and verdict not in (INFECTED, SUSPICIOUS):
        verdict = INFECTED
    if verdict is None:
        raise _unexpected(result)
    return Finding(verdict, tuple(names), result)


def _lines(conn: Conn) -> Iterator[bytes]:
    while True:
        yield conn.line().removesuffix(b"\r")


def _unexpected(line: bytes) -> Defer:
    return Defer(f"unexpected reply {printable(line, 200)!r}", BROKEN)
