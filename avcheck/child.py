"""Run another program: sendmail, the handler.

argv and never a shell; a session of its own; the environment built from nothing;
standard input from a descriptor; its output taken, up to a limit, and never
passed through (an MTA would read a "5.7.1" in it as our own words); at the
deadline the whole process group is killed.  Compare Postfix's pipe_command.c.
"""

from __future__ import annotations

import os
from select import POLLIN, poll
from time import monotonic

from avcheck import stop
from avcheck.exits import CONFIG, Defer, Stopped, because
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# What is kept of a program's output, unless more is asked for; Postfix keeps as much of ours.
OUTPUT_MAX = 4096
PIPE_MAX = 64 * 1024  # what a Linux pipe holds


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

    late is whether we have killed it because the time was up; lost says why its output is
    not all of it (an error of the system), and is empty if it is.
    """

    __slots__ = ("late", "lost", "output", "signal", "status")

    def __init__(self, wait: int, output: bytes, late: bool, lost: str = "") -> None:
        self.signal = os.WTERMSIG(wait) if os.WIFSIGNALED(wait) else 0
        self.status = os.WEXITSTATUS(wait) if os.WIFEXITED(wait) else -1
        self.output = output
        self.late = late and wait != 0
        self.lost = lost

    @property
    def killed(self) -> bool:
        """Whether it did not come to its own end, and nobody knows what it has done."""
        return self.late or self.signal != 0

    def __str__(self) -> str:
        if self.late:
            how = "did not end in time and was killed"
        elif self.signal and self.lost:
            how = f"could not be waited for ({self.lost}) and was killed"
        elif self.signal:
            how = f"was killed by signal {self.signal}"
        else:
            how = f"exited with status {self.status}"
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
    taken is for a program that takes the message over when it ends with status 0: what avcheck
    leaves with then, whatever comes.

    It starts in the directory (a descriptor) with umask 077 and nothing open but 0, 1
    and 2.  How it ended is for the caller to judge; Defer is raised when it cannot be
    started.  What it leaves running in the background is not waited for, even with our
    pipe open.
    """
    program = printable(argv[0])
    try:
        out, child_out = os.pipe()
        failed, child_failed = os.pipe()
    except OSError as why:
        raise because(program, why) from why
    pid = 0
    try:
        try:
            # After a signal between the fork and our knowing of it the child would be alone.
            with stop.signals_blocked():
                pid = os.fork()
                if not pid:
                    _become(argv, stdin, env, directory, child_out, child_failed)
        except OSError as why:
            raise because(program, why) from why
        finally:
            stop.close(child_out)
            stop.close(child_failed)
        watched = _Watched(pid, out, failed, keep)
        try:
            watched.until(deadline)
        except OSError as why:  # it may have done its work: how it ended will tell
            watched.lost = why.strerror or type(why).__name__
            stop.kill_group(pid)
        if watched.late:
            stop.kill_group(pid)
        # A signal between its status 0 and our knowing of it would be a second delivery.
        with stop.signals_blocked():
            if taken is not None:
                stop.commit()
            _, wait = os.waitpid(pid, 0)
            pid = 0
            if taken is not None and wait == 0:
                stop.settle(taken)
        if watched.reason:
            reason = os.strerror(watched.reason)
            raise Defer(f"cannot run {program}: {reason}; may this user execute it?", CONFIG)
        return Ended(wait, bytes(watched.output), watched.late, watched.lost)
    except Stopped as why:
        if not pid or taken is None:
            raise
        stop.kill_group(pid)
        _, wait = os.waitpid(pid, 0)
        pid = 0
        if wait != 0:
            raise Stopped(
                f"possible duplicate: {program} was killed: {why.text}", why.code
            ) from why
        # It had ended before the signal came, and has taken the message.
        stop.settle(taken)
        return Ended(wait, b"", False)
    finally:
        if pid:  # by any exception: what we started does not go on alone
            stop.kill_group(pid)
            _, wait = os.waitpid(pid, 0)
            if taken is not None:
                stop.commit()  # nobody knows what it has done
                if wait == 0:
                    stop.settle(taken)
        stop.close(out)
        stop.close(failed)


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
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - no shell: that is the point
    except OSError as why:
        os.write(failed, (why.errno or 0).to_bytes(4, "big"))
    finally:
        os._exit(127)


class _Watched:
    """A program that runs: its output, the errno if it could not be started, and how it went."""

    __slots__ = ("failed", "keep", "late", "lost", "out", "output", "pid", "reason")

    def __init__(self, pid: int, out: int, failed: int, keep: int) -> None:
        self.pid = pid
        self.out = out
        self.failed = failed
        self.keep = keep
        self.output = bytearray()
        self.reason = 0
        self.late = False
        self.lost = ""

    def until(self, deadline: float) -> None:
        """Return when it has ended or is late; raises OSError when it cannot be watched."""
        process = os.pidfd_open(self.pid)
        try:
            waiting = poll()
            for fd in (process, self.failed, self.out):
                waiting.register(fd, POLLIN)
            while True:
                left = deadline - monotonic()
                if left <= 0:
                    self.late = True
                    return
                ready = [fd for fd, _ in waiting.poll(left * 1000 if left < 1e6 else None)]
                if self.failed in ready:
                    self.reason = int.from_bytes(self._read(self.failed), "big")
                    waiting.unregister(self.failed)
                if self.out in ready:
                    piece = self._read(self.out)
                    self.output += piece[: self.keep - len(self.output)]
                    if not piece:
                        waiting.unregister(self.out)
                # poll looks at the process first, so what it wrote last has been read; a
                # process of its own that writes on for ever is not listened to.
                if process in ready:
                    return
        finally:
            stop.close(process)

    def _read(self, fd: int) -> bytes:
        """What has come; nothing at the end, and for what cannot be read."""
        try:
            return os.read(fd, PIPE_MAX)
        except OSError as why:
            self.lost = why.strerror or type(why).__name__
            return b""
