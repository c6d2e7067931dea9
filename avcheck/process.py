"""What the kernel keeps for a process: signals, the alarm, descriptors."""

from __future__ import annotations

from avcheck import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
else:
    # The C half of the module: signal itself imports enum only to give its
    # constants names, which costs a third of the bare interpreter's start.
    import _signal as signal

PIECE = 64 * 1024  # what is read at once: what a Linux pipe holds

ALARM = signal.SIGALRM
KILL = signal.SIGKILL

# The last one comes before the end of a limited time of the processor (ulimit -S -t).
_CAUGHT = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGXCPU),
)

# Nobody can catch, block or ignore these two.
_NOT_OURS = {signal.SIGKILL, signal.SIGSTOP}

# fs.nr_open as the kernel has it: each of them is tried where there is neither /proc nor
# close_range(2) (Linux 5.9, glibc 2.34), which takes a tenth of a second.
_DESCRIPTORS_MAX = 1 << 20


def catch_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have the handler called from now on for each signal that ends a process.

    Whatever the caller has ignored or blocked: a nohup(1) or a background job of a shell
    that ignores them would make a run that only SIGKILL ends.
    """
    for number in _CAUGHT:
        signal.signal(number, handler)
    # Both are inherited from the caller: with SIGCHLD ignored, the status of sendmail
    # would be lost after it has taken the message; a blocked SIGALRM would be no clock.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def tick(seconds: float) -> None:
    """Send us SIGALRM once a second from now on; one of these comes
    exactly when the seconds are over.

    For what has no deadline of its own, above all reading a standard input that never ends.
    And for the other signals: one that comes just before a system call that waits is seen
    by Python only when that call is left, which is at the next tick.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds % 1.0 or 1.0 if seconds < 1e9 else 1.0, 1.0)


def tick_no_more() -> None:
    """Send us no SIGALRM from now on."""
    signal.setitimer(signal.ITIMER_REAL, 0)


class signals_blocked:  # noqa: N801 - used as a word in a with statement
    """No signal reaches this thread in the with block, nor ever the threads started in it."""

    def __enter__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _CAUGHT)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def set_default_signals() -> None:
    """In a child before exec: every signal is at its default, and none is blocked.

    What we catch would go back to default by itself; what is ignored, by Python (SIGPIPE)
    or by whoever called us, would not.
    """
    for number in signal.valid_signals() - _NOT_OURS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def kill_group(pid: int) -> None:
    """SIGKILL for a child that was not waited for, and for the process group that it leads."""
    for kill in (unix.killpg, unix.kill):  # it may not have come to setsid(2) yet
        try:
            kill(pid, signal.SIGKILL)
        except OSError:  # it is gone already
            continue


def close(fd: int) -> None:
    """Close the descriptor, and never mind if that fails.

    For what is only read, or belongs to somebody else already: after the message has been
    handed on, an error here would be a second delivery.
    """
    try:
        unix.close(fd)
    except OSError:
        return


def close_from(first: int) -> None:
    """Close every descriptor from this number on; before exec.

    Not up to the limit (RLIMIT_NOFILE): descriptors that were opened before it was lowered
    are above it.
    """
    try:
        last = max(map(int, unix.listdir("/proc/self/fd")))
    except OSError:  # no /proc
        last = _DESCRIPTORS_MAX
    unix.closerange(first, last + 1)


def has_hung_up(fd: int) -> bool:
    """Whether the other end is closed; what was written before may still be there."""
    from select import POLLHUP

    return bool(events(fd) & POLLHUP)


def events(fd: int, asked: int = 0) -> int:
    """What poll(2) says of the descriptor without waiting; 0 is nothing.

    asked are the events to look for, POLLIN unless they are given; an error and a hang-up
    are told in any case.
    """
    from select import POLLIN, poll

    waiting = poll()
    waiting.register(fd, asked or POLLIN)
    return sum(event for _, event in waiting.poll(0))


def write(fd: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[unix.write(fd, view) :]
