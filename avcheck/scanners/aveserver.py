r"""aveserver, the daemon of Kaspersky Anti-Virus 5 for mail and file servers.

    S: 201 1 4711 01012006 150000 5.5\r\n       any 2xx
    C: SCAN bPQRSTUW /the/path\r\n
    S: 322-EICAR-Test-File /the/path/att.zip/eicar.com\r\n     for each one found
    S: 230 File is infected\r\n
    C: QUIT\r\n                            after a CLEAN, to know that no other result follows
    S: 200 bye\r\n

3xx lines come before the result, which is the first line of another kind.  CLEAN is 220
and no 322 before it.  The letters choose what is scanned and reported; these are Exim's
and e2guardian's.
Source: the clients of Exim, HAVP, cgpav and clapf.

Decided: the dash after a code means nothing: clients stop at the first 2xx, 4xx or 5xx
line, and the vendor's daemon sends it after 322 only.  What each letter means is not known.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer, unexpected
from avcheck.scanners import lines_of
from avcheck.verdict import ALERTS, CLEAN, ENCRYPTED, INFECTED, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

LETTERS = b"bPQRSTUW"

# Seconds of silence that end the answer of a daemon that does not hang up when told to.
SILENCE = 1.0

BYE = b"200"

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
BAD = (FOUND, *(code for code, verdict in CLASSES.items() if verdict in ALERTS))


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask aveserver about the message."""
    greeting = conn.line()
    if not greeting.startswith(b"2"):
        raise unexpected(greeting)
    conn.send(b"SCAN " + LETTERS + b" " + message.path + b"\r\n")
    finding = parse(conn.lines())
    if finding.verdict is CLEAN:
        more = conn.close(SILENCE, b"QUIT\r\n")
        if more and not (more.startswith(BYE) and more.endswith(b"\n") and more.count(b"\n") == 1):
            raise Defer("said that it is clean, and then something else", BROKEN)
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
    if names and verdict not in ALERTS:
        verdict = INFECTED
    if verdict is None:
        raise unexpected(result)
    return Finding(verdict, tuple(names), result)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    bad = [line for line in lines_of(reply) if line[:3] in BAD]
    return parse([*[line for line in bad if line.startswith(FOUND)], *bad])
