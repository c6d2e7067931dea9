"""No message is taken while the waitfile exists.

A run that gets past this holds a shared lock on the spool directory until it ends.
So whoever creates the waitfile, and then gets the exclusive lock, knows that no message
is in flight any more: the exact form of the manual page's "wait for some time".
"""

from __future__ import annotations

import fcntl

from avcheck import unix
from avcheck.exits import HELD, Defer, defer_from
from avcheck.printable import printable


def refuse_while_paused(waitfile: bytes) -> None:
    """Raise Defer if the waitfile exists, or if that cannot be found out."""
    if not waitfile:
        return
    try:
        unix.lstat(waitfile)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as why:
        raise defer_from(b"waitfile " + waitfile, why) from why
    raise Defer(f"held back while {printable(waitfile)} exists{_reason(waitfile)}", HELD)


def _reason(name: bytes) -> str:
    """The reason that the waitfile gives (see avcheckctl(8)); this attempt is counted in it."""
    from time import gmtime, strftime

    from avcheck import files
    from avcheck.state import waitfile

    try:
        try:
            fd = files.open_regular(name, unix.O_RDWR | unix.O_APPEND)
        except PermissionError:  # it is not our file to write to
            fd = files.open_regular(name)
        try:
            note = waitfile.parse(unix.pread(fd, waitfile.SIZE_MAX, 0))
            if note.counted >= 0:
                unix.write(fd, b".")
        finally:
            unix.close(fd)
    except OSError:  # it exists, and that is enough
        return ""
    reason = note.explain(strftime(waitfile.TIME, gmtime()), _local)
    return f": {reason}" if reason else ""


def _local(stamp: str) -> str:
    """A time of the waitfile in local time, as in the mail system's log and in mailq(1).

    Without datetime, which costs as much as all of the delivery path.
    """
    from time import gmtime, localtime, mktime, strftime, timezone

    from avcheck.state.waitfile import TIME

    numbers = [int(stamp[at : at + 2]) for at in (5, 8, 11, 14, 17)]
    month, day, hour, minute, second = numbers
    try:
        # mktime() takes it for local standard time, and timezone is how far that is from UTC.
        standard = mktime((int(stamp[:4]), month, day, hour, minute, second, 0, 0, 0))
        seconds = standard - timezone
        if strftime(TIME, gmtime(seconds)) == stamp:  # not so on a day like February 30
            return strftime("%Y-%m-%d %H:%M:%S %Z", localtime(seconds))
    except (OverflowError, ValueError, OSError):  # there is no such year
        pass
    return stamp


def lock_shared(directory: int, waitfile: bytes) -> None:
    """Share the lock on the directory (a descriptor) with other runs, then look again.

    The lock ends with the process.  Raises Defer if somebody has locked the directory
    exclusively, or if the waitfile has been created meanwhile.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as why:
        raise Defer("held back while the spool directory is locked", HELD) from why
    except OSError as why:
        raise defer_from("locking the spool directory", why) from why
    refuse_while_paused(waitfile)
