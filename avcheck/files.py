"""Files where others may be at work: opened so that nobody can mislead us, and locked.

Imported only where a file with a name is used; a clean message needs none.
"""

from __future__ import annotations

import fcntl
from errno import EINVAL, EISDIR
from time import monotonic, sleep

from avcheck import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

# A pipe that nobody writes to, a device, a terminal: none of them makes us wait.
_OPEN = unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC


def open_regular(
    name: bytes | str,
    flags: int = unix.O_RDONLY,
    dir_fd: int | None = None,
    *,
    follow: bool = False,
) -> int:
    """A descriptor of a regular file; with O_CREAT it is made, for us alone, if there is none.

    Raises OSError for anything else.  A symbolic link is followed only if follow says so.
    """
    flags |= _OPEN if follow else _OPEN | unix.O_NOFOLLOW
    fd = unix.open(name, flags, 0o600, dir_fd=dir_fd)
    mode = unix.fstat(fd).st_mode
    if unix.S_ISREG(mode):
        return fd
    unix.close(fd)
    if unix.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, unix.strerror(EISDIR))
    raise OSError(EINVAL, "not a regular file")


def create(name: bytes, dir_fd: int | None = None) -> int:
    """A descriptor of a new file, to be written to; raises FileExistsError if there is one."""
    return open_regular(name, unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, dir_fd)


def open_directory(name: bytes | str, dir_fd: int | None = None) -> int:
    """A descriptor of a directory, to be listed or locked; a link to one is refused."""
    flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
    return unix.open(name, flags, dir_fd=dir_fd)


def read_up_to(fd: int, limit: int) -> bytes:
    """The rest of the file from its offset on, but no more than limit bytes."""
    data = b""
    while len(data) < limit and (piece := unix.read(fd, limit - len(data))):
        data += piece
    return data


def lock(fd: int) -> bool:
    """Get the lock on the file for us alone; False if somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for(look: Callable[[], T], deadline: float, pause: float) -> T:
    """Call look() until it returns something true, or the deadline has passed; its last result.

    With pauses between: no system call waits for a lock until a deadline.
    """
    while not (found := look()) and monotonic() <= deadline:
        sleep(pause)
    return found
