"""The walk to a directory that root is to work in: what is followed, and what is refused.

Each component is opened in the directory that has been reached, and what was opened is
looked at.  A link is followed only if nobody but root can have put it there.  In the end
a directory is refused if anybody but root and its owner could have led us elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat

from avcheck.admin.account import name as name_of
from avcheck.admin.output import Trouble
from avcheck.printable import printable

# For a directory to look things up in, or a link to read; the file itself is not opened.
LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

# Linux follows no more in a path (path_resolution(7)).
LINKS_MAX = 40

# In the place of a user: all who may write where others may.
ANYBODY = -1

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Walk:
    """A walk from the root directory: how far it is, and who could have led it elsewhere."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.left = _components(absolute(path))
        self.links = LINKS_MAX
        self.fd = -1
        self.start()

    def start(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = os.open(b"/", LOOK)
        self.others: set[int] = set()

    def step(self, found: int, name: bytes) -> bool:
        """Go on to what has that name, opened as found; False if it is no directory."""
        above, status = os.fstat(self.fd), os.fstat(found)
        self.others |= _changers(above, status)
        if stat.S_ISLNK(status.st_mode):
            if not self.may_follow(above, status):
                text = f"{printable(self.path)}: {printable(name)} in it is a symbolic link"
                # Not where it leads: whoever made the link has chosen that.
                raise Trouble(text, f"see who made it: namei -l {printable(self.path)}")
            self.follow(os.readlink(b"", dir_fd=found))
            return True
        if not stat.S_ISDIR(status.st_mode):
            return False
        os.close(self.fd)
        self.fd = os.dup(found)
        return True

    def may_follow(self, above: os.stat_result, link: os.stat_result) -> bool:
        """Whether the link is ours or root's; root follows it only if only root can put it there.

        Where everybody may write, it may be a hard link to a link of root's.
        """
        if os.geteuid() != 0:
            return link.st_uid in (0, os.geteuid())
        return self.others | {link.st_uid} == {0} and not above.st_mode & OTHERS_WRITE

    def follow(self, target: bytes) -> None:
        self.links -= 1
        if not self.links:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self.left += _components(target)
        if target.startswith(b"/"):
            self.start()

    def end(self) -> int:
        """A descriptor of the directory reached; raises Trouble if root must not work there."""
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
        return fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def walked(path: bytes, whole: bool, missing: bool = False) -> tuple[int, bytes]:
    """A descriptor of the directory, and the last component of the path.

    Unless whole, the path is that of a file, and the directory the one that it is in.  With
    missing the directory is the last one on the way that exists.  Raises OSError if there is
    none, Trouble if it is not safe.
    """
    walk = _Walk(path)
    try:
        name = b""
        while walk.left:
            name = walk.left.pop()
            try:
                found = _look(name, walk.fd)
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


def absolute(path: bytes) -> bytes:
    """The path from the root directory, otherwise unchanged."""
    return path if path.startswith(b"/") else os.getcwdb() + b"/" + path


def _look(name: bytes, above: int) -> int:
    """A descriptor of whatever has that name; a directory is mounted first if it has to be."""
    try:
        # O_PATH alone triggers no automount, and O_DIRECTORY does (open(2), namei.c).
        return os.open(name, LOOK | os.O_DIRECTORY, dir_fd=above)
    except NotADirectoryError:
        return os.open(name, LOOK, dir_fd=above)


def _components(path: bytes) -> list[bytes]:
    """The components of a path, last one first; /./ only marks a chroot."""
    return [each for each in reversed(path.split(b"/")) if each not in (b"", b".")]


def _changers(above: os.stat_result, status: os.stat_result) -> set[int]:
    """The users who may put something else in its place, in the directory above it."""
    if not above.st_mode & OTHERS_WRITE:
        return {above.st_uid}
    if above.st_mode & stat.S_ISVTX:  # only the owner of each file may replace it
        return {above.st_uid, status.st_uid}
    return {above.st_uid, ANYBODY}


def _name(user: int) -> str:
    if user == ANYBODY:
        return "everybody who may write above it"
    return name_of(user)
