"""No message is taken while the waitfile exists.

A run that got past this holds a shared lock on the spool directory until it
ends.  So whoever creates the waitfile and then gets the exclusive lock knows
that no message is in flight any more: the manual page's "wait for some time"
made exact.
"""

from __future__ import annotations

import fcntl
import os

from avcheck.exits import HELD, Defer, because
from avcheck.printable import printable


def unless_open(waitfile: bytes) -> None:
    """Raise Defer when the waitfile is there, or when that cannot be found out."""
    if not waitfile:
        return
    try:
        os.lstat(waitfile)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as why:
        raise because(b"waitfile " + waitfile, why) from why
    raise Defer(f"held back while {printable(waitfile)} exists", HELD)


def share(directory: int, waitfile: bytes) -> None:
    """Lock the directory (its descriptor) together with the other runs, then look again.

    The lock is gone with the process.  Raises Defer when somebody has the directory
    for himself, or when the waitfile has come meanwhile.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as why:
        raise Defer("held back while the spool directory is locked", HELD) from why
    except OSError as why:
        raise because("locking the spool directory", why) from why
    unless_open(waitfile)
