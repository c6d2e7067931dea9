"""Run another program: sendmail, the handler.

argv and never a shell; a session of its own; the environment built from nothing;
standard input from a descriptor; its output taken, up to a limit, and never
passed through (an MTA would read a "5.7.1" in it as our own words); at the
deadline the whole process group is killed.  Compare Postfix's pipe_command.c.

One that has changed its user (setuid sendmail, exim4) cannot be killed by us: kill(2) is
EPERM.  So nothing here waits without a limit.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from select import POLLIN, poll
from stat import S_ISCHR, S_ISREG
from time import monotonic, sleep

from avcheck import stop
from avcheck.exits import CONFIG, Defer, Stopped, defer_from
from avcheck.printable import printable
from avcheck.spool import UNREAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# What is kept of a program's output, unless more is asked for; Postfix keeps as much of ours.
OUTPUT_MAX = 4096
PIPE_MAX = 64 * 1024  # what a Linux pipe holds

# Seconds for a program to be gone after it was killed, and between two looks at it.
GONE_MAX = 2.0
NAP = 0.005

# Programs that run: their process numbers, from before anybody can stop us until they have
# ended or were killed.  Nobody is waited for while he is among them, so that a number in
# there is not given to another.
_running: set[int] = set()
_changing = allocate_lock()


def environment() -> dict[bytes, bytes]:
    """What every program gets: PATH, and which of several Postfix instances it belongs to.

    Without MAIL_CONFIG, which pipe(8) exports, Postfix's sendmail would put the message
    into the queue of the default instance.
    """
    env = {b"PATH": b"/bin:/usr/bin"}
    instance = os.environ.get("MAIL_CONFIG")
    if instance:
        env[b"MAIL_CONFIG"] = os.fsencode(instance)
    return env


class Ended:
    """How a program ended: its exit status, or the signal that killed it, and its output.

    wait is what waitpid(2) said, None for one that could not be killed and runs on.  late is
    whether we have killed it defer_from the time was up; lost says why its output is not all of
    it (an error of the system), and is empty if it is; unread whether it has left something
    of its standard input.
    """

    __slots__ = ("late", "lost", "output", "runs", "signal", "status", "unread")

    def __init__(
        self, wait: int | None, output: bytes, late: bool, lost: str = "", unread: bool = False
    ) -> None:
        self.runs = wait is None
        self.signal = os.WTERMSIG(wait) if wait is not None and os.WIFSIGNALED(wait) else 0
        self.status = os.WEXITSTATUS(wait) if wait is not None and os.WIFEXITED(wait) else -1
        self.output = output
        self.late = late and wait != 0
        self.lost = lost
        self.unread = unread

    @property
    def killed(self) -> bool:
        """Whether it did not come to its own end, and nobody knows what it has done."""
        return self.late or self.signal != 0 or self.runs

    @property
    def fate(self) -> str:
        """What has become of one that was to be killed."""
        return "could not be killed, and runs on" if self.runs else "was killed"

    def __str__(self) -> str:
        if self.late:
            how = f"did not end in time and {self.fate}"
        elif self.killed and self.lost:
            how = f"could not be waited for ({self.lost}) and {self.fate}"
        elif self.signal:
            how = f"was killed by signal {self.signal}"
        elif self.runs:
            how = self.fate
        else:
            how = f"exited with status {self.status}"
        if self.unread:
            how += " without having read the whole message"
        said = printable(self.output)
        return f"{how}: {said}" if said else how


def run(
    argv: Sequence[bytes],
    stdin: int,
    env: Mapping[bytes, bytes],
    deadline: float,
    directory: int | None = None,
    taken: int | None = None,
    keep: int = OUTPUT_MAX,
) -> Ended:
    """Run the program until it ends or until the deadline (time.monotonic seconds).

    Of its output the first keep bytes are kept, the rest is read and forgotten.
    taken is for a program that takes the message over when it ends with status 0 and has read
    its standard input to the end: what avcheck leaves with then, whatever comes.

    It starts in the directory (a descriptor) with umask 077 and nothing open but 0, 1
    and 2.  How it ended is for the caller to judge; Defer is raised when it cannot be
    started.  What it leaves running in the background is not waited for, even with our
    pipe open.
    """
    program = _Program(printable(argv[0]), stdin, taken, keep)
    try:
        program.start(argv, env, directory)
        program.watch(deadline)
        ended = program.end()
    except BaseException as why:
        if not program.pid:
            raise
        ended = program.end()  # what we started does not go on alone
        if taken is None or not isinstance(why, Stopped):
            raise
        # One that had ended before the signal came has decided.
        if program.struck and ended.status != 0:
            text = f"possible duplicate: {program.name} {ended.fate}: {why.text}"
            raise Stopped(text, why.code) from why
    finally:
        program.close()
    if program.reason:
        reason = os.strerror(program.reason)
        raise Defer(f"cannot run {program.name}: {reason}; may this user execute it?", CONFIG)
    return ended


def end_all() -> None:
    """Kill every program that runs, whoever has started it; no other is started after this.

    For the last moment: a thread that waits for its program goes without another word.
    """
    # Whoever has it is about to tell us of a program.  It is never given back.
    _changing.acquire(timeout=GONE_MAX)
    for pid in [*_running]:
        stop.kill_group(pid)


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
        os.setsid()
        stop.default_signals()
        # 0, 1 and 2 are open (see __main__), so none of ours is one of them but stdin.
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if directory is not None:
            os.fchdir(directory)
        os.umask(0o077)
        os.dup2(failed, 3, inheritable=False)  # closed by a successful exec
        failed = 3
        stop.close_from(4)
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - no shell: that is the point
    except OSError as why:
        os.write(failed, (why.errno or 0).to_bytes(4, "big"))
    finally:
        os._exit(127)


class _Program:
    """A program that runs: its output, the errno if it could not be started, and how it went.

    struck is whether we have killed it, or tried to.
    """

    __slots__ = (
        *("_failed", "_keep", "_late", "_lost", "_out", "_output", "_over", "_stdin", "_taken"),
        *("_ended", "_wait", "name", "pid", "reason", "struck"),
    )

    def __init__(self, name: str, stdin: int, taken: int | None, keep: int) -> None:
        self.name = name
        self.pid = 0
        self.reason = 0
        self.struck = False
        self._stdin = stdin
        self._taken = taken
        self._keep = keep
        self._out = self._failed = -1
        self._output = bytearray()
        self._over = self._late = False
        self._lost = ""
        self._wait: int | None = None
        self._ended: Ended | None = None

    def start(
        self, argv: Sequence[bytes], env: Mapping[bytes, bytes], directory: int | None
    ) -> None:
        """Start it; raises Defer when there is no room for one more."""
        output = failed = -1
        try:
            self._out, output = os.pipe()
            self._failed, failed = os.pipe()
            for fd in (self._out, self._failed):
                os.set_blocking(fd, False)
            # After a signal between the fork and our knowing of it the child would be alone.
            with stop.signals_blocked(), _changing:
                self.pid = os.fork()
                if not self.pid:
                    _become(argv, self._stdin, env, directory, output, failed)
                _running.add(self.pid)
        except OSError as why:
            raise defer_from(self.name, why) from why
        finally:
            for fd in (output, failed):
                stop.close(fd)

    def watch(self, deadline: float) -> None:
        """Return when it has ended, is late, or cannot be watched."""
        process = -1
        try:
            process = os.pidfd_open(self.pid)
            waiting = poll()
            for fd in (process, self._failed, self._out):
                waiting.register(fd, POLLIN)
            while True:
                left = max(deadline - monotonic(), 0.0)
                ready = [fd for fd, _ in waiting.poll(left * 1000 if left < 1e6 else None)]
                for fd in (self._failed, self._out):
                    if fd in ready and self._hear(fd):
                        waiting.unregister(fd)
                # poll looks at the process first, so what it wrote last has been read; a
                # process of its own that writes on for ever is not listened to.
                if process in ready:
                    self._over = True
                    return
                # Only now: we may have been stopped (SIGSTOP) until long after the deadline.
                if not left:
                    self._late = True
                    return
        except OSError as why:  # it may have done its work: how it ended will tell
            self._lost = _reason(why)
        finally:
            stop.close(process)

    def end(self) -> Ended:
        """How it ended; it is killed if it has not.  The one place where it is waited for.

        Can be called again: a signal may strike just before the first call has begun.
        """
        # A signal between its status 0 and our knowing of it would be a second delivery.
        with stop.signals_blocked():
            if self._ended is None:
                if self._taken is not None:
                    stop.commit()  # nobody knows what it has done
                if not self._has_ended():
                    self.struck = True
                    stop.kill_group(self.pid)
                with _changing:
                    _running.discard(self.pid)
                self._reap()
                unread = self._wait == 0 and not _was_read(self._stdin)
                if self._taken is not None and self._wait == 0 and not unread:
                    stop.settle(self._taken)
                for fd in (self._failed, self._out):
                    self._hear(fd)
                self._ended = Ended(
                    self._said(), bytes(self._output), self._late, self._lost, unread
                )
            return self._ended

    def close(self) -> None:
        stop.close(self._out)
        stop.close(self._failed)

    def _said(self) -> int | None:
        """Its wait status, unless that is the word of one whom we have only half killed.

        A script of another user sees its programs killed, may end with 0 then, and would have
        said of a part of the message that it is clean.
        """
        if self.struck and self._taken is None and self._wait is not None:
            return stop.KILLED
        return self._wait

    def _has_ended(self) -> bool:
        """Whether there is nothing to kill.

        It is not waited for here, so that its number is not given to another.
        """
        if self._over:
            return True
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:
            return True
        except OSError:
            return False

    def _reap(self) -> None:
        """Wait for the end of one that has ended or was killed; but not for ever."""
        until = monotonic() + GONE_MAX
        while self._wait is None:
            try:
                pid, wait = os.waitpid(self.pid, os.WNOHANG)
            except OSError as why:
                self._lost = _reason(why)
                return
            if pid:
                self._wait = wait
            elif monotonic() >= until:
                return
            else:
                sleep(NAP)

    def _hear(self, fd: int) -> bool:
        """Take what has come; whether no more will come."""
        try:
            piece = os.read(fd, PIPE_MAX)
        except BlockingIOError:
            return False
        except OSError as why:
            self._lost = _reason(why)
            return True
        if fd == self._failed and piece:
            self.reason = int.from_bytes(piece, "big")
        elif fd == self._out:
            self._output += piece[: max(self._keep - len(self._output), 0)]
        return not piece


def _was_read(stdin: int) -> bool:
    """Whether a program that had this for its standard input has read it to the end.

    What was read is seen in the offset of a file, which is one for all who share the open
    file, and in what is left in a pipe.  True where it cannot be seen: a terminal, a device,
    and a file of ours that was read, but not by this offset (see as_stdin of spool); nor is it
    seen what the program has done with what it read.
    """
    try:
        status = os.fstat(stdin)
        if S_ISREG(status.st_mode):
            offset = os.lseek(stdin, 0, os.SEEK_CUR)
            ours = status.st_mtime_ns == UNREAD
            elsewhere = ours and not offset and status.st_atime_ns != UNREAD
            return offset >= status.st_size or elsewhere
        if S_ISCHR(status.st_mode):
            return True
        waiting = poll()
        waiting.register(stdin, POLLIN)
        return bool(waiting.poll(0)) and not os.read(stdin, 1)
    except OSError:
        return True


def _reason(why: OSError) -> str:
    return why.strerror or type(why).__name__
