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

Decided: the greeting is not waited for (Exim's client does not either) and is skipped
if it comes, as PING is.  PROTOCOL is not sent: its levels are not known.
Decided: a SCAN_FAILURE is the message's doing ("the probable source of the error is a
problematic file", says F-Secure's manual), unless it says that the file cannot be opened
or that time or memory is short.
"""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners import class_of_text, lines_of
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
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Scan archives, five levels deep, and mail; no time limit of its own: we have one.
SETTINGS = (b"ARCHIVE\t1", b"TIMEOUT\t0", b"MAXARCH\t5", b"MIME\t1")

END = b"OK\tScan ok."

# How the first field ends; MIME_ and ARCHIVE_ are known before it, and Exim takes any.
FOUND: tuple[tuple[bytes, Verdict], ...] = (
    (b"INFECTED", INFECTED),
    (b"SUSPECTED", SUSPICIOUS),
    (b"SUSPICION", SUSPICIOUS),
    (b"RISKWARE", POLICY),
)
ASIDE = (b"OPEN_ARCHIVE", b"CLOSE_ARCHIVE")

# Phrases in a SCAN_FAILURE.  The first that fits decides; None is the daemon's trouble.
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
    """Ask fsavd about the message."""
    if b"\t" in message.path:
        raise Defer("a tab in the path of the spool directory", CONFIG)
    lines = _aside(conn.lines())
    for setting in SETTINGS:
        conn.send(b"CONFIGURE\t" + setting + b"\n")
        answer = next(lines)
        if not answer.startswith(b"OK\t"):
            made = printable(setting.replace(b"\t", b" "))
            raise Defer(f"CONFIGURE {made}: {printable(answer)}", CONFIG)
    conn.send(b"SCAN\t" + message.path + b"\n")
    return parse(lines, message.path)


def parse(lines: Iterable[bytes], path: bytes) -> Finding:
    """The finding that the lines of a whole reply about the path mean; Defer for any others."""
    names = []
    kinds: list[Verdict] = []
    trouble: list[bytes] = []
    said = b""
    for line in lines:
        word, about, name, text = (*line.split(b"\t", 3), b"", b"", b"")[:4]
        verdict = _alert(word)
        if word == b"OK":
            said = line
            break
        if verdict:
            names.append(name)
            kinds.append(verdict)
        elif word == b"SCAN_FAILURE":
            failure = class_of_text(text, FAILURES, UNSCANNABLE)
            if failure is None:
                trouble.append(line)
            else:
                kinds.append(failure)
        elif word == b"CLEAN":
            if about == path or about.startswith(b"[" + path + b"]"):
                kinds.append(CLEAN)
        elif word not in ASIDE:
            trouble.append(line)
        if word == b"ERROR":
            break
    verdict = worst(kinds)
    if verdict in ALERTS:
        return Finding(verdict, tuple(filter(None, names)), b", ".join(names))
    if trouble or verdict is None or said != END:
        raise unexpected(trouble[0] if trouble else said)
    return Finding(verdict, (), said)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    alerts = [line for line in lines_of(reply) if _alert(line.partition(b"\t")[0])]
    return parse(alerts, message.path)


def _alert(word: bytes) -> Verdict | None:
    for ending, verdict in FOUND:
        if word.endswith(ending):
            return verdict
    return None


def _aside(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without those that are no reply: the greeting and PING."""
    for line in lines:
        if line != b"PING" and not line.startswith((b"DBVERSION\t", b"PING\t")):
            yield line
