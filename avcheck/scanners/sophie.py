r"""Sophie and Trophie, free daemons around the libraries of Sophos and of Trend Micro.

    C: /the/path\n
    S: 0                                  nothing found
    S: 1:EICAR-AV-Test                    found
    S: -1:no such file                    could not look

    C: avcheck/2048\n                     sophie+stream, Sophie over TCP: a name and a size
    S: OK\n
    C: <2048 bytes>
    S: 0                                  as above

The answer ends in LF, in NUL or in nothing, depending on the build, and the daemon then waits
for the next question.  So a silence ends it as well, but not the end of the stream: a daemon
that hangs up in the middle has been stopped.  Then we close our side, and the daemon has to
hang up or stay silent.
Source: the clients of Exim, amavisd-new, cgpav, MIMEDefang; Exim's tests, which have any
character for the colon.

Decided: -1 stands for a file that is encrypted as well as for one that is not there.  The
text, if there is one, tells them apart; without it the daemon could not look.  2 is
INFECTED: Trophie said so once.  savdid can speak this protocol, too.
"""

from __future__ import annotations

from time import monotonic

from avcheck.exits import EXPIRED, Defer, unexpected
from avcheck.scanners import class_of_text, lines_of
from avcheck.scanners.rows import STREAM
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Seconds of silence that end an answer: it is written in one piece, so that its first byte and
# its last arrive together.
GAP = 0.2

# Seconds of silence after it, of a daemon that does not hang up when we do.
SILENCE = 1.0

ANSWER_MAX = 1024  # a name, or the text of an error; Sophie's own buffer has 512

VIRUS = (b"1", b"2")

ENDS = (b"\n", b"\0", b"")  # nothing: silence

# Phrases in an error.
ERRORS: tuple[tuple[bytes, Verdict | None], ...] = (
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
    (b"corrupt", UNSCANNABLE),
    (b"part of multi", UNSCANNABLE),
    (b"not supported", UNSCANNABLE),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask Sophie about the message."""
    if target.way == STREAM:
        size = message.seen
        conn.send(b"avcheck/%d\n" % size)
        answer = next(conn.lines())
        if answer != b"OK":
            raise unexpected(answer)
        conn.send_file(message.fd, 0, size)
    else:
        conn.send(message.path + b"\n")
    return parse(_answer(conn))


def parse(answer: bytes) -> Finding:
    """The finding that a whole answer means; Defer for any other."""
    if answer in (b"0", b"0:"):
        return Finding(CLEAN, (), answer)
    code, name = answer[:1], answer[2:].strip()
    if code in VIRUS and not answer[1:2].isdigit():
        return Finding(INFECTED, (name,) if name else (), answer)
    if answer.startswith(b"-1"):
        verdict = class_of_text(answer, ERRORS, None)
        if verdict is not None:
            return Finding(verdict, (), answer)
    raise unexpected(answer)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    for line in lines_of(reply):
        if line.startswith(VIRUS):
            return parse(line)
    raise unexpected(reply)


def _answer(conn: Conn) -> bytes:
    """The answer up to LF, NUL or a silence."""
    answer = b""
    while len(answer) < ANSWER_MAX:
        byte = _byte(conn, bool(answer))
        if byte in ENDS:
            return answer.removesuffix(b"\r")
        answer += byte
    raise unexpected(answer)


def _byte(conn: Conn, silence_ends: bool) -> bytes:
    """The next byte; empty after a silence if that ends the answer."""
    if not silence_ends:
        return conn.exactly(1)
    deadline = conn.deadline
    conn.deadline = min(deadline, monotonic() + GAP)
    try:
        return conn.exactly(1)
    except Defer as why:
        if why.code != EXPIRED:  # it has hung up, which is not silence
            raise
        return b""
    finally:
        conn.deadline = deadline
