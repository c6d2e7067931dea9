"""Signals, the last-resort clock, and the caller: what can end a run from outside.

The handlers only raise; the with blocks and the one way out (__main__) that the
exception passes do the cleaning.  A handler raises once: after that the cleaning
is not disturbed.
"""

from __future__ import annotations

import os

from avcheck.exits import EXPIRED, HELD, Defer, Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    # The C half of the module: signal itself imports enum only to give its
    # constants names, which costs a third of the bare interpreter's start.
    import _signal as signal

# Seconds that the alarm comes after the deadline: who has a clock of its own says
# better what it was waiting for.
GRACE = 1.0

# The last one comes before the end of a limited time of the processor (ulimit -S -t).
_CAUGHT = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGXCPU),
)

KILLED = signal.SIGKILL  # the wait status of one that was killed

# Nobody can catch, block or ignore these two.
_NOT_OURS = {signal.SIGKILL, signal.SIGSTOP}

# fs.nr_open as the kernel has it: each of them is tried where there is neither /proc nor
# close_range(2) (Linux 5.9, glibc 2.34), which takes a tenth of a second.
_DESCRIPTORS_MAX = 1 << 20

_committed = False  # from here on only the answer counts
settled: int | None = None  # the status to leave with, whatever comes
_stopped = False
_caller = 0
_guarded: list[int] = []
_processes: dict[int, int] = {}  # those of _guarded, as descriptors
_orphan = False

# init, or what stands for it in a container: who loses his parent becomes its child.
_INIT = 1


def catch() -> None:
    """Turn what ends a process into Stopped from now on; remember the caller.

    Whatever the caller has ignored or blocked: a nohup(1) or a background job of a shell
    that ignores them would make a run that only SIGKILL ends.
    """
    global _caller, _guarded, _orphan, _committed, _stopped, settled
    _committed = _stopped = False
    settled = None
    _caller = os.getppid()
    # avcheck-guard.sh stands between the MTA and us, and says who called it.  There may be
    # several, each of which has to be there if the MTA is to hear of what we do.
    named = os.environ.get("AVCHECK_CALLER", "").split()
    _guarded = [int(each) for each in named if _is_process(each)]
    # A caller that was gone before this has left a pipe that nobody writes to.  (A service
    # manager that starts us itself hands over something else.)
    _orphan = _INIT in (_guarded or [_caller]) and _hung_up(0)
    _watch()
    for number in _CAUGHT:
        signal.signal(number, _raise)
    # Both are inherited from the caller: with SIGCHLD ignored, the status of sendmail
    # would be lost after it has taken the message; a blocked SIGALRM would be no clock.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def after(seconds: float) -> None:
    """Raise Stopped after so many seconds, whatever is being done then.

    For what has no clock of its own, above all a standard input that never ends.
    """
    # Again each second: a signal that comes just before a system call that waits is not
    # seen before that call returns, but the next one is.  Infinity is no limit.
    signal.setitimer(signal.ITIMER_REAL, seconds if seconds < 1e9 else 0, 1.0)


def _raise(number: int, frame: FrameType | None) -> None:
    global _stopped
    if _committed or _stopped:
        return
    _stopped = True
    if number == signal.SIGALRM:
        raise Stopped("the time for the whole run is up (--deadline)", EXPIRED)
    raise Stopped(f"stopped by signal {int(number)}", HELD)


def unless_called() -> None:
    """Raise Defer if who called us is gone; to be asked before what cannot be undone.

    When Postfix's pipe(8) dies, our standard input just ends, and nothing but this
    tells a whole message from one that was cut short (field observation, Postfix 3.7).
    """
    if _alone():
        raise Defer("the mail system that called is gone; the message may be cut short")


def unheard() -> str:
    """What to add to the words of a run that ends well: nothing, if its caller will hear of it."""
    return "; possible duplicate: the mail system that called is gone" if _alone() else ""


def _is_process(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) < 10 and int(number) > 0


def _alone() -> bool:
    return _orphan or os.getppid() != _caller or not all(map(_alive, _guarded))


def _watch() -> None:
    """Open the callers that were named, so that their end can be told.

    Of a number nothing is told when it ends and nobody reaps it, as in a container without
    an init: kill(2) finds a zombie as well; and a number is given to others.
    """
    global _orphan
    while _processes:
        close(_processes.popitem()[1])
    for each in _guarded:
        try:
            _processes[each] = os.pidfd_open(each)
        except ProcessLookupError:
            _orphan = True
        except OSError:  # no more descriptors: kill(2) will have to do
            return


def _alive(caller: int) -> bool:
    """Whether a caller that was named has not ended."""
    if caller in _processes:
        return not _events(_processes[caller])
    try:
        os.kill(caller, 0)
    except ProcessLookupError:
        return False
    except OSError:  # EPERM: it is there, and somebody else's
        return True
    return True


def _hung_up(fd: int) -> bool:
    """Whether the other end is closed; what was written before may still be there."""
    from select import POLLHUP

    return bool(_events(fd) & POLLHUP)


def _events(fd: int) -> int:
    """What poll(2) says of the descriptor at this moment; 0 is nothing."""
    from select import POLLIN, poll

    waiting = poll()
    waiting.register(fd, POLLIN)
    return sum(event for _, event in waiting.poll(0))


class signals_blocked:  # noqa: N801 - used as a word in a with statement
    """No signal reaches this thread in the with block, nor ever the threads started in it."""

    def __enter__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _CAUGHT)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def close(fd: int) -> None:
    """Close the descriptor, and never mind if that fails.

    For what is only read, or belongs to somebody else already: after the message has been
    handed on, an error here would be a second delivery.
    """
    try:
        os.close(fd)
    except OSError:
        return


def commit() -> None:
    """Ignore signals from now on: the message may be queued on the other side.

    A signal must not turn a yes into a second delivery.  What still ends the wait
    for the answer is the deadline of the connection or of the child.
    """
    global _committed
    _committed = True


def settle(status: int) -> None:
    """Somebody else has the message: leave with this status, even if it is by a bug."""
    global settled
    commit()
    settled = status


def unsettle() -> None:
    """What was taken for a yes has been contradicted: nobody knows who has the message."""
    global settled
    settled = None


def in_doubt() -> bool:
    """Whether somebody else may have the message, and nobody knows."""
    return _committed and settled is None


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


def default_signals() -> None:
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
