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

# What is kept of a program's output; Postfix keeps as much of ours.
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
    """How a program ended: its exit status, or the signal that killed it, and its output."""

    __slots__ = ("late", "output", "signal", "status")

    def __init__(self, wait: int, output: bytes, late: bool) -> None:
        self.signal = os.WTERMSIG(wait) if os.WIFSIGNALED(wait) else 0
        self.status = os.WEXITSTATUS(wait) if os.WIFEXITED(wait) else -1
        self.output = output
        self.late = late

    def __str__(self) -> str:
        if self.late:
            how = "did not end in time and was killed"
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
    commits: bool = False,
) -> Ended:
    """Run the program until it ends or until the deadline (time.monotonic seconds).

    commits tells that with status 0 it has taken the message over: signals are ignored then.

    It starts in the directory (a descriptor) with umask 077 and nothing open but 0, 1
    and 2.  How it ended is for the caller to judge; Defer is raised when it cannot be
    started.  What it leaves running in the background is not waited for, even with our
    pipe open.
    """
    program = printable(argv[0])
    try:
        out, child_out = os.pipe()
        failed, child_failed = os.pipe()
        pid = os.fork()
    except OSError as why:
        raise because(program, why) from why
    if not pid:
        _become(argv, stdin, env, directory, child_out, child_failed)
    try:
        stop.close(child_out)
        stop.close(child_failed)
        if number := os.read(failed, 4):
            os.waitpid(pid, 0)
            pid = 0
            reason = os.strerror(int.from_bytes(number, "big"))
            raise Defer(f"cannot run {program}: {reason}; may this user execute it?", CONFIG)
        output, late = _until_end(pid, out, deadline)
        if late:
            stop.kill_group(pid)
        # A signal between its status 0 and our knowing of it would be a second delivery.
        with stop.signals_blocked():
            _, wait = os.waitpid(pid, 0)
            pid = 0
            if commits and wait == 0:
                stop.commit()
        return Ended(wait, output, late)
    except Stopped:
        if not pid or not commits:
            raise
        stop.kill_group(pid)
        _, wait = os.waitpid(pid, 0)
        pid = 0
        if wait != 0:
            raise
        # It had ended before the signal came, and has taken the message.
        stop.commit()
        return Ended(wait, b"", False)
    finally:
        if pid:  # by any exception: what we started does not go on alone
            stop.kill_group(pid)
            os.waitpid(pid, 0)
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


def _until_end(pid: int, out: int, deadline: float) -> tuple[bytes, bool]:
    """The program's output, and whether it is late; returns when it has ended or is late."""
    output = bytearray()
    process = os.pidfd_open(pid)
    try:
        waiting = poll()
        waiting.register(process, POLLIN)
        waiting.register(out, POLLIN)
        while True:
            left = deadline - monotonic()
            if left <= 0:
                return bytes(output), True
            ready = [fd for fd, _ in waiting.poll(left * 1000 if left < 1e6 else None)]
            if out in ready:
                piece = os.read(out, PIPE_MAX)
                output += piece[: OUTPUT_MAX - len(output)]
                if not piece:
                    waiting.unregister(out)
            # poll looks at the process first, so what it wrote last has been read; a
            # process of its own that writes on for ever is not listened to.
            if process in ready:
                return bytes(output), False
    finally:
        stop.close(process)
