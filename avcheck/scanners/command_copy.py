"""A copy of the message, for a program to do with as it likes.

A program runs as the owner of the spool file, so no mode keeps it from changing that, or the
directory.  What is delivered is therefore read from a file that the program has no name of,
and it gets a copy.  A scanner that has changed its copy (has disinfected it, say) and then
calls it clean has not said so of the bytes that would be delivered: changed() tells.

The bytes are compared and not the times of the file: those are as coarse as the kernel's
clock tick (1 to 10 ms), and a small program has opened, written and closed in less.

A program that means harm is beyond this: as the same user it can open what we have open
(/proc/PID/fd), or stop us.
"""

from __future__ import annotations

import os

from avcheck.directory import give, new_file_name, take_back
from avcheck.exits import defer_from
from avcheck.printable import printable
from avcheck.process import PIECE, close, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from avcheck.spool import Message

# For the owner, too, so that a program which just opens it for writing is told so; and for
# the group of the directory: aveclient and others hand the path to a daemon.
MODE = 0o440


class Copy:
    """The message, its first lines of ours included, in a file of its own.

    path is the file's name for programs.  On leaving the with block the file is gone, and so is
    everything that the program has made beside it under a longer name (name.bak, name.virus),
    or in its place.
    """

    __slots__ = ("_fd", "_message", "_name", "path")

    def __init__(self, message: Message) -> None:
        self._message = message
        self._name = new_file_name()
        directory = message.directory
        # As the program itself would write it, whatever links are on the way.
        self.path = os.path.realpath(directory.join(self._name))
        self._fd = -1
        try:
            self._fd = directory.create(self._name, MODE)
            directory.share(self._fd, MODE)
            give(self._name, directory)
            for piece in _pieces(message.fd, message.seen):
                write(self._fd, piece)
        except BaseException as why:
            self._remove()
            if isinstance(why, OSError):
                where = printable(directory.path)
                raise defer_from(f"copying the message in {where}", why) from why
            raise

    def __enter__(self) -> Copy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self._remove()

    def changed(self) -> str:
        """What has been done to the copy, in a word; empty if it is what it was."""
        try:
            named = os.stat(self._name, dir_fd=self._message.directory.fd, follow_symlinks=False)
            ours = os.fstat(self._fd)
            if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
                return "replaced"
            size = self._message.seen
            if ours.st_size != size:
                return "changed"
            at = 0
            for piece in _pieces(self._message.fd, size):
                if os.pread(self._fd, len(piece), at) != piece:
                    return "changed"
                at += len(piece)
        except FileNotFoundError:
            return "removed"
        except OSError as why:
            raise defer_from("reading the copy of the message again", why) from why
        return ""

    def _remove(self) -> None:
        if self._fd >= 0:
            close(self._fd)
        try:  # noqa: SIM105 - contextlib takes 1.7 ms to import
            take_back(self._name)
        except (KeyError, OSError):  # removed already, or the end of the run tries again
            pass


def _pieces(fd: int, end: int) -> Iterator[bytes]:
    at = 0
    while at < end:
        piece = os.pread(fd, min(PIECE, end - at), at)
        if not piece:
            raise OSError("the spool file was cut short")
        at += len(piece)
        yield piece
