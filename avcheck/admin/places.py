"""Directories and files that are somebody else's, opened for the administrator.

Root does not trust the account that avcheck runs as, nor the scanner's: such an account
may rename, link and replace whatever is in its own directories, at any moment.  So

- a path is walked by descriptors, a component at a time, and no symbolic link is
  followed but one that root has made where nobody else can;
- root refuses a directory if anybody but root and its owner could put another one in
  its place: the owner of a directory above it, or everybody where one is open to others;
- root becomes the owner of what it has found, and refuses what is root's own if others
  may write in it;
- all that is done there is done by the descriptor that was looked at.

So an account can make root do nothing, by whatever means, that it cannot do itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType

from avcheck.admin.account import account
from avcheck.admin.account import name as name_of
from avcheck.admin.output import Trouble
from avcheck.printable import printable

# Of a directory to look things up in, or of a link to be read; nothing is opened.
LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

# A pipe that nobody writes to, a device, a terminal: none of them makes root wait.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# As many links as Linux follows in a path (path_resolution(7)).
LINKS_MAX = 40

# In the place of a user: whoever may write where others may.
ANYBODY = -1

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Folder:
    """A directory that was found safe.  Close it by leaving the with block."""

    def __init__(self, path: bytes, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.owner = os.fstat(fd).st_uid

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def acting(self) -> contextlib.AbstractContextManager[None]:
        """Act as its owner, if we are root, while in the with block."""
        return account(self.owner)

    def itself(self) -> int:
        """A descriptor of the directory to list and to lock."""
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)

    def named(self, name: bytes) -> bytes:
        """A path of a file in it, whatever becomes of the directory's own."""
        return b"/proc/self/fd/%d/" % self.fd + name

    def names(self) -> list[bytes]:
        """The names of what is in it, in order."""
        fd = self.itself()
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        finally:
            os.close(fd)

    def status(self, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def read(self, name: bytes, limit: int) -> bytes:
        """The file of that name; raises OSError if it is no file, or larger than the limit."""
        fd = os.open(name, READ | os.O_NOFOLLOW, dir_fd=self.fd)
        try:
            return content(fd, limit)
        finally:
            os.close(fd)


def content(fd: int, limit: int) -> bytes:
    """What is in the regular file; raises OSError if it is none, or larger than the limit."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
    text = b""
    while len(text) <= limit and (piece := os.read(fd, limit + 1 - len(text))):
        text += piece
    if len(text) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes")
    return text


@contextlib.contextmanager
def opened(path: bytes) -> Iterator[Folder]:
    """The directory, as its owner while in the with block.

    Raises Trouble if there is none, or if it is not safe.
    """
    try:
        folder = walk(path)
    except OSError as why:
        raise Trouble(f"{printable(path)}: {why.strerror}", "name an existing directory") from why
    with folder, folder.acting():
        yield folder


def read(path: bytes, limit: int) -> bytes:
    """The file, read as the owner of its directory.

    Raises OSError if it cannot be read, is no regular file or larger than the limit, and
    Trouble if its directory is not safe.
    """
    folder, name = _walked(path, False)
    with folder, folder.acting():
        return folder.read(name, limit)


def owner(path: bytes) -> int:
    """Whose the directory is, or the nearest one above it that is there.

    Raises Trouble if it is not safe, OSError if that cannot be seen.
    """
    folder, _ = _walked(path, True, missing=True)
    with folder:
        return folder.owner


def walk(path: bytes) -> Folder:
    """The directory; raises OSError if it cannot be found, Trouble if it is not safe."""
    return _walked(path, True)[0]


def split(path: bytes) -> tuple[bytes, bytes]:
    """The directory of a file and its name there; no link is looked at for that."""
    directory, _, name = os.path.join(os.getcwdb(), path).rpartition(b"/")
    return directory or b"/", name


class _Walk:
    """A walk from the root directory: where it is, and who could have led it elsewhere."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.left = _components(os.path.join(os.getcwdb(), path))
        self.links = LINKS_MAX
        # Whose links are followed: nobody is tricked by his own.
        self.trusted = {0, os.geteuid()}
        self.fd = -1
        self.start()

    def start(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = os.open(b"/", LOOK)
        self.others: set[int] = set()

    def step(self, found: int, name: bytes) -> bool:
        """Go on to what was found by that name; False if it is no directory."""
        above, status = os.fstat(self.fd), os.fstat(found)
        self.others |= _changers(above, status)
        if stat.S_ISLNK(status.st_mode):
            if not self.others | {status.st_uid} <= self.trusted or above.st_mode & OTHERS_WRITE:
                text = f"{printable(self.path)}: {printable(name)} in it is a symbolic link"
                raise Trouble(text, f"name {printable(os.readlink(b'', dir_fd=found))} itself")
            self.follow(os.readlink(b"", dir_fd=found))
            return True
        if not stat.S_ISDIR(status.st_mode):
            return False
        os.close(self.fd)
        self.fd = os.dup(found)
        return True

    def follow(self, target: bytes) -> None:
        self.links -= 1
        if not self.links:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self.left += _components(target)
        if target.startswith(b"/"):
            self.start()

    def end(self) -> Folder:
        """Where it has come to; raises Trouble if root is not to work there."""
        status = os.fstat(self.fd)
        if os.geteuid() == 0:
            place = printable(self.path)
            for user in self.others - {0, status.st_uid}:
                raise Trouble(
                    f"{place}: {_name(user)} could put another directory in its place",
                    f"see who owns what is above it, and may write there: namei -l {place}",
                )
            if status.st_uid == 0 and status.st_mode & OTHERS_WRITE:
                raise Trouble(
                    f"{place}: others may write in this directory of root's",
                    f"chown it to the account that runs avcheck, and: chmod g-w,o-w {place}",
                )
        fd, self.fd = self.fd, -1
        return Folder(self.path, fd)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _walked(path: bytes, whole: bool, missing: bool = False) -> tuple[Folder, bytes]:
    """The directory at the end of the path; or if not whole, that of its last component and this.

    With missing the directory is the last one that is there.
    """
    walk = _Walk(path)
    try:
        name = b""
        while walk.left:
            name = walk.left.pop()
            try:
                found = os.open(name, LOOK, dir_fd=walk.fd)
            except FileNotFoundError:
                if missing or (not whole and not walk.left):
                    break
                raise
            try:
                if walk.step(found, name):
                    continue
            finally:
                os.close(found)
            if whole or walk.left:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            break
        else:
            if not whole:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return walk.end(), name
    finally:
        walk.close()


def _components(path: bytes) -> list[bytes]:
    """The components of a path, the last one first; /./ is avcheck's mark of a chroot."""
    return [each for each in reversed(path.split(b"/")) if each not in (b"", b".")]


def _changers(above: os.stat_result, status: os.stat_result) -> set[int]:
    """Who may put something else in the place of what is in a directory."""
    if not above.st_mode & OTHERS_WRITE:
        return {above.st_uid}
    if above.st_mode & stat.S_ISVTX:  # of what is there, only its owner may
        return {above.st_uid, status.st_uid}
    return {above.st_uid, ANYBODY}


def _name(user: int) -> str:
    if user == ANYBODY:
        return "everybody who may write above it"
    return name_of(user)
