"""The waitfile and the spool directory, as the commands pause, resume and status see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from time import gmtime, monotonic, strftime

from avcheck import files
from avcheck.admin import locks, sites
from avcheck.admin import places as folders
from avcheck.admin.output import Trouble
from avcheck.printable import printable
from avcheck.state import waitfile
from avcheck.state.waitfile import HELD, TIME, Note

# Seconds between two tries to get the lock.
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
    """Keep other administrators away while in the with block; raises Trouble if one is at work.

    In the block root is root again, for the command that it runs meanwhile.
    """
    with _parent(place) as folder:
        lock = locks.take(folder, place.name + b".lock")
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _parent(place: Place) -> Iterator[folders.Folder]:
    """The directory of the waitfile, as its owner; raises Trouble for what goes wrong there."""
    try:
        with folders.opened(place.parent) as folder:
            yield folder
    except OSError as why:
        text = f"{printable(place.waitfile)}: {why.strerror}"
        raise Trouble(text, folders.as_root(why)) from why


def write(place: Place, note: Note) -> None:
    """Make the waitfile, whole from the first moment; raises Trouble if there is one.

    It belongs to the owner of its directory.  It counts the attempts that it holds back
    only if they run as that account, which alone can add to it.
    """
    counts = not place.spool or _creator(place.parent) == _owner(place.spool)
    text = note.render() if counts else note.render().removesuffix(b"\n" + HELD.encode())
    new = place.name + b".new"
    with _parent(place) as folder:
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
            held = _note(folder, place)
        finally:
            os.unlink(new, dir_fd=folder.fd)
    why = f": {held.reason}" if held and held.reason else ""
    raise Trouble(
        f"mail is held back already by {printable(place.waitfile)}{why}",
        f"avcheckctl resume -w {printable(place.waitfile)}",
    )


def _creator(directory: bytes) -> int:
    """The account that a file made there belongs to."""
    return _owner(directory) if os.geteuid() == 0 else os.geteuid()


def _owner(directory: bytes) -> int:
    try:
        return folders.owner(directory)
    except OSError as why:
        raise Trouble(f"{printable(directory)}: {why.strerror}") from why


def read(place: Place) -> Note | None:
    """What the waitfile says, or None if there is none; raises Trouble if that is unknown."""
    with _parent(place) as folder:
        return _note(folder, place)


def _note(folder: folders.Folder, place: Place) -> Note | None:
    try:
        fd, note = _open(folder, place)
        os.close(fd)
        return note
    except FileNotFoundError:
        return None
    except OSError:
        folder.status(place.name)
        return Note()  # a directory or a dangling link holds the mail back, too


def _open(folder: folders.Folder, place: Place) -> tuple[int, Note]:
    """A descriptor of the waitfile, and what it says."""
    fd = files.open_regular(place.name, dir_fd=folder.fd)
    try:
        return fd, waitfile.parse(os.pread(fd, waitfile.SIZE_MAX, 0))
    except OSError:
        os.close(fd)
        raise


def held_back(place: Place) -> int:
    """How many attempts the waitfile has held back; -1 if it does not count them."""
    try:
        with folders.opened(place.parent) as folder:
            return _counted(*_open(folder, place))
    except OSError:
        return -1


def _counted(fd: int, note: Note) -> int:
    """How many attempts the waitfile has counted; its descriptor is closed."""
    try:
        return os.fstat(fd).st_size - note.counted if note.counted >= 0 else -1
    finally:
        os.close(fd)


def remove(place: Place) -> int | None:
    """End the pause; returns how many attempts were held back (-1: not counted), None if none was.

    Raises Trouble if the waitfile cannot be removed.
    """
    with _parent(place) as folder:
        try:
            fd, note = _open(folder, place)
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
        # Counted now that no new attempt can find it.
        return _counted(fd, note)


def drained(spool: bytes, seconds: float) -> bool:
    """Wait until no message is in flight; False if there still is one after so many seconds.

    Every run has a shared lock on the spool directory, so none is left once we can lock it
    for us alone.  Raises Trouble if that cannot be found out.
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


def now(later: float = 0.0) -> str:
    """The time, or what it will be that many seconds later, in the form of a waitfile."""
    from time import time

    return strftime(TIME, gmtime(time() + later))
