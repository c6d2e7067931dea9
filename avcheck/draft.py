"""An entry of the quarantine that is being made, in a directory of its own under .new.

Its maker holds a lock on the directory until the entry is done.  By the lock, and never by
the clock alone, others tell it from what a kill has left: a clock can be set a day ahead
while a run stores.
"""

from __future__ import annotations

import os
from errno import ENOENT
from stat import S_ISDIR
from time import time

from avcheck import entry, files
from avcheck.process import close, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from time import struct_time

# Seconds.  What is younger is left alone, locked or not: on NFS the lock of another host
# cannot be seen, and infected.sh has none where there is no flock(1).
OLD = 24 * 3600

# How often an entry is begun: another run can remove it before its lock is there, if the
# clock was set ahead in this very moment.
TRIES = 9


class Draft:
    """The open and locked directory; name is what the entry is to be called.

    As long as it is open, nobody else removes it.  place is the descriptor of the quarantine,
    and where the directory's own name there.
    """

    __slots__ = ("fd", "name", "place", "where")

    def __init__(self, name: bytes, where: bytes, fd: int, place: int) -> None:
        self.name = name
        self.where = where
        self.fd = fd
        self.place = place

    def add(self, name: bytes, pieces: Iterable[bytes]) -> None:
        """Store a file in it, on disk."""
        fd = files.create(name, self.fd)
        try:
            for piece in pieces:
                write(fd, piece)
            os.fsync(fd)
        finally:
            os.close(fd)

    def publish(self) -> None:
        """Have it appear as the entry, with one rename."""
        os.rename(self.where, self.name, src_dir_fd=self.place, dst_dir_fd=self.place)

    def is_at(self, name: bytes) -> bool:
        """Whether that is its name."""
        return _is_at(name, self.fd, self.place)

    def has(self, message: int, sidecar: int) -> bool:
        """Whether it has both files, of these sizes."""
        try:
            return all(
                os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_size == size
                for name, size in ((entry.MESSAGE, message), (entry.SIDECAR, sidecar))
            )
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        """Remove what has not been published."""
        remove(self.where, self.place)

    def close(self) -> None:
        close(self.fd)


def begin(now: struct_time, key: bytes, place: int) -> Draft:
    """Begin an entry; without a key its name ends at random."""
    for _ in range(TRIES):
        name = entry.name_of(now, key)
        # Two tries at one time, which have one name, are not to make it in one place.
        where = hidden(name) if key else entry.NEW + b"/" + name
        try:
            os.mkdir(where, 0o700, dir_fd=place)
            fd = _locked(where, place)
        except FileExistsError:  # somebody else's
            continue
        except BaseException:
            remove(where, place)
            raise
        if fd >= 0:
            return Draft(name, where, fd, place)
        remove(where, place)
    raise FileNotFoundError(ENOENT, "each new entry is removed by somebody; is the clock right?")


def hidden(name: bytes) -> bytes:
    """A name of the entry's in .new that nobody else has."""
    return entry.NEW + b"/" + name + b"." + entry.random_end()


def remove(where: bytes, place: int) -> None:
    """Remove an entry, or what is to become one."""
    for name in (entry.MESSAGE, entry.SIDECAR):
        try:
            os.unlink(where + b"/" + name, dir_fd=place)
        except OSError:
            continue
    try:
        os.rmdir(where, dir_fd=place)
    except OSError:
        return


def remove_old(place: int) -> None:
    """Remove what a run that was killed has left, a day later; what is in use is locked."""
    fd = files.open_directory(entry.NEW, place)
    try:
        for name in os.listdir(fd):
            _remove_left(entry.NEW + b"/" + os.fsencode(name), place)
    finally:
        os.close(fd)


def _remove_left(where: bytes, place: int) -> None:
    try:
        status = os.stat(where, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return  # another run has finished its own, or removed the same
    if not S_ISDIR(status.st_mode) or time() - status.st_mtime <= OLD:
        return
    fd = _locked(where, place)
    if fd >= 0:
        try:
            remove(where, place)
        finally:
            os.close(fd)


def _locked(where: bytes, place: int) -> int:
    """A descriptor of the directory with the lock on it; -1 if another has it, or it is gone.

    Who gets the lock after another may have removed the directory.  So only one that still
    has its name is locked.
    """
    try:
        fd = files.open_directory(where, place)
    except FileNotFoundError:
        return -1
    locked = False
    try:
        locked = files.lock(fd) and _is_at(where, fd, place)
    finally:
        if not locked:
            close(fd)
    return fd if locked else -1


def _is_at(name: bytes, fd: int, place: int) -> bool:
    """Whether that is the name of the open directory."""
    try:
        there = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))
