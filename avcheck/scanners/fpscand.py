r"""fpscand, the daemon of F-PROT 6 for Unix (Exim: f-prot6d).

    C: SCAN STREAM avcheck SIZE 2048\n<2048 bytes>     or SCAN FILE /the/path\n
    S: 0 <clean> avcheck\n                             nothing found
    S: 1 <infected: EICAR_Test_File> avcheck\n
    S: 1 <contains infected objects: W32/X> avcheck->a.zip->b.exe\n

A sum of powers of two, a description, and the object: the label or the path, and what is
in it.  CLEAN is 0, "clean" and our object.  The sum and the words may contradict each
other ("2 <clean>" for an archive bomb): the worse of the two counts.
Source: fpscand(8), the clients of HAVP, rspamd, MIMEDefang and Exim.

Decided: 8 (files were left out) and 64 (encrypted, corrupt, packed in an unknown way) are
the message's doing, 4, 16 and 32 the daemon's.

Fuglu's experience: a message without a Content-Type is not looked at as mail.  The
parameter options is for words such as --heurlevel=3.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer
from avcheck.printable import printable
from avcheck.scanners import STREAM
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

LABEL = b"avcheck"

FOUND = 1 | 128  # infected, disinfected
HEURISTIC = 2
TROUBLE = 4 | 16 | 32  # interrupted, platform error, internal error
NOT_WHOLE = 8 | 64  # left out by a restriction, not scanned

# Words of a description, in lower case.  The first that fits decides.
WORDS: tuple[tuple[bytes, Verdict], ...] = (
    (b"unwanted", POLICY),
    (b"infected", INFECTED),
    (b"suspicious", SUSPICIOUS),
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask fpscand about the message, with what is ours before it."""
    words = [b"SCAN", *target.parameters.get("options", b"").split()]
    if target.way == STREAM:
        size = message.start + message.size
        about = LABEL
        conn.send(b" ".join([*words, b"STREAM", about, b"SIZE", b"%d\n" % size]))
        conn.send_file(message.fd, 0, size)
    else:
        about = message.path
        conn.send(b" ".join([*words, b"FILE", about]) + b"\n")
    finding = parse(conn.line().removesuffix(b"\r"), about)
    if finding.verdict is CLEAN and (conn.gone or conn.pending()):
        raise Defer("said more than one reply, or did not take the message", BROKEN)
    return finding


def parse(line: bytes, about: bytes) -> Finding:
    """The finding that a whole line about the object means; Defer for any other."""
    number, _, rest = line.partition(b" <")
    description, ended, _ = rest.rpartition(b"> " + about)
    if not ended:
        description, ended, _ = rest.rpartition(b"> ")
    if not number.isdigit() or len(number) > 3 or not ended:
        raise _unexpected(line)
    if line == b"0 <clean> " + about or line.startswith(b"0 <clean> " + about + b"->"):
        return Finding(CLEAN, (), line)
    bits = int(number)
    found = [verdict for word, verdict in WORDS if word in description.lower()][:1]
    if bits & FOUND:
        found.append(INFECTED)
    if bits & HEURISTIC:
        found.append(SUSPICIOUS)
    if bits & NOT_WHOLE:
        found.append(UNSCANNABLE)
    worst = min(found, key=lambda verdict: verdict.rank, default=None)
    if worst is None or (bits & TROUBLE and worst in (ENCRYPTED, UNSCANNABLE)):
        raise _unexpected(line)
    _, colon, name = description.partition(b": ")
    return Finding(worst, (name,) if colon else (), line)


def _unexpected(line: bytes) -> Defer:
    return Defer(f"unexpected reply {printable(line, 200)!r}", BROKEN)
