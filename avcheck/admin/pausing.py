"""The waitfile and the spool directory, as the commands pause, resume and status see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from time import gmtime, monotonic, strftime

import filelock

from avcheck import files
from avcheck.admin import places as folders
from avcheck.admin import sites
from avcheck.admin.output import Trouble
from avcheck.printable import printable
from avcheck.state import waitfile
from avcheck.state.waitfile import HELD, TIME, Note

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
        return folders.split(self.waitfile)[0]

    @property
    def name(self) -> bytes:
        return folders.split(self.waitfile)[1]


def places(site: sites.Site) -> list[Place]:
    """The places of all services; raises Trouble if one has no waitfile."""
    for service in site.services:
        if not service.require_settings.waitfile:
            raise Trouble(
                f"{service.name}: has no waitfile",
                "add -w and a path in its spool directory to its arguments",
            )
    return sites.unique(
        [
            Place(each.require_settings.waitfile, each.require_settings.spool)
            for each in site.services
        ]
    )


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """No other administrator is at it while in the with block; raises Trouble if one is.

    In the block root is root again, for the command that it runs meanwhile.
    """
    with _beside(place) as folder:
        lock = locked(folder, place.name + b".lock")
    try:
        yield
    finally:
        lock.release()


def locked(folder: folders.Folder, name: bytes) -> filelock.BaseFileLock:
    """Get the lock file, as the owner of its directory; raises Trouble if somebody else has it.

    The package knows paths only, and has no use for a descriptor of the directory.  It
    follows no link in the place of the file; and what the directory's owner may lead it
    to, it opens with his permissions.
    """
    place = folder.path.rstrip(b"/") + b"/" + name
    lock = filelock.FileLock(
        os.fsdecode(folder.named(name)),
        timeout=0,
        mode=0o600,
        fallback_to_soft=False,
        is_singleton=False,
    )
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Trouble(
            f"{printable(place)}: another avcheckctl is at work here", "wait until it has ended"
        ) from None
    except OSError as why:
        text = f"{printable(place)}: {why.strerror or why}"
        raise Trouble(text, folders.as_root(why)) from why
    return lock


@contextlib.contextmanager
def _beside(place: Place) -> Iterator[folders.Folder]:
    """The directory of the waitfile, as its owner; raises Trouble for what goes wrong there."""
    try:
        with folders.opened(place.parent) as folder:
            yield folder
    except OSError as why:
        text = f"{printable(place.waitfile)}: {why.strerror}"
        raise Trouble(text, folders.as_root(why)) from why


def write(place: Place, note: Note) -> None:
    """Make the waitfile, whole from the first moment; raises Trouble if there is one.

    It belongs to the owner of its directory.  Where those who are held back are somebody
    else, and could not add to it, it does not count them.
    """
    counts = not place.spool or _maker(place.parent) == _owner(place.spool)
    text = note.render() if counts else note.render().removesuffix(b"\n" + HELD.encode())
    new = place.name + b".new"
    with _beside(place) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder.fd)
        fd = files.create(new, folder.fd)
        try:
            os.write(fd, text)
            os.fchmod(fd, 0o644)
        finally:
            os.close(fd)
        try:
            os.link(
                new,
                place.name,
                src_dir_fd=folder.fd,
                dst_dir_fd=folder.fd,
                follow_symlinks=False,
            )
            return
        except FileExistsError:
            held = _seen(folder, place)
        finally:
            os.unlink(new, dir_fd=folder.fd)
    why = f": {held.reason}" if held and held.reason else ""
    raise Trouble(
        f"mail is held back already by {printable(place.waitfile)}{why}",
        f"avcheckctl resume --waitfile {printable(place.waitfile)}",
    )


def _maker(directory: bytes) -> int:
    """Who we are when we make something there."""
    return _owner(directory) if os.geteuid() == 0 else os.geteuid()


def _owner(directory: bytes) -> int:
    try:
        return folders.owner(directory)
    except OSError as why:
        raise Trouble(f"{printable(directory)}: {why.strerror}") from why


def read(place: Place) -> Note | None:
    """What the waitfile says, or None if there is none; raises Trouble if that is unknown."""
    with _beside(place) as folder:
        return _seen(folder, place)


def _seen(folder: folders.Folder, place: Place) -> Note | None:
    try:
        fd, note = _opened(folder, place)
        os.close(fd)
        return note
    except FileNotFoundError:
        return None
    except OSError:
        folder.status(place.name)
        return Note()  # a directory or a dangling link holds the mail back, too


def _opened(folder: folders.Folder, place: Place) -> tuple[int, Note]:
    """A descriptor of the waitfile, and what it says."""
    fd = files.open_regular(place.name, dir_fd=folder.fd)
    try:
        return fd, waitfile.parse(os.pread(fd, waitfile.SIZE_MAX, 0))
    except OSError:
        os.close(fd)
        raise


def held_back(place: Place) -> int:
    """How many attempts the waitfile has held back; -1 if that was not counted."""
    try:
        with folders.opened(place.parent) as folder:
            return _counted(*_opened(folder, place))
    except OSError:
        return -1


def _counted(fd: int, note: Note) -> int:
    """The number of attempts in the waitfile, which is closed."""
    try:
        return os.fstat(fd).st_size - note.counted if note.counted >= 0 else -1
    finally:
        os.close(fd)


def remove(place: Place) -> int | None:
    """End the pause; returns how many attempts were held back (-1: not counted), None if none was.

    Raises Trouble if the waitfile cannot be removed.
    """
    with _beside(place) as folder:
        try:
            fd, note = _opened(folder, place)
        except FileNotFoundError:
            return None
        except OSError:
            os.unlink(place.name, dir_fd=folder.fd)
            return -1
        try:
            os.unlink(place.name, dir_fd=folder.fd)
        except OSError:
            os.close(fd)
            raise
        # Looked at after nobody new can find it.
        return _counted(fd, note)


def drained(spool: bytes, seconds: float) -> bool:
    """Wait until no message is in flight; False if there still is one after so many seconds.

    That is when an exclusive lock on the spool directory can be had.  Raises Trouble if
    that cannot be found out.
    """
    until = monotonic() + seconds
    try:
        with folders.opened(spool) as folder:
            fd = folder.itself()
            try:
                return files.wait_for(lambda: files.lock(fd), until, PAUSE)
            finally:
                os.close(fd)
    except OSError as why:
        raise Trouble(f"{printable(spool)}: {why.strerror}", folders.as_root(why)) from why


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
