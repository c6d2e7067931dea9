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

Exim has observed "[+]2.0 0 Eicar Test Virus!!!", between an error 41120 and the end: a name
is INFECTED whatever the marker says, and anything else after [+] is no CLEAN.

Decided: the numbers of errors are no public API, so they are classed by their texts:
a password is ENCRYPTED; a licence or a permission is the daemon's trouble; the rest
(decompression bomb, corrupt, unknown) is the message's and UNSCANNABLE.  A member's name
is a stranger's, so a tab after a backslash ends no field.
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
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
    worst,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

DATA = b"210 SCAN DATA"
END = b"200 SCAN OK"

MEMBER = b"|>"

# Phrases in an error.  The first that fits decides; None is the daemon's trouble.
ERRORS: tuple[tuple[bytes, Verdict | None], ...] = (
    (b"password", ENCRYPTED),
    (b"encrypted", ENCRYPTED),
    (b"permission", None),
    (b"licen", None),
    (b"no such file", None),
    (b"not found", None),
    (b"memory", None),
    (b"engine", None),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask Avast about the message."""
    lines = conn.lines()
    greeting = next(lines)
    if not greeting.startswith(b"220"):
        raise unexpected(greeting)
    conn.send(b"SCAN " + escaped(message.path) + b"\r\n")
    return parse(lines, message.path)


def parse(lines: Iterable[bytes], path: bytes) -> Finding:
    """The finding that the lines of a whole reply about the path mean; Defer for any others."""
    names = []
    kinds: list[Verdict] = []
    trouble: list[bytes] = []
    said = b""
    began = ended = False
    for line in lines:
        if line == DATA and not began:
            began = True
        elif line[:1].isdigit():
            ended = began and line == END
            if not (ended and kinds):
                trouble.append(line)
            break
        else:
            about, marker, info = _fields(line.removeprefix(b"SCAN "))
            if marker.startswith(b"[L]"):
                number, _, rest = info.partition(b" ")
                name = _unescaped(rest if number.isdigit() else info)
                names.append(name)
                kinds.append(SUSPICIOUS if b"[heur" in name.lower() else INFECTED)
            elif marker.startswith(b"[E]"):
                verdict = class_of_text(_unescaped(info), ERRORS, UNSCANNABLE)
                if verdict is None:
                    trouble.append(_unescaped(info))
                else:
                    said = said or _unescaped(info)
                    kinds.append(verdict)
            elif name := _named(marker, info):
                names.append(name)
                kinds.append(INFECTED)
            elif _is_clean(marker, info) and _is_about(about, path):
                kinds.append(CLEAN)
            else:
                trouble.append(line)
    verdict = worst(kinds)
    if verdict in ALERTS:
        return Finding(verdict, tuple(names), b", ".join(names))
    if any(line.startswith(b"466") or b"licen" in line.lower() for line in trouble):
        raise Defer(f"licence: {printable(b'; '.join(trouble))}", CONFIG)
    if trouble or not ended or verdict is None:
        raise unexpected(trouble[0] if trouble else said)
    return Finding(verdict, (), said or END)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    alerts = (line for line in lines_of(reply) if b"\t[L]" in line or b"\t[+]" in line)
    return parse(alerts, message.path)


def escaped(path: bytes) -> bytes:
    """The path as commands have it."""
    return path.replace(b"\\", b"\\\\").replace(b" ", b"\\ ").replace(b"\t", b"\\\t")


def _unescaped(field: bytes) -> bytes:
    return b"\\".join(part.replace(b"\\", b"") for part in field.split(b"\\\\"))


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


def _is_clean(marker: bytes, info: bytes) -> bool:
    """Whether it is [+] or [+]0.0, and no more."""
    number = marker.removeprefix(b"[+]")
    return marker[:3] == b"[+]" and not number.strip(b"0123456789.") and not info


def _named(marker: bytes, info: bytes) -> bytes:
    """The name that a line with [+] has all the same, as in [L], after a blank or a tab."""
    marker, _, rest = (marker + b" " + info).partition(b" ")
    number, _, name = rest.strip().partition(b" ")
    return _unescaped(name) if marker[:3] == b"[+]" and number.isdigit() else b""


def _is_about(about: bytes, path: bytes) -> bool:
    return about == path or about.startswith(path + MEMBER)
