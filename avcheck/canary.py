"""The known-answer test: does the scanner still recognise the test virus?

At most every so many seconds one process sends two mails through the very same
way before it asks about its own: one with the EICAR test file attached, and an
innocent one.  FOUND and OK must come back, or the scanner counts as FAILED until
a later test goes well.  So a scanner with an empty database, one that is told to
skip mail, or one that sees an empty file instead of ours does not pass mail.

The result is kept in a file in the spool directory: its first byte is "+" or "-",
its time of change is that of the test, and whoever has the lock does the next one.
"""

from __future__ import annotations

import fcntl
import os
from time import time

from avcheck.exits import CONFIG, because
from avcheck.printable import printable
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, INFECTED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Callable

    from avcheck.settings import Scanner
    from avcheck.spool import Directory

# A scanner that did not recognise it gets another chance after at most this many seconds.
AGAIN = 60.0

GOOD = b"+"
BAD = b"-"

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

    It is put together here, so that no file of this package is taken for a virus.
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
    """A message of these bytes, in the same directory and with a name if the other has one."""
    message = Message(beside.directory, b"", bool(beside.name))
    message.add(text)
    return message


def unless_trusted(
    scanner: Scanner,
    directory: Directory,
    seconds: float,
    send: Callable[[bytes], Finding],
) -> tuple[Finding | None, bool]:
    """The finding FAILED if the scanner is not to be trusted; and whether it was tested now.

    seconds is how long a good result is good for; send has the scanner asked about a
    message of these bytes.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(_name(scanner), flags, 0o600, dir_fd=directory.fd)
    except OSError as why:
        raise because("the known-answer test", why) from why
    try:
        result = _result(fd, seconds)
        if result is None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Somebody is testing.  Until he is done, what was good is good.
                if os.pread(fd, 1, 0) == GOOD:
                    return None, False
                fcntl.flock(fd, fcntl.LOCK_EX)  # the alarm of stop ends a wait too long
                result = _result(fd, seconds)
        if result == GOOD:
            return None, False
        if result == BAD:
            return _distrusted(), False
        finding = _test(send)
        if finding is None:
            os.pwrite(fd, GOOD, 0)
        elif finding.code == CONFIG:
            os.pwrite(fd, BAD, 0)
        return finding, True
    finally:
        os.close(fd)


def _result(fd: int, seconds: float) -> bytes | None:
    """The result of the last test, or None if it is too old or there is none."""
    result = os.pread(fd, 1, 0)
    age = time() - os.fstat(fd).st_mtime
    if result == GOOD and 0 <= age < seconds:
        return GOOD
    if result == BAD and 0 <= age < min(seconds, AGAIN):
        return BAD
    return None


def _test(send: Callable[[bytes], Finding]) -> Finding | None:
    """None if all is well; FAILED, with the code CONFIG if the scanner gave a wrong answer."""
    for mail, wanted in ((virus(), INFECTED), (INNOCENT, CLEAN)):
        finding = send(mail)
        if finding.verdict is FAILED:
            return finding
        if finding.verdict is not wanted:
            return _distrusted()
    return None


def _distrusted() -> Finding:
    return Finding(FAILED, (), "does not know the EICAR test virus from an innocent mail", CONFIG)


def _name(scanner: Scanner) -> bytes:
    """One file for each scanner and its places; of characters that are harmless in a name."""
    places = [str(target.address or printable(target.path)) for target in scanner.targets]
    words = "-".join([scanner.type, *places])
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in words)
    return b"canary." + plain[:200].encode("ascii")
