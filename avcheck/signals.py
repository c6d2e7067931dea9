"""Signals of this process and of its children, and the alarm clock."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
else:
    # The C half of the module: signal itself imports enum only to give its
    # constants names, which costs a third of the bare interpreter's start.
    import _signal as signal

ALARM = signal.SIGALRM
KILL = signal.SIGKILL

# The last one comes before the end of a limited time of the processor (ulimit -S -t).
_CAUGHT = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGXCPU),
)

# Nobody can catch, block or ignore these two.
_NOT_OURS = {signal.SIGKILL, signal.SIGSTOP}


def catch(handler: Callable[[int, FrameType | None], None]) -> None:
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


def after(seconds: float) -> None:
    """Send us SIGALRM after so many seconds, and again each second; infinity is no limit.

    For what has no clock of its own, above all a standard input that never ends.
    """
    # Again: a signal that comes just before a system call that waits is not seen before
    # that call returns, but the next one is.
    signal.setitimer(signal.ITIMER_REAL, seconds if seconds < 1e9 else 0, 1.0)


class blocked:  # noqa: N801 - used as a word in a with statement
    """No signal reaches this thread in the with block, nor ever the threads started in it."""

    def __enter__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _CAUGHT)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def set_default() -> None:
    """In a child before exec: every signal is at its default, and none is blocked.

    What we catch would go back to default by itself; what is ignored, by Python (SIGPIPE)
    or by whoever called us, would not.
    """
    for number in signal.valid_signals() - _NOT_OURS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def kill_group(pid: int) -> None:
    """SIGKILL for a child that was not waited for, and for the process group that it leads."""
    for kill in (os.killpg, os.kill):  # it may not have come to setsid(2) yet
        try:
            kill(pid, signal.SIGKILL)
        except OSError:  # it is gone already
            continue
