r"""SSSP, the protocol of Sophos' SAV Dynamic Interface (savdid).

    S: OK SSSP/1.0\r\n
    C: SSSP/1.0\n
    S: ACC 5C11F0AA/1\r\n
    C: SCANDATA 2048\n                   or SCANFILE /the/path\n, with %XX in it
    S: ACC 5C11F0AA/2\r\n                or REJ 4: too large, REJ 5: not permitted here
    C: <2048 bytes>
    S: VIRUS Troj/DocDl-OYC /tmp/savid_tmpAbC/invoice%20may.doc\r\n   for each, if any
    S: OK 0203 Virus found during virus scan\r\n    this object was looked at
    S: FAIL 0212 /tmp/...\r\n                       this one was not, or not in whole
    S: DONE OK 0000 ...\r\n                         the worst of all that, last
    S: \r\n

The reply ends in an empty line.  CLEAN is DONE OK 0000 and no other code before it; the
texts depend on the daemon's language and are not looked at.  The body is sent only after
its ACC, because after a REJ it would be read as commands.
Source: Sophos Simple Scanning Protocol 1.2 and the SAVI header file, by way of several
clients' readings of them (amavisd-new, rspamd, fuglu).

Decided: 060E and 060F (a request, or a scan, timed out) are UNSCANNABLE, as other limits
are, because the same message would meet them again.  021E (the virus data is old)
is no proof of CLEAN.  Empty lines before ACC are skipped: the manual's grammar has one
after the greeting, and no client has met it.

Whether savdid scans mail at all is set in savdid.conf (savists: Mime 1), or by the
parameter options, such as options=savists:%20Mime%201;savigrp:%20GrpArchiveUnpack%201.
"""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners import lines_of
from avcheck.scanners.rows import STREAM
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

NOTHING = b"0000"
VIRUS = b"0203"

# Codes (the low 16 bits of SAVI's) that the message causes.  Any other is the daemon's
# trouble.
CLASSES: dict[bytes, Verdict] = {
    VIRUS: INFECTED,
    b"0212": ENCRYPTED,
    b"020F": UNSCANNABLE,  # of a kind it does not know
    b"0211": UNSCANNABLE,  # compressed, and not looked into
    b"021A": UNSCANNABLE,  # corrupt
    b"0225": UNSCANNABLE,  # part of an archive in several volumes
    b"060E": UNSCANNABLE,  # the time for a request
    b"060F": UNSCANNABLE,  # the time for a scan
}

TOO_LARGE = b"REJ 4"
NOT_PERMITTED = b"REJ 5"

# Empty lines to skip before an answer; the manual has one at most.
EMPTY_MAX = 3


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask savdid about the message."""
    greeting = _line(conn)
    if not greeting.startswith(b"OK SSSP/1."):
        raise unexpected(greeting)
    conn.send(b"SSSP/1.0\n")
    _accepted(_answer(conn))
    if options := target.parameters.get("options"):
        _set(conn, options)
    if target.way == STREAM:
        conn.send(b"SCANDATA %d\n" % message.seen)
    else:
        conn.send(b"SCANFILE " + encoded(message.path) + b"\n")
    answer = _answer(conn)
    if answer == TOO_LARGE and target.way == STREAM:
        return Finding(UNSCANNABLE, (), "REJ 4: larger than maxscandata in savdid.conf")
    _accepted(answer)
    if target.way == STREAM:
        conn.send_file(message.fd, 0, message.seen)
    return parse(_reply(conn))


def parse(lines: Iterable[bytes]) -> Finding:
    """The finding that the lines of a whole reply mean; Defer for any others."""
    names = []
    worst = CLEAN
    trouble: list[bytes] = []
    done = b""
    for line in lines:
        word, _, rest = line.partition(b" ")
        first, _, second = rest.partition(b" ")
        code = second.partition(b" ")[0] if word == b"DONE" else first
        if word == b"VIRUS" and first:
            names.append(first)
        elif line.startswith(b"EVENT VIRUS "):
            names.append(second.partition(b" ")[0])
        elif done:
            trouble.append(line)  # DONE is the last
        elif word in (b"EVENT", b"TYPE", b"FILE"):
            continue  # reports that savdid.conf asks for, beside the result
        elif word in (b"OK", b"FAIL") or (word == b"DONE" and first in (b"OK", b"FAIL")):
            verdict = CLASSES.get(code)
            if code == NOTHING and line.startswith((b"OK ", b"DONE OK ")):
                pass
            elif verdict is None:
                trouble.append(line)
            elif verdict.rank < worst.rank:
                worst = verdict
        else:
            trouble.append(line)
        if word == b"DONE":
            done = line
    if names:
        worst = INFECTED
    if worst is not INFECTED and (trouble or not done):
        raise unexpected(trouble[0] if trouble else done)
    return Finding(worst, tuple(names), done)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    return parse(lines_of(reply))


def encoded(path: bytes) -> bytes:
    """The path as commands have it: %XX for blanks, controls, the percent sign."""
    return b"".join(
        b"%%%02X" % byte if byte <= 0x20 or byte in b"%\x7f\xff" else bytes([byte]) for byte in path
    )


def _line(conn: Conn) -> bytes:
    return next(conn.lines())


def _answer(conn: Conn) -> bytes:
    for _ in range(EMPTY_MAX):
        if line := _line(conn):
            return line
    return _line(conn)


def _accepted(answer: bytes) -> None:
    if answer == NOT_PERMITTED:
        raise Defer("REJ 5: savdid.conf does not permit this request on this channel", CONFIG)
    if not answer.startswith(b"ACC "):
        raise unexpected(answer)


def _set(conn: Conn, options: bytes) -> None:
    conn.send(b"OPTIONS\n" + b"".join(line.strip() + b"\n" for line in options.split(b";")) + b"\n")
    _accepted(_answer(conn))
    last = b""
    for line in _reply(conn):
        last = line
    if not last.startswith(b"DONE OK 0000"):
        raise Defer(f"does not take the options: {printable(last)}", CONFIG)


def _reply(conn: Conn) -> Iterator[bytes]:
    """The lines until the empty one."""
    while line := _line(conn):
        yield line
