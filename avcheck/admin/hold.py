"""The waitfile and the spool directory, as the commands pause, resume and status see them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from time import gmtime, monotonic, sleep, strftime

import filelock

from avcheck import waitfile
from avcheck.admin import account, given
from avcheck.admin.output import Trouble
from avcheck.printable import printable
from avcheck.waitfile import TIME, Note

# Seconds between two looks at a lock that somebody else has, or at a scanner that
# does not answer yet.  Neither tells when that changes.
PAUSE = 0.05


@dataclass(frozen=True)
class Place:
    """A waitfile, and the spool directory (or empty) of the runs that look at it."""

    waitfile: bytes
    spool: bytes

    @property
    def parent(self) -> bytes:
        return os.path.dirname(os.path.abspath(self.waitfile))


def places(site: given.Site) -> list[Place]:
    """The places of all services; raises Trouble if one has no waitfile."""
    for service in site.services:
        if not service.sure.waitfile:
            raise Trouble(
                f"{service.name}: has no waitfile",
                "add -w and a path in its spool directory to its arguments",
            )
    return given.once([Place(each.sure.waitfile, each.sure.spool) for each in site.services])


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """No other administrator is at it while in the with block; raises Trouble if one is."""
    with locked(place.waitfile + b".lock", place.parent):
        yield


@contextlib.contextmanager
def locked(name: bytes, directory: bytes) -> Iterator[None]:
    """Hold the lock file, as the owner of its directory; raises Trouble if somebody else does."""
    lock = filelock.FileLock(
        os.fsdecode(name), timeout=0, mode=0o600, fallback_to_soft=False, is_singleton=False
    )
    try:
        with account.owner_of(directory):
            lock.acquire()
    except filelock.Timeout:
        raise Trouble(
            f"{printable(name)}: another avcheckctl is at work here", "wait until it has ended"
        ) from None
    except OSError as why:
        raise Trouble(f"{printable(name)}: {why.strerror or why}", "run this as root") from why
    try:
        yield
    finally:
        lock.release()


def write(place: Place, note: Note) -> None:
    """Make the waitfile, whole from the first moment; raises Trouble if there is one."""
    new = place.waitfile + b".new"
    try:
        with account.owner_of(place.parent):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(new, flags, 0o600)
            try:
                os.write(fd, note.render())
                os.fchmod(fd, 0o644)
                # Those who are held back write to it, and they are the spool's owner.
                if place.spool and os.geteuid() == 0:
                    os.fchown(fd, os.stat(place.spool).st_uid, -1)
            finally:
                os.close(fd)
            try:
                os.link(new, place.waitfile, follow_symlinks=False)
            finally:
                os.unlink(new)
    except FileExistsError:
        held = read(place)
        why = f": {held.reason}" if held and held.reason else ""
        raise Trouble(
            f"mail is held back already by {printable(place.waitfile)}{why}",
            f"avcheckctl resume --waitfile {printable(place.waitfile)}",
        ) from None
    except OSError as why:
        raise Trouble(
            f"{printable(place.waitfile)}: {why.strerror}", "run this as root, or as its owner"
        ) from why


def read(place: Place) -> Note | None:
    """What the waitfile says, or None if there is none; raises Trouble if that is unknown."""
    try:
        with account.owner_of(place.parent):
            return _note(place.waitfile)
    except FileNotFoundError:
        return None
    except OSError as why:
        if os.path.lexists(place.waitfile):
            return Note()  # a directory or a dangling link holds the mail back, too
        raise Trouble(f"{printable(place.waitfile)}: {why.strerror}", "run this as root") from why


def _note(name: bytes) -> Note:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return waitfile.parse(os.pread(fd, waitfile.SIZE_MAX, 0))
    finally:
        os.close(fd)


def held_back(place: Place) -> int:
    """How many attempts the waitfile has held back; -1 if that was not counted."""
    try:
        with account.owner_of(place.parent):
            note = _note(place.waitfile)
            return os.stat(place.waitfile).st_size - note.counted if note.counted >= 0 else -1
    except OSError:
        return -1


def remove(place: Place) -> int | None:
    """End the pause; returns how many attempts were held back (-1: not counted), None if none was.

    Raises Trouble if the waitfile cannot be removed.
    """
    try:
        with account.owner_of(place.parent):
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                fd = os.open(place.waitfile, flags)
            except FileNotFoundError:
                return None
            except OSError:
                os.unlink(place.waitfile)
                return -1
            try:
                os.unlink(place.waitfile)
                # Looked at after nobody new can find it.
                note = waitfile.parse(os.pread(fd, waitfile.SIZE_MAX, 0))
                return os.fstat(fd).st_size - note.counted if note.counted >= 0 else -1
            finally:
                os.close(fd)
    except OSError as why:
        raise Trouble(
            f"{printable(place.waitfile)}: {why.strerror}", "run this as root, or as its owner"
        ) from why


def drained(spool: bytes, seconds: float) -> bool:
    """Wait until no message is in flight; False if there still is one after so many seconds.

    That is when an exclusive lock on the spool directory can be had.  Raises Trouble if
    that cannot be found out.
    """
    until = monotonic() + seconds
    try:
        with account.owner_of(spool):
            fd = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while True:
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return True
                    except BlockingIOError:
                        if monotonic() > until:
                            return False
                        sleep(PAUSE)
            finally:
                os.close(fd)
    except OSError as why:
        raise Trouble(f"{printable(spool)}: {why.strerror}", "run this as root") from why


def in_flight(spool: bytes) -> list[int]:
    """The processes that share the lock on the spool directory, by /proc/locks."""
    return lock_holders(os.stat(spool), "READ")


def lock_holders(status: os.stat_result, mode: str) -> list[int]:
    """Who has a flock(2) of that mode (READ or WRITE) on a file."""
    with open("/proc/locks", "rb") as locks:
        return parse_locks(locks.read().decode("ascii", "replace"), status.st_ino, mode)


def parse_locks(text: str, inode: int, mode: str) -> list[int]:
    """The process IDs in the lines of /proc/locks for that inode, without those who wait.

    The device is not looked at: btrfs gives another one here than stat(2) does.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[1:4] != ["FLOCK", "ADVISORY", mode] or len(words) < 8:
            continue
        if words[5].rpartition(":")[2] == str(inode):
            found.append(int(words[4]))
    return found


def now(later: float = 0.0) -> str:
    """The time in so many seconds, as a waitfile has it."""
    from time import time

    return strftime(TIME, gmtime(time() + later))
