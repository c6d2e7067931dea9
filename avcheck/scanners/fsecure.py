r"""fsavd, the daemon of F-Secure Linux Security and Anti-Virus 4 to 11.

Fields are separated by tabs.

    S: DBVERSION\t2010-02-01_02\n         maybe
    C: CONFIGURE\tARCHIVE\t1\n
    S: OK\tServer configured.\n
    C: CONFIGURE\tMIME\t1\n               and so on, see below
    S: OK\tServer configured.\n
    C: SCAN\t/the/path\n
    S: MIME_INFECTED\t[/the/path]a.com\tEICAR_Test_File\tAquarius\n   for each object
    S: CLEAN\t/the/path\n
    S: OK\tScan ok.\n                     the end; says nothing about what was found

CLEAN is that end, after CLEAN lines only, one of which is about our file.
Source: the clients of Exim and of Samba's virusfilter.

Decided: the greeting is not waited for (Exim's client does well without) and is skipped
where it comes, as PING is.  PROTOCOL is not sent: its levels are not known.
Decided: a SCAN_FAILURE is the message's doing ("the probable source of the error is a
problematic file", says F-Secure's manual), unless it says that the file cannot be opened
or that time or memory is short.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Look into archives, five deep, and into mail; no time limit of its own: we have one.
SETTINGS = (b"ARCHIVE\t1", b"TIMEOUT\t0", b"MAXARCH\t5", b"MIME\t1")

END = b"OK\tScan ok."

FOUND: dict[bytes, Verdict] = {
    b"INFECTED": INFECTED,
    b"SUSPECTED": SUSPICIOUS,
    b"RISKWARE": POLICY,
}
ASIDE = (b"OPEN_ARCHIVE", b"CLOSE_ARCHIVE")

# Words of a SCAN_FAILURE, in lower case.  The first that fits decides.
FAILURES: tuple[tuple[bytes, Verdict | None], ...] = (
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
    (b"permission", None),
    (b"could not open", None),
    (b"no such file", None),
    (b"not found", None),
    (b"path too long", None),
    (b"memory", None),
    (b"timeout", None),
    (b"time-out", None),
    (b"licen", None),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask fsavd about the message, with what is ours before it."""
    if b"\t" in message.path:
        raise Defer("a tab in the path of the spool directory", CONFIG)
    lines = _lines(conn)
    for setting in SETTINGS:
        conn.send(b"CONFIGURE\t" + setting + b"\n")
        answer = next(lines)
        if not answer.startswith(b"OK\t"):
            words = printable(setting.replace(b"\t", b" "))
            raise Defer(f"CONFIGURE {words}: {printable(answer)}", CONFIG)
    conn.send(b"SCAN\t" + message.path + b"\n")
    finding = parse(lines, message.path)
    if finding.verdict is CLEAN and conn.pending():
        raise Defer("said more than one reply", BROKEN)
    return finding


def parse(lines: Iterable[bytes], path: bytes) -> Finding:
    """The finding that the lines of a whole reply about the path mean; Defer for any others."""
    names = []
    found: list[Verdict] = []
    trouble: list[bytes] = []
    said = b""
    for line in lines:
        word, about, name, text = (*line.split(b"\t", 3), b"", b"", b"")[:4]
        verdict = FOUND.get(word.removeprefix(b"ARCHIVE_").removeprefix(b"MIME_"))
        if word == b"OK":
            said = line
            break
        if verdict:
            names.append(name)
            found.append(verdict)
        elif word == b"SCAN_FAILURE":
            failure = _failure(text)
            if failure is None:
                trouble.append(line)
            else:
                found.append(failure)
        elif word == b"CLEAN":
            if about == path or about.startswith(b"[" + path + b"]"):
                found.append(CLEAN)
        elif word not in ASIDE:
            trouble.append(line)
        if word == b"ERROR":
            break
    worst = min(found, key=lambda verdict: verdict.rank, default=None)
    if worst is not None and worst in FOUND.values():
        return Finding(worst, tuple(names), b", ".join(names))
    if trouble or worst is None or said != END:
        raise Defer(f"unexpected reply {printable(trouble[0] if trouble else said, 200)!r}", BROKEN)
    return Finding(worst, (), said)


def _failure(text: bytes) -> Verdict | None:
    """What a failure means for the message; None if it is the daemon's."""
    lower = text.lower()
    for word, verdict in FAILURES:
        if word in lower:
            return verdict
    return UNSCANNABLE


def _lines(conn: Conn) -> Iterator[bytes]:
    """What is said, without what is said to nobody in particular."""
    while True:
        line = conn.line().removesuffix(b"\r")
        if line != b"PING" and not line.startswith((b"DBVERSION\t", b"PING\t")):
            yield line
