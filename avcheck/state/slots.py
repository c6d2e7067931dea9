"""At most so many scans at a time on this host, over all mail systems and transports.

A slot is a lock on one of N files in the spool directory.  The kernel frees it
however the process ends; the files are empty and can be deleted.
"""

from __future__ import annotations

from time import monotonic

from avcheck import files, unix
from avcheck.exits import HELD, Defer, defer_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from avcheck.directory import Directory

# Seconds to wait for a slot before the message is left to the MTA, and between two looks.
# A scan takes well under a second: after this long, a scanner hangs.
WAIT_MAX = 60.0
PAUSE = 0.02


class Slot:
    """A slot, held for the with block; entering it raises Defer if none becomes free."""

    __slots__ = ("deadline", "directory", "fd", "number")

    def __init__(self, directory: Directory, number: int, deadline: float) -> None:
        self.directory = directory
        self.number = number
        self.deadline = min(deadline, monotonic() + WAIT_MAX)
        self.fd = -1

    def __enter__(self) -> None:
        # Processes that start at the same time try different slots first.
        first = unix.getpid()
        names = [b"slot.%d" % ((first + each) % self.number) for each in range(self.number)]
        try:
            if files.wait_for(lambda: any(map(self._take, names)), self.deadline, PAUSE):
                return
        except OSError as why:
            raise defer_from("taking a slot", why) from why
        raise Defer(f"all {self.number} slots were taken for too long", HELD)

    def _take(self, name: bytes) -> bool:
        fd = files.open_regular(name, unix.O_RDWR | unix.O_CREAT, self.directory.fd)
        try:
            # If the file has been deleted meanwhile, nobody else sees our lock.
            if files.lock(fd) and unix.fstat(fd).st_nlink:
                self.fd, fd = fd, -1
                return True
        finally:
            if fd >= 0:
                unix.close(fd)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        unix.close(self.fd)
