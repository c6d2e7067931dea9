"""The known-answer test: does the scanner still recognise the test virus?

When the last test is too old, one run sends two mails, the way its own message will go,
before it asks about that: one with the EICAR test file attached, and an innocent one.  The
answers must be INFECTED and CLEAN, or the scanner counts as FAILED until a later test
succeeds.  So no mail passes because the scanner's database is empty, because it is told to
skip mail, or because it sees an empty file in the place of ours.

The result is a file in the spool directory.  Its first byte is "+" or "-", its time of
modification is that of the test, and the run that has the lock on it makes the next test.
The lock is all that says that a test is being made, and it ends with the process.
"""

from __future__ import annotations

from time import time

from avcheck import files, unix
from avcheck.exits import CONFIG, EXPIRED, Defer, defer_from
from avcheck.printable import printable
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, INFECTED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from avcheck.directory import Directory
    from avcheck.settings import Scanner, Target

# A scanner that failed the test is tested again after at most this many seconds.
AGAIN = 60.0

# Seconds between two looks at another run's test.
PAUSE = 0.02

# While the next test is made, a good result is valid for this many times --canary.
LONGER = 2

# A file name has at most 255 bytes.
NAME_MAX = 200

UNRELIABLE = "does not know the EICAR test virus from an innocent mail"

# The first byte of the file.
GOOD = b"+"
BAD = b"-"

OUR_TURN = b"?"  # in the place of a result: the test is ours to make

HEADER = (
    b"Received: from localhost by localhost; Thu, 1 Jan 2026 00:00:00 +0000\n"
    b"From: avcheck <postmaster@localhost>\n"
    b"To: postmaster@localhost\n"
    b"Subject: avcheck known-answer test\n"
    b"MIME-Version: 1.0\n"
)
INNOCENT = HEADER + b"Content-Type: text/plain\n\nNothing is wrong with this.\n"


def virus() -> bytes:
    """A mail with the EICAR test file (www.eicar.org) as an attachment.

    It is put together here, so that no scanner takes a file of this package for a virus.
    """
    from binascii import b2a_base64

    eicar = b"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"[::-1]
    return (
        HEADER
        + b'Content-Type: multipart/mixed; boundary="avcheck"\n\n--avcheck\n'
        + b'Content-Type: application/octet-stream; name="eicar.com"\n'
        + b"Content-Transfer-Encoding: base64\n\n"
        + b2a_base64(eicar)
        + b"\n--avcheck--\n"
    )


def mail(text: bytes, beside: Message) -> Message:
    """A message of this text in the same directory, with a name if the other one has a name."""
    message = Message(beside.directory, b"", bool(beside.name))
    try:
        message.add(text)
        message.complete()
    except BaseException:
        message.close()
        raise
    return message


def check(
    name: bytes,
    directory: Directory,
    seconds: float,
    deadline: float,
    send: Callable[[bytes], Finding],
) -> tuple[Finding | None, bool]:
    """The finding FAILED if the scanner is not to be trusted, else None; and whether it was tested.

    name is that of the file with the result, seconds how long a good one is valid; send asks
    the scanner about a message with that text.  Raises Defer if there is no result at the
    deadline.
    """
    try:
        fd = files.open_regular(name, unix.O_RDWR | unix.O_CREAT, directory.fd)
        try:
            result = _result(fd, seconds) or _wait_for_turn(fd, seconds, deadline)
            if result == GOOD:
                return None, False
            if result == BAD:
                return _distrusted(), False
            finding = _test(send)
            if finding is None:
                unix.pwrite(fd, GOOD, 0)
                return None, True
            if finding.text == UNRELIABLE:
                unix.pwrite(fd, BAD, 0)
            return finding, False
        finally:
            unix.close(fd)
    except OSError as why:
        raise defer_from(f"the known-answer test in {printable(directory.path)}", why) from why


def _result(fd: int, seconds: float) -> bytes:
    """The result of the last test; nothing if there is none, or if it is too old.

    Nor if it is from the future: the clock has been set back since.
    """
    # In this order: a result that is written in between seems older than it is, never newer.
    age = time() - unix.fstat(fd).st_mtime
    result = unix.pread(fd, 1, 0)
    if result == GOOD and 0 <= age < seconds:
        return GOOD
    if result == BAD and 0 <= age < min(seconds, AGAIN):
        return BAD
    return b""


def _wait_for_turn(fd: int, seconds: float, deadline: float) -> bytes:
    """OUR_TURN once we have the lock, which is the right to test; or a result found meanwhile."""

    def look() -> bytes:
        if files.lock(fd):
            return _result(fd, seconds) or OUR_TURN
        # Another run is testing, and may hang.  Until then a good result is valid for longer.
        return GOOD if _result(fd, LONGER * seconds) == GOOD else b""

    result = files.wait_for(look, deadline, PAUSE)
    if not result:
        raise Defer("another run tests the scanner, and has no answer yet", EXPIRED)
    return result


def _test(send: Callable[[bytes], Finding]) -> Finding | None:
    """Test the scanner: None if it knows both mails, else the finding FAILED."""
    for text, wanted in ((virus(), INFECTED), (INNOCENT, CLEAN)):
        finding = send(text)
        if finding.verdict is FAILED:
            return finding
        if finding.verdict is not wanted:
            return _distrusted()
    return None


def _distrusted() -> Finding:
    return Finding(FAILED, (), UNRELIABLE, CONFIG)


def state_file(scanner: Scanner, target: Target) -> bytes:
    """The name of the file with the result, one for each place and way to ask."""
    where = target.address.spelled() if target.address else b""
    parts = [scanner.type.encode(), target.way.encode(), b"%d" % target.tls, where, target.path]
    parts += [key.encode() + b"=" + value for key, value in sorted(target.parameters.items())]
    name = b"\n".join(parts).hex()
    if len(name) > NAME_MAX:
        from hashlib import sha256

        name = sha256(name.encode()).hexdigest()
    return b"canary." + name.encode()
