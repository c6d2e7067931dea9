"""drwebd, the daemon of Dr.Web for Unix 4 to 6.

Integers are unsigned, of 32 bits, the highest byte first.

    C: 1 (scan), flags, 0 (no name), size, <bytes>
    C: 1 (scan), flags, size, /the/path, 0 (no bytes)

    S: code, number of strings
    S: size, "infected with EICAR Test File (NOT a Virus!)\\0"     for each, if any

One command for each connection.  The code is a set of bits: CLEAN is IS_CLEAN alone, or
with EVAL_KEY, and no string.
Source: drweb.h and the client sources of drwebd 4.33, by way of avsmtpd, HAVP and the
avcheck of 2002; several clients' readings of them.

Decided: a string's size counts the NUL at its end, as it does in the vendor's examples;
one that is not ended by a NUL, but is followed by one, is read, too.
Decided: a code of 0 is CLEAN only with the parameter zero=clean: it is all that daemons
before 4.31 (2004) say; all later ones have a bit for it.
Decided: TIMEOUT is the daemon's trouble (it may be busy), as its vendor has it among
the errors; the limits of archives are UNSCANNABLE.  Encrypted archives are SKIPPED
there, and cannot be told from others.

Other commands (2 version, 3 databases) are not for a scan.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, EXPIRED, FULL, SYSTEM, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners.rows import STREAM
from avcheck.verdict import CLEAN, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

SCAN = 1

# RETURN_VIRUSES, HEURISTIC_ON, IS_MAIL and DONT_CHANGEMAIL.  None of those that cure,
# move, rename or delete.
FLAGS = 0x00000001 | 0x00000008 | 0x00080000 | 0x00200000

SIZE_MAX = 0xFFFFFFFF

IS_CLEAN = 0x00100000
EVAL_KEY = 0x00010000

# Bits and what they mean, the worst first.
FOUND: tuple[tuple[int, Verdict], ...] = (
    (0x00000020, INFECTED),  # KNOWN_VIRUS
    (0x00000080, INFECTED),  # VIRUS_MODIFICATION
    (0x00000100, INFECTED),  # HAVE_CURED, which we never ask for
    (0x00080000, INFECTED),  # HAVE_DELETED, likewise
    (0x00000040, SUSPICIOUS),  # UNKNOWN_VIRUS: a heuristic
    (0x00400000, POLICY),  # ADWARE
    (0x00800000, POLICY),  # DIALER
    (0x01000000, POLICY),  # JOKE
    (0x02000000, POLICY),  # RISKWARE
    (0x04000000, POLICY),  # HACKTOOL
    (0x00020000, POLICY),  # FILTER_REJECT, once SPAM_MESSAGE
)
TROUBLE: tuple[tuple[int, str, str], ...] = (
    (0x00200000, "licence error", CONFIG),
    (0x00000200, "the daemon's time for a scan is up", EXPIRED),
    (0x00000001, "cannot read the file; is its group that of the spool directory?", CONFIG),
    (0x00000002, "cannot write a file", FULL),
    (0x00000004, "no memory", SYSTEM),
    (0x00000010, "did not get the whole message", BROKEN),
    (0x00008000, "did not understand the question", BROKEN),
)
LIMITED: tuple[tuple[int, str], ...] = (
    (0x00002000, "too big"),
    (0x00004000, "too compressed"),
    (0x00040000, "too many levels of archives"),
    (0x00001000, "skipped: encrypted, for instance"),
    (0x00000008, "corrupt"),
    (0x00000400, "a symbolic link"),
    (0x00000800, "not a regular file"),
)

KNOWN = (
    sum(bit for bit, _ in FOUND)
    | sum(bit for bit, _, _ in TROUBLE)
    | sum(bit for bit, _ in LIMITED)
    | IS_CLEAN
    | EVAL_KEY
)

# What stands before a name, and what it means where the code says nothing.
PREFIXES: tuple[tuple[bytes, Verdict], ...] = (
    (b"infected with modification of ", INFECTED),
    (b"infected with ", INFECTED),
    (b"possibly infected with ", SUSPICIOUS),
)

# More names than this, or a longer one, are not believed.
STRINGS_MAX = 100_000
STRING_MAX = 8192


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask drwebd about the message."""
    check(target)
    size = message.seen
    if target.way == STREAM:
        if size > SIZE_MAX:
            return Finding(UNSCANNABLE, (), "4 GiB or more: drwebd cannot be told such a size")
        conn.send(b"".join(map(_u32, (SCAN, FLAGS, 0, size))))
        conn.send_file(message.fd, 0, size)
    else:
        path = message.path
        conn.send(b"".join(map(_u32, (SCAN, FLAGS, len(path)))) + path + _u32(0))
    code = int.from_bytes(conn.exactly(4), "big")
    strings = _strings(conn)
    return parse(code, strings, "zero" in target.parameters)


def check(target: Target) -> None:
    """Raise Defer for any value of zero but clean."""
    if target.parameters.get("zero", b"clean") != b"clean":
        raise Defer(f"zero={printable(target.parameters['zero'])}: only zero=clean", CONFIG)


def parse(code: int, strings: Iterable[bytes], zero_is_clean: bool = False) -> Finding:
    """The finding that the code and the strings of a whole reply mean; Defer for any others."""
    said = f"code 0x{code:x}"
    told = [_name(string) for string in strings]
    kinds = [verdict for bit, verdict in FOUND if code & bit] or [verdict for verdict, _ in told]
    if verdict := worst(kinds):
        return Finding(verdict, tuple(name for _, name in told), said)
    for bit, trouble, status in TROUBLE:
        if code & bit:
            raise Defer(f"{said}: {trouble}", status)
    limits = [limit for bit, limit in LIMITED if code & bit]
    known = sum(bit for bit, _ in LIMITED) | IS_CLEAN | EVAL_KEY
    if code & ~known:
        raise Defer(f"unexpected {said}", BROKEN)
    if limits:
        return Finding(UNSCANNABLE, (), f"{said}: {', '.join(limits)}")
    if code & IS_CLEAN or zero_is_clean:
        return Finding(CLEAN, (), said)
    raise Defer(f"unexpected {said}", BROKEN)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    code = int.from_bytes(reply[:4], "big")
    if len(reply) < 4 or code & ~KNOWN:
        raise unexpected(reply)
    strings: list[bytes] = []
    at = 8
    while len(strings) < STRINGS_MAX and len(reply) >= at + 4:
        begin = at + 4
        at = begin + int.from_bytes(reply[at:begin], "big")
        string = reply[begin:at].removesuffix(b"\0")
        if not string or begin + STRING_MAX < at:
            break
        strings.append(string)
    return parse(code, strings)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _name(string: bytes) -> tuple[Verdict, bytes]:
    """What a virus string means, and the name in it; old versions send the bare name."""
    for prefix, verdict in PREFIXES:
        if string.startswith(prefix):
            return verdict, string.removeprefix(prefix)
    return INFECTED, string


def _strings(conn: Conn) -> list[bytes]:
    number = int.from_bytes(conn.exactly(4), "big")
    if number > STRINGS_MAX:
        raise Defer(f"unexpected number of viruses {number}", BROKEN)
    return [_string(conn, last=at == number - 1) for at in range(number)]


def _string(conn: Conn, last: bool) -> bytes:
    size = int.from_bytes(conn.exactly(4), "big")
    if size > STRING_MAX:
        raise Defer(f"unexpected size of a name {size}", BROKEN)
    string = conn.exactly(size)
    if not string.endswith(b"\0") and not last and conn.exactly(1) != b"\0":
        raise Defer(f"unexpected name {printable(string, 200)!r}", BROKEN)
    return string.removesuffix(b"\0")
