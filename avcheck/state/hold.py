"""No message is taken while the waitfile exists.

A run that got past this holds a shared lock on the spool directory until it
ends.  So whoever creates the waitfile and then gets the exclusive lock knows
that no message is in flight any more: the manual page's "wait for some time"
made exact.
"""

from __future__ import annotations

import fcntl
import os

from avcheck.exits import HELD, Defer, defer_from
from avcheck.printable import printable


def refuse_while_paused(waitfile: bytes) -> None:
    """Raise Defer when the waitfile is there, or when that cannot be found out."""
    if not waitfile:
        return
    try:
        os.lstat(waitfile)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as why:
        raise defer_from(b"waitfile " + waitfile, why) from why
    raise Defer(f"held back while {printable(waitfile)} exists{_reason(waitfile)}", HELD)


def _reason(name: bytes) -> str:
    """What the waitfile itself says about it (see avcheckctl(8)); and one more is counted there."""
    from time import gmtime, strftime

    from avcheck import files
    from avcheck.state import waitfile

    try:
        try:
            fd = files.open_regular(name, os.O_RDWR | os.O_APPEND)
        except PermissionError:  # somebody else's
            fd = files.open_regular(name)
        try:
            note = waitfile.parse(os.pread(fd, waitfile.SIZE_MAX, 0))
            if note.counted >= 0:
                os.write(fd, b".")
        finally:
            os.close(fd)
    except OSError:  # it is there, which is all that matters
        return ""
    words = note.words(strftime(waitfile.TIME, gmtime()), _local)
    return f": {words}" if words else ""


def _local(stamp: str) -> str:
    """A time of the waitfile as the mail system's log and mailq(1) have it.

    By what time(2) knows alone: datetime costs as much as all of the delivery path.
    """
    from time import gmtime, localtime, mktime, strftime, timezone

    from avcheck.state.waitfile import TIME

    numbers = [int(stamp[at : at + 2]) for at in (5, 8, 11, 14, 17)]
    month, day, hour, minute, second = numbers
    try:
        # mktime takes it for local standard time, which is so far from UTC.
        standard = mktime((int(stamp[:4]), month, day, hour, minute, second, 0, 0, 0))
        seconds = standard - timezone
        if strftime(TIME, gmtime(seconds)) == stamp:  # else there is no such day
            return strftime("%Y-%m-%d %H:%M:%S %Z", localtime(seconds))
    except (OverflowError, ValueError, OSError):  # nor such a year
        pass
    return stamp


def lock_shared(directory: int, waitfile: bytes) -> None:
    """Lock the directory (its descriptor) together with the other runs, then look again.

    The lock is gone with the process.  Raises Defer when somebody has the directory
    for himself, or when the waitfile has come meanwhile.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as why:
        raise Defer("held back while the spool directory is locked", HELD) from why
    except OSError as why:
        raise defer_from("locking the spool directory", why) from why
    refuse_while_paused(waitfile)
