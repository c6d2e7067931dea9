r"""fpscand, the daemon of F-PROT 6 for Unix (Exim: f-prot6d).

    C: SCAN STREAM avcheck SIZE 2048\n<2048 bytes>     or SCAN FILE /the/path\n
    S: 0 <clean> avcheck\n                             nothing found
    S: 1 <infected: EICAR_Test_File> avcheck\n
    S: 1 <contains infected objects: W32/X> avcheck->a.zip->b.exe\n

    C: QUIT\n                                          the daemon hangs up

A sum of powers of two, a description, and the object: the label or the path, and what is
in it.  There may be a line for each object in the message, and only the end of the stream,
which QUIT asks for, marks the last.  CLEAN is 0, "clean" and our object, and no other lines
but such ones about what is in it.  The sum and the description may contradict
each other ("2 <clean>" for an archive bomb): the worse of the two counts.
Source: fpscand(8), the clients of HAVP, rspamd, MIMEDefang and Exim.

Decided: 8 (files were left out) and 64 (encrypted, corrupt, packed in an unknown way) are
the message's doing, 4, 16 and 32 the daemon's.

As Fuglu's authors found, a message without a Content-Type is not scanned as mail.  The
parameter options is for options such as --heurlevel=3.
"""

from __future__ import annotations

from avcheck.exits import unexpected
from avcheck.scanners import class_of_text, lines_of
from avcheck.scanners.rows import STREAM
from avcheck.verdict import (
    ALERTS,
    CLEAN,
    ENCRYPTED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
    worst,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

LABEL = b"avcheck"

# Seconds of silence that end a reply of a daemon that does not hang up when told to.
SILENCE = 1.0

FOUND = 1 | 128  # infected, disinfected
HEURISTIC = 2
TROUBLE = 4 | 16 | 32  # interrupted, platform error, internal error
NOT_WHOLE = 8 | 64  # left out by a restriction, not scanned

# Phrases in a description.  The first that fits decides.
DESCRIPTIONS: tuple[tuple[bytes, Verdict | None], ...] = (
    (b"unwanted", POLICY),
    (b"infected", INFECTED),
    (b"suspicious", SUSPICIOUS),
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask fpscand about the message."""
    command = [b"SCAN", *target.parameters.get("options", b"").split()]
    if target.way == STREAM:
        size = message.seen
        about = LABEL
        conn.send(b" ".join([*command, b"STREAM", about, b"SIZE", b"%d\n" % size]))
        conn.send_file(message.fd, 0, size)
    else:
        about = message.path
        conn.send(b" ".join([*command, b"FILE", about]) + b"\n")
    return parse(conn.line() + b"\n" + conn.close(SILENCE, b"QUIT\n"), about)


def parse(reply: bytes, about: bytes) -> Finding:
    """The finding that a whole reply about the object means; Defer for any other."""
    *lines, rest = [line.removesuffix(b"\r") for line in reply.split(b"\n")]
    if rest or not lines:
        raise unexpected(reply)
    told = [_told(line, about) for line in lines]
    verdict = worst([kind for kind, _ in told])
    # Lines about members only prove nothing of the whole; of two about the whole one is not ours.
    if verdict is None or (verdict is CLEAN and lines.count(b"0 <clean> " + about) != 1):
        raise unexpected(lines[0])
    return Finding(verdict, tuple([name for _, name in told if name]), b"; ".join(lines))


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    for line in lines_of(reply):
        number, bracket, rest = line.partition(b" <")
        if not bracket or not number.isdigit() or len(number) > 3:
            continue
        description = rest.partition(b"> ")[0]
        verdict = worst(_kinds(int(number), description))
        if verdict in ALERTS:
            name = _name(description)
            return Finding(verdict, (name,) if name else (), line)
    raise unexpected(reply)


def _told(line: bytes, about: bytes) -> tuple[Verdict, bytes]:
    """Verdict and name in one line, which may be about a member; Defer for any other."""
    number, _, rest = line.partition(b" <")
    description, ended, _ = rest.rpartition(b"> " + about)
    if not ended:
        description, ended, _ = rest.rpartition(b"> ")
    if not number.isdigit() or len(number) > 3 or not ended:
        raise unexpected(line)
    if line == b"0 <clean> " + about or line.startswith(b"0 <clean> " + about + b"->"):
        return CLEAN, b""
    verdict = worst(_kinds(int(number), description))
    if verdict is None or (int(number) & TROUBLE and verdict in (ENCRYPTED, UNSCANNABLE)):
        raise unexpected(line)
    return verdict, _name(description)


def _kinds(bits: int, description: bytes) -> list[Verdict]:
    """What the sum and the description say of something that is not clean."""
    described = class_of_text(description, DESCRIPTIONS, None)
    kinds = [described] if described else []
    if bits & FOUND:
        kinds.append(INFECTED)
    if bits & HEURISTIC:
        kinds.append(SUSPICIOUS)
    if bits & NOT_WHOLE:
        kinds.append(UNSCANNABLE)
    return kinds


def _name(description: bytes) -> bytes:
    return description.partition(b": ")[2]
