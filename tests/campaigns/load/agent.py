"""A delivery agent of a mail system: runs a command for a message, as Postfix's pipe(8) does.

A process of its own that imports next to nothing: Linux counts towards a child's peak memory what
its parent had before the exec, so the parent has to be smaller than avcheck.

An order is a line on standard input, its fields separated by FIELD: the file with the message, the
seconds after which the whole process group is killed, blows, and the words of the command.  Blows
are "seconds:signal", separated by blanks; each goes to the command alone, that long after its
start.  The answer is a line as well: the status (negative for a signal), the peak memory in KiB,
how many of the blows have struck, and the output in hexadecimal.
"""

from __future__ import annotations

import os
import select
import time

FIELD = "\x1f"
KILL = 9
TEMPFAIL = 75
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C"}
OUTPUT_MAX = 4096  # what pipe(8) reads
PIECE = 65536


def main() -> None:
    come = b""
    while piece := os.read(0, PIECE):
        come += piece
        while b"\n" in come:
            order, _, come = come.partition(b"\n")
            os.write(1, carry_out(os.fsdecode(order).split(FIELD)).encode() + b"\n")


def carry_out(order: list[str]) -> str:
    """Run the command of an order; returns the answer."""
    file, limit, blows, *words = order
    message = os.open(file, os.O_RDONLY)
    stdin, feed = os.pipe()
    listen, stdout = os.pipe()
    for fd in (feed, listen, stdout):
        os.set_blocking(fd, False)
    pid = os.fork()
    if not pid:
        become(words, stdin, stdout)
    os.close(stdin)
    os.close(stdout)
    plan = [(float(delay), int(number)) for delay, _, number in map(split, blows.split())]
    run = Run(pid, message, feed, listen)
    struck = run.watch(plan, float(limit))
    _, status, usage = os.wait4(pid, 0)
    output = run.finish()
    return FIELD.join(
        [str(os.waitstatus_to_exitcode(status)), str(usage.ru_maxrss), str(struck), output.hex()]
    )


def split(blow: str) -> tuple[str, str, str]:
    return blow.partition(":")


def become(words: list[str], stdin: int, stdout: int) -> None:
    """In the child: turn into the command."""
    try:
        os.setsid()
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(stdout, 2)
        os.chdir("/")
        os.execve(words[0], words, ENVIRONMENT)
    finally:
        os._exit(TEMPFAIL)  # as pipe(8) does


class Run:
    """A command that runs: it is fed, listened to, and struck."""

    def __init__(self, pid: int, message: int, feed: int, listen: int) -> None:
        self.pid = pid
        self.message = message
        self.feed = feed
        self.listen = listen
        self.rest = b""
        self.output = b""
        self.waiting = select.poll()
        self.waiting.register(listen, select.POLLIN)
        self.waiting.register(feed, select.POLLOUT)

    def watch(self, blows: list[tuple[float, int]], limit: float) -> int:
        """Return when it has ended; how many blows have struck it."""
        began = time.monotonic()
        ended = os.pidfd_open(self.pid)
        self.waiting.register(ended, select.POLLIN)
        struck = 0
        while True:
            due = blows[struck][0] if struck < len(blows) else limit
            remaining = max(0.0, began + due - time.monotonic())
            ready = [fd for fd, _ in self.waiting.poll(remaining * 1000)]
            if ended in ready:
                os.close(ended)
                return struck
            if self.feed in ready:
                self.give()
            if self.listen in ready:
                self.take()
            if not ready and struck < len(blows):
                os.kill(self.pid, blows[struck][1])
                struck += 1
            elif not ready:
                os.killpg(self.pid, KILL)
                struck += 1

    def give(self) -> None:
        """Write more of the message; at its end, or when nobody reads it, close the pipe."""
        self.rest = self.rest or os.read(self.message, PIECE)
        try:
            if self.rest:
                self.rest = self.rest[os.write(self.feed, self.rest) :]
                return
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        self.waiting.unregister(self.feed)
        os.close(self.feed)
        self.feed = -1

    def take(self) -> None:
        """Read what was written; at its end listen no more."""
        try:
            piece = os.read(self.listen, PIECE)
        except BlockingIOError:
            return
        self.output += piece
        if not piece:
            self.waiting.unregister(self.listen)
            os.close(self.listen)
            self.listen = -1

    def finish(self) -> bytes:
        """Close everything; returns the output."""
        if self.listen >= 0:
            self.take()
        for fd in (self.message, self.feed, self.listen):
            if fd >= 0:
                os.close(fd)
        return self.output[:OUTPUT_MAX]


if __name__ == "__main__":
    main()
