"""The known-answer test: does the scanner still recognise the test virus?

At most every so many seconds one process sends two mails through the very same
way before it asks about its own: one with the EICAR test file attached, and an
innocent one.  FOUND and OK must come back, or the scanner counts as FAILED until
a later test goes well.  So a scanner with an empty database, one that is told to
skip mail, or one that sees an empty file instead of ours does not pass mail.

The result is kept in a file in the spool directory: its first byte is "+" or "-",
its time of change is that of the test, and whoever has the lock does the next one.
That somebody is at it is told by the lock alone, which goes with him.
"""

from __future__ import annotations

import os
from time import time

from avcheck import files
from avcheck.exits import CONFIG, EXPIRED, Defer, defer_from
from avcheck.printable import printable
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, INFECTED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from avcheck.directory import Directory
    from avcheck.settings import Scanner, Target

# A scanner that did not recognise it gets another chance after at most this many seconds.
AGAIN = 60.0

# Seconds between two looks whether somebody else's test is done.
PAUSE = 0.02

# How many times as long a good result is good while the next test is made: it is, at
# any moment, younger than twice what --canary says.
LONGER = 2

# A file name has at most 255 bytes.
NAME_MAX = 200

UNRELIABLE = "does not know the EICAR test virus from an innocent mail"

# What the file says.
GOOD = b"+"
BAD = b"-"

OUR_TURN = b"?"  # in the place of a result: nobody else is testing

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
    message.complete()
    return message


def check(
    name: bytes,
    directory: Directory,
    seconds: float,
    deadline: float,
    send: Callable[[bytes], Finding],
) -> tuple[Finding | None, bool]:
    """The finding FAILED if the scanner at that place is not to be trusted, else None.

    And whether it was tested just now.  name is that of the file with the result; seconds
    is how long a good one is good for; send has the scanner asked about a message of these
    bytes.  Raises Defer when it cannot be found out until the deadline.
    """
    try:
        fd = files.open_regular(name, os.O_RDWR | os.O_CREAT, directory.fd)
        try:
            result = _result(fd, seconds) or _wait_for_turn(fd, seconds, deadline)
            if result == GOOD:
                return None, False
            if result == BAD:
                return _distrusted(), False
            finding = _test(send)
            if finding is None:
                os.pwrite(fd, GOOD, 0)
                return None, True
            if finding.text == UNRELIABLE:
                os.pwrite(fd, BAD, 0)
            return finding, False
        finally:
            os.close(fd)
    except OSError as why:
        raise defer_from(f"the known-answer test in {printable(directory.path)}", why) from why


def _result(fd: int, seconds: float) -> bytes:
    """The result of the last test, or nothing if it is too old or there is none.

    One from the future is none: the clock has been put back since.
    """
    # In this order: what is written in between is then taken for older than it is.
    age = time() - os.fstat(fd).st_mtime
    result = os.pread(fd, 1, 0)
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
        # Somebody is testing, and may hang.  What was good is good for as long again.
        return GOOD if _result(fd, LONGER * seconds) == GOOD else b""

    result = files.wait_for(look, deadline, PAUSE)
    if not result:
        raise Defer("another run tests the scanner, and has no answer yet", EXPIRED)
    return result


def _test(send: Callable[[bytes], Finding]) -> Finding | None:
    """None if all is well, else FAILED."""
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
    """The name of the file with the result: another one for each place and way to ask."""
    where = target.address.spelled() if target.address else b""
    words = [scanner.type.encode(), target.way.encode(), b"%d" % target.tls, where, target.path]
    words += [key.encode() + b"=" + value for key, value in sorted(target.parameters.items())]
    name = b"\n".join(words).hex()
    if len(name) > NAME_MAX:
        from hashlib import sha256

        name = sha256(name.encode()).hexdigest()
    return b"canary." + name.encode()
