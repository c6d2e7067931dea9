"""Directories and files of other accounts, opened for the administrator.

Root does not trust the account that avcheck runs as, nor the scanner's: such an account
can rename, link and replace whatever is in its own directories, at any moment.  So

- a path is walked by descriptors, one component at a time, and a symbolic link is
  followed only if root has made it where nobody else can;
- root refuses a directory if anybody but root and its owner could put another one in
  its place: the owner of a directory above it, or everybody if one is open to others;
- root acts as the owner of the directory it has found, and refuses one of root's own
  that others may write in;
- everything there is done by the descriptor that was checked.

So no account can make root do what the account cannot do itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from types import TracebackType

from avcheck import files
from avcheck.admin.account import account
from avcheck.admin.account import name as account_name
from avcheck.admin.output import Trouble
from avcheck.admin.walk import absolute, walked
from avcheck.printable import printable

# The remedy if an account is not allowed to look: whatever it might change may be in order.
AS_ROOT = "run this as root"


class Folder:
    """A directory that was found safe.  Leaving the with block closes it."""

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
        """Act as its owner while in the with block, if we are root."""
        return account(self.owner)

    def itself(self) -> int:
        """A descriptor of the directory that it can be listed and locked by."""
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)

    def named(self, name: bytes) -> bytes:
        """A path of a file in it that stays right if the directory is moved or replaced."""
        return b"/proc/self/fd/%d/" % self.fd + name

    def names(self) -> list[bytes]:
        """The names in it, sorted."""
        fd = self.itself()
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        finally:
            os.close(fd)

    def status(self, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def read(self, name: bytes, limit: int) -> bytes:
        """The file of that name; raises OSError if it is no file, or larger than the limit."""
        fd = files.open_regular(name, dir_fd=self.fd)
        try:
            return content(fd, limit)
        finally:
            os.close(fd)


def content(fd: int, limit: int) -> bytes:
    """What is in the file; raises OSError if it is larger than the limit."""
    text = files.read_up_to(fd, limit + 1)
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
        raise unseen(path, why) from why
    with folder, folder.acting():
        yield folder


def unseen(path: bytes, why: OSError) -> Trouble:
    """The Trouble with a directory that cannot be opened; perhaps only root may open it."""
    remedy = as_root(why) or "name an existing directory"
    return Trouble(f"{printable(path)}: {why.strerror}", remedy)


def as_root(why: OSError) -> str:
    """The remedy if we are not allowed to look; empty for any other error."""
    return AS_ROOT if isinstance(why, PermissionError) and os.geteuid() != 0 else ""


def read(path: bytes, limit: int) -> bytes:
    """The file, read as the owner of its directory.

    Raises OSError if it cannot be read, is no regular file or larger than the limit, and
    Trouble if its directory is not safe.
    """
    fd, name = walked(path, False)
    with Folder(path, fd) as folder, folder.acting():
        return folder.read(name, limit)


def owner(path: bytes) -> int:
    """The owner of the directory, or of the nearest one above it that exists.

    Raises Trouble if it is not safe, OSError if that cannot be found out.
    """
    fd, _ = walked(path, True, missing=True)
    with Folder(path, fd) as folder:
        return folder.owner


def walk(path: bytes) -> Folder:
    """The directory; raises OSError if it cannot be found, Trouble if it is not safe."""
    return Folder(path, walked(path, True)[0])


def split(path: bytes) -> tuple[bytes, bytes]:
    """The directory of a file, and its name there; links are not looked at."""
    directory, _, name = absolute(path).rpartition(b"/")
    return directory or b"/", name


def refuse_strangers(
    paths: Sequence[str], system: str, remedy: str, trusted: Sequence[str] = ()
) -> None:
    """Raise Trouble for a configuration of the mail system that is neither root's nor ours.

    It names accounts to act as and programs to run: those of whoever wrote it.  The remedy
    is for a file that is not there; trusted are accounts that the mail system's own
    daemon, which root runs, would take such a file from.
    """
    for path in paths:
        place = printable(path)
        try:
            owner = os.stat(path).st_uid
        except OSError as why:
            raise Trouble(f"{place}: {why.strerror}", as_root(why) or remedy) from why
        if owner not in (0, os.geteuid()) and account_name(owner) not in trusted:
            raise Trouble(
                f"{place}: belongs to {account_name(owner)}; {system} wants it to be root's",
                f"look at it, and if it is as it should be: chown root {place}",
            )
