"""A program that runs: it is started, listened to, and ended.

One that has changed its user (setuid sendmail, exim4) cannot be killed by us: kill(2) is
EPERM.  So nothing here waits without a limit.
"""

from __future__ import annotations

from _thread import allocate_lock
from select import POLLIN, poll
from time import monotonic, sleep

from avcheck import process, unix
from avcheck.exits import defer_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# Seconds for a program to be gone after it was killed, and between two looks at it.
GONE_MAX = 2.0
NAP = 0.005

# The process numbers of programs that run, from before a signal can stop us until they have
# ended or were killed.  None is waited for while its number is in here, so that the kernel
# does not give the number to another process.
_running: set[int] = set()
_changing = allocate_lock()


class Program:
    """A program that runs, and how it went.

    wait is what waitpid(2) said, None for one that could not be killed and runs on; struck is
    whether we have killed it, or tried to, and late whether its time was up; lost says why its
    output is incomplete, and reason is the errno if it could not be started.  unread is for
    the caller to note whether some of its standard input was left.
    """

    __slots__ = (
        *("_failed", "_keep", "_out", "_over"),
        *("late", "lost", "name", "output", "pid", "reason", "struck", "unread", "wait"),
    )

    def __init__(self, name: str, keep: int) -> None:
        self.name = name
        self.pid = 0
        self.reason = 0
        self.struck = self.late = self.unread = False
        self.lost = ""
        self.output = bytearray()
        self.wait: int | None = None
        self._keep = keep
        self._out = self._failed = -1
        self._over = False

    def start(
        self,
        argv: Sequence[bytes],
        stdin: int,
        env: Mapping[bytes, bytes],
        directory: int | None,
    ) -> None:
        """Start it; raises Defer when there is no room for one more."""
        output = failed = -1
        try:
            self._out, output = unix.pipe()
            self._failed, failed = unix.pipe()
            for fd in (self._out, self._failed):
                unix.set_blocking(fd, False)
            # After a signal between the fork and our knowing of it the child would be alone.
            with process.signals_blocked(), _changing:
                self.pid = unix.fork()
                if not self.pid:
                    _become(argv, stdin, env, directory, output, failed)
                _running.add(self.pid)
        except OSError as why:
            raise defer_from(self.name, why) from why
        finally:
            for fd in (output, failed):
                process.close(fd)

    def watch(self, deadline: float) -> None:
        """Return when it has ended, is late, or cannot be watched."""
        ended = -1
        try:
            ended = unix.pidfd_open(self.pid)
            waiting = poll()
            for fd in (ended, self._failed, self._out):
                waiting.register(fd, POLLIN)
            while True:
                left = max(deadline - monotonic(), 0.0)
                ready = [fd for fd, _ in waiting.poll(left * 1000 if left < 1e6 else None)]
                for fd in (self._failed, self._out):
                    if fd in ready and self._hear(fd):
                        waiting.unregister(fd)
                # poll looks at the process first, so what it wrote last has been read; a
                # background process that keeps writing is ignored.
                if ended in ready:
                    self._over = True
                    return
                # Only now: we may have been stopped (SIGSTOP) until long after the deadline.
                if not left:
                    self.late = True
                    return
        except OSError as why:  # it may have done its work: how it ended will tell
            self.lost = _reason(why)
        finally:
            process.close(ended)

    def end(self) -> None:
        """Kill it if it has not ended, and wait for it.  The one place where that is done.

        Can be called again: a signal may strike just before the first call has begun.
        """
        if not self.pid:
            return
        with process.signals_blocked():
            if not self._has_ended():
                self.struck = True
                process.kill_group(self.pid)
            with _changing:
                _running.discard(self.pid)
            self._reap()

    def listen(self) -> None:
        """Hear its last words."""
        for fd in (self._failed, self._out):
            self._hear(fd)

    def close(self) -> None:
        process.close(self._out)
        process.close(self._failed)

    def _has_ended(self) -> bool:
        """Whether there is nothing to kill.

        It is not waited for here, so that its number is not given to another.
        """
        if self._over:
            return True
        try:
            options = unix.WEXITED | unix.WNOHANG | unix.WNOWAIT
            return unix.waitid(unix.P_PID, self.pid, options) is not None
        except ChildProcessError:
            return True
        except OSError:
            return False

    def _reap(self) -> None:
        """Wait for the end of one that has ended or was killed; but not for ever."""
        until = monotonic() + GONE_MAX
        while self.wait is None:
            try:
                pid, wait = unix.waitpid(self.pid, unix.WNOHANG)
            except OSError as why:
                self.lost = _reason(why)
                return
            if pid:
                self.wait = wait
            elif monotonic() >= until:
                return
            else:
                sleep(NAP)

    def _hear(self, fd: int) -> bool:
        """Take what has come; whether no more will come."""
        try:
            piece = unix.read(fd, process.PIECE)
        except BlockingIOError:
            return False
        except OSError as why:
            self.lost = _reason(why)
            return True
        if fd == self._failed and piece:
            self.reason = int.from_bytes(piece, "big")
        elif fd == self._out:
            self.output += piece[: max(self._keep - len(self.output), 0)]
        return not piece


def end_all() -> None:
    """Kill every program that runs, whoever has started it; no other is started after this.

    For the last moment: a thread that waits for its program goes without another word.
    """
    # Who holds the lock is about to note a program.  It is never released.
    _changing.acquire(timeout=GONE_MAX)
    for pid in [*_running]:
        process.kill_group(pid)


def _become(
    argv: Sequence[bytes],
    stdin: int,
    env: Mapping[bytes, bytes],
    directory: int | None,
    output: int,
    failed: int,
) -> NoReturn:
    """In the child: turn into the program, or send its errno to failed."""
    try:
        unix.setsid()
        process.set_default_signals()
        # 0, 1 and 2 are open (see __main__), so none of ours is one of them but stdin.
        unix.dup2(stdin, 0)
        unix.dup2(output, 1)
        unix.dup2(output, 2)
        if directory is not None:
            unix.fchdir(directory)
        unix.umask(0o077)
        unix.dup2(failed, 3, inheritable=False)  # closed by a successful exec
        failed = 3
        process.close_from(4)
        unix.execve(argv[0], list(argv), dict(env))
    except OSError as why:
        unix.write(failed, (why.errno or 0).to_bytes(4, "big"))
    finally:
        unix._exit(127)


def _reason(why: OSError) -> str:
    return why.strerror or type(why).__name__
