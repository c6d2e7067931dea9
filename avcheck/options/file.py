"""Reads the file of --config; what its lines mean is for reading to say."""

from __future__ import annotations

from avcheck import unix
from avcheck.exits import CONFIG, Defer
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.run import Run

# A configuration has some 30 lines.
SIZE_MAX = 256 * 1024

# Seconds for it to be read.
LOAD_MAX = 60.0


def load(path: bytes, run: Run) -> bytes:
    """The bytes of the file, for that run, which ends if it takes too long: it may be a pipe."""
    run.limit(LOAD_MAX)
    return read_config(path)


def read_config(path: bytes) -> bytes:
    """The bytes of the file; raises Defer if it cannot be read."""
    data = b""
    try:
        fd = unix.open(path, unix.O_RDONLY | unix.O_CLOEXEC)
        try:
            while (piece := unix.read(fd, SIZE_MAX)) and len(data) <= SIZE_MAX:
                data += piece
        finally:
            unix.close(fd)
    except OSError as why:
        raise Defer(f"--config {printable(path)}: {why.strerror}", CONFIG) from why
    if len(data) > SIZE_MAX:
        raise Defer(f"--config {printable(path)}: larger than {SIZE_MAX} bytes", CONFIG)
    return data
