r"""clamd, ClamAV's daemon.

    C: zFILDES\0 .  + the descriptor      one byte must come with it (SCM_RIGHTS)
    C: zINSTREAM\0 <u32be size> <bytes> <u32be 0>
    C: zSCAN /var/spool/avcheck/avcheck.1f\0

    S: fd[12]: OK\0                       nothing found; stream: ..., /the/path: ...
    S: stream: Eicar-Test FOUND\0         found
    S: stream: Eicar-Test(44d8...:68) FOUND\0   the same, ExtendedDetectionInfo yes
    S: INSTREAM size limit exceeded. ERROR\0    over StreamMaxLength; no object named
    S: COMMAND READ TIMED OUT\n           ends in LF whatever the command ended in

Outside a session clamd answers one command and hangs up, so the reply is read
to the end of the stream: it is whole only if it ends in its NUL, and a second
line after the first (SCAN of a special file says ERROR, then OK) is seen.
Source: clamd(8); observed with clamd 1.4.6.

clamd says OK to what it did not scan (over MaxFileSize, encrypted) unless
AlertExceedsMax and AlertEncrypted are set.  With them the names below come back.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer, unexpected
from avcheck.scanners import class_of_name, lines_of
from avcheck.scanners.rows import DESCRIPTOR, STREAM
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# One chunk may be as large as its u32 size can say; clamd takes chunks of any size.
CHUNK_MAX = 1 << 30

# Names that are not (certainly) a virus.  The first that fits decides; names with
# these beginnings but without "Heuristics." are those of versions before 0.100.
# docs/policy.md has the same table; tests/live/test_clamd_names.py compares this one
# with the names in the installed libclamav.
CLASSES: tuple[tuple[bytes, Verdict], ...] = (
    (b"Heuristics.Encrypted.", ENCRYPTED),
    (b"Encrypted.", ENCRYPTED),
    (b"Heuristics.Limits.Exceeded", UNSCANNABLE),
    (b"Heuristics.XZ.DicSizeLimit", UNSCANNABLE),
    (b"Heuristics.Broken.", UNSCANNABLE),
    (b"Broken.", UNSCANNABLE),
    (b"Heuristics.OLE2.ContainsMacros", POLICY),
    (b"Heuristics.Structured.", POLICY),
    (b"PUA.", POLICY),
    (b"Heuristics.Phishing.", SUSPICIOUS),
    (b"Heuristics.Safebrowsing.", SUSPICIOUS),
    (b"Phishing.", SUSPICIOUS),
    (b"Heuristics.Zip.OverlappingFiles", SUSPICIOUS),
    (b"Heuristics.PDF.ObfuscatedNameObject", SUSPICIOUS),
    (b"Heuristics.BoundsCheck", SUSPICIOUS),
    (b"Heuristics.APMPartitionIntersection", SUSPICIOUS),
    (b"Heuristics.GPTPartitionIntersection", SUSPICIOUS),
    (b"Heuristics.MBRPartition", SUSPICIOUS),  # "MBRPartitionnIntersect" in 1.4
    (b"BC.Heuristics", SUSPICIOUS),
)

FOUND = b" FOUND"

# More bytes than StreamMaxLength; the reply will be the same on every try.
OVER_LIMIT = b"INSTREAM size limit exceeded. ERROR"

# What clamd says in place of a name when a limit was hit inside a container.
NO_NAME = b"(null)"


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask clamd about the message."""
    way = target.way
    size = message.seen
    if way == DESCRIPTOR:
        # clamd reads from offset 0 of whatever it gets, and could write to it:
        # it gets a descriptor of its own, for reading.
        descriptor = message.reopen()
        try:
            conn.send_descriptor(b"zFILDES\0.", descriptor)
        finally:
            message.done_with(descriptor)
    elif way == STREAM:
        conn.send(b"zINSTREAM\0")
        for start in range(0, size, CHUNK_MAX):
            chunk = min(CHUNK_MAX, size - start)
            conn.send(chunk.to_bytes(4, "big"))
            conn.send_file(message.fd, start, chunk)
        conn.send(bytes(4))
    else:
        conn.send(b"zSCAN " + message.path + b"\0")
    return parse(conn.rest(), way, message.path)


def parse(reply: bytes, way: str, path: bytes) -> Finding:
    """The finding that a whole reply means; Defer for any other.

    path is what SCAN was given; it is not looked at for the other ways.
    """
    line, end, more = reply.partition(b"\0")
    if not end or more:
        raise _no_answer(reply)
    if line.endswith(FOUND):
        return _infection(line, way, path)
    if line == OVER_LIMIT and way == STREAM:
        return Finding(UNSCANNABLE, (), line)
    if line.endswith(b": OK") and _is_object(line.removesuffix(b": OK"), way, path):
        return Finding(CLEAN, (), line)
    raise _no_answer(reply)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    for line in lines_of(reply):
        if line.rstrip().endswith(FOUND):
            return _infection(line.rstrip(), target.way, message.path)
    raise _no_answer(reply)


def _infection(line: bytes, way: str, path: bytes) -> Finding:
    name = _bare(_without_object(line.removesuffix(FOUND), way, path))
    if name in (b"", NO_NAME):
        return Finding(INFECTED, (), line)
    return Finding(class_of_name(name, CLASSES), (name,), line)


def _no_answer(reply: bytes) -> Defer:
    if not reply:
        return Defer("closed the connection without an answer", BROKEN)
    return unexpected(reply.rstrip(bytes(1)))


def _is_object(name: bytes, way: str, path: bytes) -> bool:
    """Whether it is clamd's name for what we asked about."""
    if way == DESCRIPTOR:
        number = name.removeprefix(b"fd[").removesuffix(b"]")
        return name == b"fd[" + number + b"]" and number.isdigit()
    if way == STREAM:
        return name == b"stream"
    # clamd may answer with the real path, which ends in the name that only we know.
    real = name.startswith(b"/") and name.endswith(path[path.rindex(b"/") :])
    return name == path or (real and b": " not in name and b"\n" not in name)


def _without_object(text: bytes, way: str, path: bytes) -> bytes:
    """The signature's name; it may hold ": " itself, and so may a path."""
    at = text.find(b": ")
    if way not in (DESCRIPTOR, STREAM):
        name = path[path.rindex(b"/") :] + b": "
        at = text.find(name) + len(name) - 2 if name in text else at
    return text[at + 2 :] if at >= 0 else text


def _bare(name: bytes) -> bytes:
    """The name without the (md5:size) that ExtendedDetectionInfo appends."""
    bare, open_, info = name.rpartition(b"(")
    digest, colon, size = info.removesuffix(b")").partition(b":")
    if open_ and colon and info.endswith(b")") and len(digest) == 32 and size.isdigit():
        return bare
    return name
