r"""Avast for Linux (2014 and later: Core Security, Business Antivirus).

    S: 220 DAEMON\r\n
    C: SCAN /the/path\r\n                 a backslash before blank, tab and backslash
    S: 210 SCAN DATA\r\n
    S: SCAN /the/path|>doc.zip|>a.exe\t[L]0.0\t0 Win32:Evil-gen\\ [Trj]\r\n   found
    S: SCAN /the/path|>b.zip\t[E]0.0\tError 42056 Archive\\ is\\ password\\ protected\r\n
    S: SCAN /the/path|>note.txt\t[+]\r\n                                     nothing found
    S: 200 SCAN OK\r\n                    the end; says nothing about what was found

CLEAN is 200 after a line about what was asked for, and [+] in every line.  Test daemons
send the lines without the word SCAN; it is not needed.
Source: the beginning of avast-protocol(5); the clients and tests of Exim and rspamd;
PyAvast, aioavast, avastscan.

Decided: the numbers of errors are no public API, so they are classed by their words:
a password is ENCRYPTED; a licence or a permission is the daemon's trouble; the rest
(decompression bomb, corrupt, unknown) is the message's and UNSCANNABLE.  A member's name
is a stranger's, so a tab after a backslash ends no field.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

DATA = b"210 SCAN DATA"
END = b"200 SCAN OK"

MEMBER = b"|>"

# Words in an error, in lower case, that say whose trouble it is.
ENCRYPTED_WORDS = (b"password", b"encrypted")
DAEMON_WORDS = (b"permission", b"licen", b"no such file", b"not found", b"memory", b"engine")


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask Avast about the message, with what is ours before it."""
    lines = _lines(conn)
    greeting = next(lines)
    if not greeting.startswith(b"220"):
        raise _unexpected(greeting)
    conn.send(b"SCAN " + escaped(message.path) + b"\r\n")
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
    began = ended = False
    for line in lines:
        if line == DATA and not began:
            began = True
        elif line[:1].isdigit():
            ended = began and line == END
            if not (ended and found):
                trouble.append(line)
            break
        else:
            about, marker, info = _fields(line.removeprefix(b"SCAN "))
            if marker.startswith(b"[L]"):
                number, _, rest = info.partition(b" ")
                name = _unescaped(rest if number.isdigit() else info)
                names.append(name)
                found.append(SUSPICIOUS if b"[heur" in name.lower() else INFECTED)
            elif marker.startswith(b"[E]"):
                verdict = _error(_unescaped(info))
                if verdict is None:
                    trouble.append(_unescaped(info))
                else:
                    said = said or _unescaped(info)
                    found.append(verdict)
            elif marker.startswith(b"[+]") and not info and _is_about(about, path):
                found.append(CLEAN)
            else:
                trouble.append(line)
    worst = min(found, key=lambda verdict: verdict.rank, default=None)
    if worst is INFECTED or worst is SUSPICIOUS:
        return Finding(worst, tuple(names), b", ".join(names))
    if any(line.startswith(b"466") or b"licen" in line.lower() for line in trouble):
        raise Defer(f"licence: {printable(b'; '.join(trouble))}", CONFIG)
    if trouble or not ended or worst is None:
        raise _unexpected(trouble[0] if trouble else said)
    return Finding(worst, (), said or END)


def escaped(path: bytes) -> bytes:
    """The path as commands have it."""
    return path.replace(b"\\", b"\\\\").replace(b" ", b"\\ ").replace(b"\t", b"\\\t")


def _unescaped(words: bytes) -> bytes:
    return b"\\".join(part.replace(b"\\", b"") for part in words.split(b"\\\\"))


def _fields(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Path, marker and what follows it; a tab after a backslash is part of a field."""
    fields = [b""]
    for part in line.split(b"\t"):
        if (len(fields[-1]) - len(fields[-1].rstrip(b"\\"))) % 2:
            fields[-1] += b"\t" + part
        else:
            fields.append(part)
    about, marker, *info = [*fields[1:], b"", b""]
    return _unescaped(about), marker, b"\t".join(info).rstrip(b"\t")


def _is_about(words: bytes, path: bytes) -> bool:
    return words == path or words.startswith(path + MEMBER)


def _error(words: bytes) -> Verdict | None:
    """What an error means for the message; None if it is the daemon's."""
    lower = words.lower()
    if any(word in lower for word in ENCRYPTED_WORDS):
        return ENCRYPTED
    if any(word in lower for word in DAEMON_WORDS):
        return None
    return UNSCANNABLE


def _lines(conn: Conn) -> Iterator[bytes]:
    while True:
        yield conn.line().removesuffix(b"\r")


def _unexpected(line: bytes) -> Defer:
    return Defer(f"unexpected reply {printable(line, 200)!r}", BROKEN)
