r"""AVP, kavdaemon of Kaspersky Anti-Virus 3 and 4: the scanner that avcheck was made for.

    C: <0>Nov 21 09:58:15:/the/path       the date is fifteen characters of ctime(3)
    S: 0x30 0x00                          nothing found
    S: 0x34 0x01 0x29 0 0 0 /the/path infected: EICAR-Test-File\r\n

No greeting, no end of line.  The first byte of the answer is the program's exit status and
0x30 (so it is mostly a digit); if the second is 1, a report follows after its size.  All
integers are those of the daemon's processor, and the processor is ours, for it reads our
file.

Low half of the status: 0 nothing, 1 not completed, 2 a changed or damaged virus, 3
suspicious, 4 a known virus, 5 disinfected, 6 deleted, 7 the daemon itself is damaged, 8 a
corrupt object, 15 it wants to be told whether to disinfect.  High half: 1 the key file is
missing or has expired, 4 no databases, 8 damaged databases.

Sources: Kaspersky Lab's own client library (kavclient.c, BSD licence, 2002), which sends
the path in this form, writes no NUL after it, and takes 0x30 off the first byte; Kaspersky
Anti-Virus for FreeBSD, User Guide, 15.6 "Scanner and Daemon: exit codes".  Exim sends
the day before the month, a directory and a NUL; cgpav puts the path between bytes 0xFE
with switches.

Decided: the library's form.  5 and 6 are INFECTED: the daemon must not change the message
(start it without -I1 to -I3), and cannot, having no permission to write.

Decided: nothing marks the last answer, so we close our side, and the daemon has to hang up
or be silent.

The path has to be within what the daemon may scan.
"""

from __future__ import annotations

from sys import byteorder
from time import ctime

from avcheck.exits import BROKEN, CONFIG, Defer, unexpected
from avcheck.verdict import ALERTS, CLEAN, INFECTED, SUSPICIOUS, UNSCANNABLE, Finding, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

BASE = 0x30

# Seconds of silence that end the answer of a daemon that does not hang up when we do.
SILENCE = 1.0

CLASSES: dict[int, Verdict] = {
    0: CLEAN,
    2: INFECTED,
    3: SUSPICIOUS,
    4: INFECTED,
    5: INFECTED,
    6: INFECTED,
    8: UNSCANNABLE,
}
TROUBLE = {
    1: "the scan was not completed",
    7: "the daemon says that its program is damaged",
    15: "the daemon asks whether to disinfect; start it with -I0",
}
SETUP = {
    1: "the daemon's key file is missing or has expired",
    4: "the daemon has no databases",
    8: "the daemon's databases are damaged",
}

NOTHING_MORE = 0
REPORT = 1

# A report has a line for each object in the message.
REPORT_MAX = 1 << 20

# What stands between the object and the name in a line of a report.
MARKS: tuple[tuple[bytes, Verdict], ...] = (
    (b" infected: ", INFECTED),
    (b" suspicion: ", SUSPICIOUS),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask kavdaemon about the message."""
    conn.send(b"<0>" + ctime()[4:19].encode() + b":" + message.path)
    more, result = divmod(int.from_bytes(conn.exactly(2), byteorder), 256)
    report = b""
    if more == REPORT:
        size = int.from_bytes(conn.exactly(4), byteorder)
        if size > REPORT_MAX:
            raise Defer(f"unexpected size of a report: {size}", BROKEN)
        report = conn.exactly(size)
    elif more != NOTHING_MORE:
        raise Defer(f"unexpected second byte 0x{more:02x}", BROKEN)
    return parse(result, report)


def parse(result: int, report: bytes) -> Finding:
    """The finding that the first byte and the report mean; Defer for any others."""
    names = []
    high, low = divmod(result - BASE, 16)
    kinds = [CLASSES[low]] if result >= BASE and low in CLASSES else []
    for line in report.splitlines():
        for mark, kind in MARKS:
            _, there, name = line.rpartition(mark)
            if there:
                names.append(name.strip())
                kinds.append(kind)
    verdict = worst(kinds)
    said = f"answer 0x{result:02x}"
    if verdict in ALERTS:
        return Finding(verdict, tuple(names), said)
    if high in SETUP:
        raise Defer(f"{said}: {SETUP[high]}", CONFIG)
    if not high and low in TROUBLE:
        raise Defer(f"{said}: {TROUBLE[low]}")
    if verdict is None or high:
        raise Defer(f"unexpected {said}", BROKEN)
    return Finding(verdict, (), said)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    rest = reply
    while len(rest) >= 2:
        more, result = divmod(int.from_bytes(rest[:2], byteorder), 256)
        if more not in (NOTHING_MORE, REPORT):
            break
        begin = 6 if more == REPORT else 2
        size = int.from_bytes(rest[2:begin], byteorder)
        report, rest = rest[begin : begin + size], rest[begin + size :]
        bad = result >= BASE and CLASSES.get((result - BASE) % 16) in ALERTS
        if bad or any(mark in report for mark, _ in MARKS):
            return parse(result, report)
    raise unexpected(reply)
