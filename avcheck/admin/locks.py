"""Locks: those that administrators take against each other, and those that runs hold."""

from __future__ import annotations

import inspect
import os
from typing import Any

import filelock

from avcheck.admin.output import Trouble
from avcheck.admin.places import Folder, as_root
from avcheck.printable import printable


def take(folder: Folder, name: bytes) -> filelock.BaseFileLock:
    """Lock the file of that name; raises Trouble if another administrator has it locked.

    To be called as the owner of the directory, with his umask (see account).  filelock takes
    paths only, so the descriptor is one; it follows no link in the place of the file, and
    wherever the directory's owner leads it, it has no more than his permissions.
    """
    place = folder.path.rstrip(b"/") + b"/" + name
    lock = _lock(os.fsdecode(folder.named(name)))
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Trouble(
            f"{printable(place)}: another avcheckctl is at work here", "wait until it has ended"
        ) from None
    except OSError as why:
        text = f"{printable(place)}: {why.strerror or why}"
        raise Trouble(text, as_root(why)) from why
    return lock


def _lock(path: str) -> filelock.BaseFileLock:
    """The lock, which is flock(2) and nothing weaker, and shared with nobody in this process."""
    wanted: dict[str, Any] = {"mode": 0o600, "fallback_to_soft": False, "is_singleton": False}
    # Debian's are older: they never fall back, and share nothing unless they are told to.
    known = inspect.signature(filelock.FileLock.__init__).parameters
    return filelock.FileLock(path, 0, **{name: wanted[name] for name in wanted if name in known})


def holders(status: os.stat_result, mode: str) -> list[int]:
    """The processes that have a flock(2) of that mode (READ or WRITE) on the file."""
    with open("/proc/locks", "rb") as locks:
        return parse(locks.read().decode("ascii", "replace"), status.st_ino, mode)


def parse(text: str, inode: int, mode: str) -> list[int]:
    """The process IDs in the lines of /proc/locks for that inode, without those that wait.

    The device is not compared: btrfs gives another one here than stat(2) does.
    """
    found = []
    for line in text.splitlines():
        fields = line.split()
        if fields[1:4] != ["FLOCK", "ADVISORY", mode] or len(fields) < 8:
            continue
        if fields[5].rpartition(":")[2] == str(inode):
            found.append(int(fields[4]))
    return found
