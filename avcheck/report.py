"""What happened is said in one line; saying it never raises and changes no status.

Under Postfix's pipe(8) standard output and standard error are one non-blocking
pipe that nobody reads while the message is being written; its first bytes, if
they are a status code such as 4.3.0, override the exit status, and with status 0
its first 100 bytes are logged.  So: one line, one write.
"""

from __future__ import annotations

import os
from time import monotonic

from avcheck.exits import OK, Leave
from avcheck.printable import printable

_OUT = 1
_ERR = 2

_started = monotonic()
_steps: list[bytes] = []
_verbose = False


def verbosely() -> None:
    """Keep the steps from now on, or show them at once on a terminal."""
    global _verbose
    _verbose = True


def step(what: str) -> None:
    """Note a step, for --verbose."""
    if not _verbose:
        return
    line = f"avcheck: {(monotonic() - _started) * 1000:8.1f} ms  {printable(what)}\n".encode()
    if os.isatty(_ERR):
        _write(_ERR, line)
    else:
        # An MTA takes the first bytes for the status code; the steps come after them.
        _steps.append(line)


def done(what: str, status: int) -> int:
    """Say that the message was taken care of; nothing is said for an okcode other than 0."""
    if status == OK:
        _write(_OUT, printable(what).encode() + b"\n")
    return _end(status)


def left(why: Leave) -> int:
    """Say why the message was not taken care of; returns the status to exit with."""
    _write(_ERR, f"{why.code} avcheck: {why.text}\n".encode())
    return _end(why.status)


def _end(status: int) -> int:
    for line in _steps:
        _write(_ERR, line)
    return status


def _write(fd: int, line: bytes) -> None:
    try:
        os.write(fd, line)
    except OSError:
        return  # full or closed: the status alone has to do
