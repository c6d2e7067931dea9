"""Readers of option arguments: bytes in, a value out; Usage for anything else.  Pure."""

from __future__ import annotations

from avcheck import address, policy, scanners
from avcheck.exits import Defer, Usage
from avcheck.printable import printable
from avcheck.scanners import rows
from avcheck.scanners.rows import DESCRIPTOR, PATH, SCANNERS
from avcheck.settings import Scanner, Target
from avcheck.verdict import VERDICTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from avcheck.scanners.rows import Row
    from avcheck.verdict import Verdict

FOREVER = float("inf")


def any_address(value: bytes) -> bytes:
    for byte in b"\r\n\0":
        if byte in value:
            raise Usage(f"{printable(value)}: an address has no line break and no NUL")
    return value


def sender(value: bytes) -> bytes:
    return b"" if value == b"<>" else any_address(value)


def recipient(value: bytes) -> bytes:
    if not value:
        raise Usage("an empty recipient")
    return any_address(value)


TLS = "tls"  # may follow a type and a plus sign, as a way may


def scanner(value: bytes) -> tuple[str, Row, tuple[str, ...], bytes]:
    """TYPE[+WAY]...[:WHERE]: the type and its row, the ways (TLS may be one), and WHERE."""
    kind, _, where = value.partition(b":")
    name, *ways = printable(kind).split("+")
    if "." not in name:  # in any case; the name of a module is as Python has it
        name = name.lower()
    row = rows.row_of(name)
    if row is None:
        raise Usage(f"{name or 'no type'}: known scanners are {', '.join(SCANNERS)}")
    for way in ways:
        if way not in (*row.ways, TLS):
            raise Usage(f"{name}+{way}: {name} can be asked by {', '.join(row.ways)}")
    if not (where or row.where):
        raise Usage(f"{name}: this scanner has no usual place; write {name}:WHERE")
    return name, row, tuple(ways), where or row.where


def target(name: str, row: Row, wanted: tuple[str, ...], where: bytes, chrooted: bool) -> Target:
    """The place that one WHERE names: ADDRESS[/PATH][?NAME=VALUE&...].

    wanted are the ways of -s, none of them if any will do; chrooted is whether the scanner is.
    """
    parameters: dict[str, bytes] = {}
    if row.parameters:
        where, _, query = where.partition(b"?")
        for pair in query.split(b"&") if query else []:
            key, equals, value = pair.partition(b"=")
            known = row.parameters == rows.ANY or printable(key) in row.parameters
            if not equals or not known:
                names = ", ".join(row.parameters)
                raise Usage(f"{name}: {printable(pair)}: NAME=VALUE, where NAME is one of {names}")
            parameters[printable(key)] = _decoded(value)
    if row.program:
        return Target(None, row.ways[0], False, where, parameters)
    path = row.path
    if row.path:
        unix = b"unix:" if where.startswith(b"unix:") else b""
        # After the path of a socket it begins with a colon, as in nginx's unix:/path:/uri.
        start = b":/" if unix or where.startswith(b"/") else b"/"
        where, slash, rest = where.removeprefix(unix).partition(start)
        where = unix + where
        path = slash[-1:] + rest or row.path
    there = address.parse(where, row.port)
    # In the order of preference: a scanner in a chroot can open the path of the message.
    usual = (PATH, *row.ways) if chrooted and PATH in row.ways else row.ways
    ways = [way for way in usual if there.path or way != DESCRIPTOR]
    if any(way != TLS for way in wanted):
        ways = [way for way in wanted if way in ways]
    tls = TLS in wanted or row.tls
    if not ways or (tls and there.path):
        raise Usage(f"{'+'.join((name, *wanted))}: not at {there}")
    return Target(there, ways[0], tls, path, parameters)


def check(scanner: Scanner) -> None:
    """Raise Usage if the scanner's module, which is imported for that, rejects its parameters."""
    if not scanner.row.checked:
        return
    try:
        module: Any = scanners.load(scanner.row)
        for each in scanner.targets:
            module.check(each)
    except Defer as error:
        raise Usage(f"{scanner.type}: {error.text}") from None
    except ImportError:  # asking it will say so
        return


def _decoded(value: bytes) -> bytes:
    """The value with %XX decoded (RFC 3986 2.1); for what has a meaning in WHERE itself."""
    decoded, *rest = value.split(b"%")
    for piece in rest:
        if len(piece) < 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in piece[:2]):
            raise Usage(f"{printable(value)}: a percent sign is written %25")
        decoded += bytes([int(piece[:2], 16)]) + piece[2:]
    return decoded


def directory(value: bytes) -> bytes:
    if not value.startswith(b"/") or any(byte in value for byte in b"\0\r\n"):
        raise Usage(f"{printable(value)}: the spool directory is an absolute path")
    return value


def file(value: bytes) -> bytes:
    if not value or b"\0" in value:
        raise Usage("an empty file name")
    if value.endswith(b"/"):
        raise Usage(f"{printable(value)}: a file, and not a directory")
    return value


def seconds(value: bytes) -> float:
    """Seconds as a decimal number; 0 is no limit."""
    digits = value.replace(b".", b"", 1)
    if not digits.isdigit() or len(digits) > 9:
        raise Usage(f"{printable(value)}: a number of seconds, such as 60 or 1.5")
    return float(value) or FOREVER


def interval(value: bytes) -> float:
    """Seconds as a decimal number; 0 is off."""
    every = seconds(value)
    return 0.0 if every == FOREVER else every


def number(value: bytes) -> int:
    if not value.isdigit() or len(value) > 5 or not int(value):
        raise Usage(f"{printable(value)}: a number from 1 on")
    return int(value)


def action(value: bytes) -> tuple[Verdict, str, bytes]:
    name, _, rest = value.partition(b"=")
    action, colon, directory = rest.partition(b":")
    for verdict in VERDICTS:
        if name == verdict.name.encode():
            break
    else:
        names = ", ".join(verdict.name for verdict in VERDICTS)
        raise Usage(f"{printable(value)}: VERDICT=ACTION, where VERDICT is one of {names}")
    if printable(action) not in policy.ACTIONS:
        raise Usage(f"{printable(value)}: an action is one of {', '.join(policy.ACTIONS)}")
    if action != policy.QUARANTINE.encode():
        if colon:
            raise Usage(f"{printable(value)}: only quarantine has a directory")
    elif not directory.startswith(b"/"):
        raise Usage(f"{printable(value)}: write quarantine:/DIRECTORY")
    return verdict, printable(action), directory


def status(value: bytes) -> int:
    if not value.isdigit() or len(value) > 3 or int(value) > 255:
        raise Usage(f"{printable(value)}: an exit status is a number from 0 to 255")
    return int(value)


def destination(value: bytes) -> tuple[bytes, ...]:
    """A program and its arguments, or a server; no shell reads it, so there are no quotes."""
    if b"\0" in value:
        raise Usage("a NUL in -S")
    return tuple(value.split())


def header(value: bytes) -> bytes:
    for byte in value:
        if not 0x20 <= byte < 0x7F:  # a header is ASCII (RFC 5322 2.2)
            raise Usage(f"{printable(value)}: a header text is one line of printable ASCII")
    if len(value) > 900:  # the line limit of RFC 5322 2.1.1 is 998 with name and time
        raise Usage("a header text has at most 900 bytes")
    return value


def identifier(value: bytes) -> bytes:
    return printable(value, 100).encode()


def one_of(*choices: str) -> Callable[[bytes], str]:
    def read(value: bytes) -> str:
        choice = printable(value)
        if choice not in choices:
            raise Usage(f"{choice}: one of {', '.join(choices)}")
        return choice

    return read


def host(value: bytes) -> bytes:
    if not value or not value.replace(b".", b"").replace(b"-", b"").replace(b":", b"").isalnum():
        raise Usage(f"{printable(value)}: a host name")
    return value


def attribute(value: bytes) -> tuple[bytes, bytes]:
    name, equals, text = value.partition(b"=")
    if not equals or name.upper() not in XFORWARD:
        names = ", ".join(each.decode() for each in XFORWARD)
        raise Usage(f"{printable(value)}: NAME=VALUE, where NAME is one of {names}")
    return name.upper(), text


# What Postfix's XFORWARD_README names.
XFORWARD = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")


def envid(value: bytes) -> bytes:
    """Strangers choose it, so one that RFC 3461 4.4 does not allow is left out."""
    fits = len(value) <= 100 and all(0x20 <= byte < 0x7F for byte in value)
    return value if fits else b""


def notify(value: bytes) -> bytes:
    when = value.upper()
    if when != b"NEVER" and not {*when.split(b",")} <= {b"SUCCESS", b"FAILURE", b"DELAY"}:
        raise Usage(f"{printable(value)}: never, or some of success,failure,delay")
    return when


def ret(value: bytes) -> bytes:
    if value.upper() not in (b"FULL", b"HDRS"):
        raise Usage(f"{printable(value)}: full or hdrs")
    return value.upper()


def flag(value: bytes) -> bool:
    return True
