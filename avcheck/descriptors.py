"""Open descriptors: closing them, and what poll(2) says of one at this moment."""

from __future__ import annotations

import os

# fs.nr_open as the kernel has it: each of them is tried where there is neither /proc nor
# close_range(2) (Linux 5.9, glibc 2.34), which takes a tenth of a second.
_DESCRIPTORS_MAX = 1 << 20


def close(fd: int) -> None:
    """Close the descriptor, and never mind if that fails.

    For what is only read, or belongs to somebody else already: after the message has been
    handed on, an error here would be a second delivery.
    """
    try:
        os.close(fd)
    except OSError:
        return


def close_from(first: int) -> None:
    """Close every descriptor from this number on; before exec.

    Not up to the limit (RLIMIT_NOFILE): descriptors that were opened before it was lowered
    are above it.
    """
    try:
        last = max(map(int, os.listdir("/proc/self/fd")))
    except OSError:  # no /proc
        last = _DESCRIPTORS_MAX
    os.closerange(first, last + 1)


def has_hung_up(fd: int) -> bool:
    """Whether the other end is closed; what was written before may still be there."""
    from select import POLLHUP

    return bool(events(fd) & POLLHUP)


def events(fd: int) -> int:
    """What poll(2) says of the descriptor without waiting; 0 is nothing."""
    from select import POLLIN, poll

    waiting = poll()
    waiting.register(fd, POLLIN)
    return sum(event for _, event in waiting.poll(0))
