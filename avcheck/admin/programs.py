"""Programs that are asked something: an argv and never a shell, limits on time and on output.

What a program answers may be a stranger's, and so may be how long it takes, and how much.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

# Bytes of an answer; `postqueue -j` has some hundred for each message in the queue.
OUTPUT_MAX = 256 * 1024 * 1024

# Bytes that are read at a time: what a pipe holds.
PIECE = 64 * 1024


@dataclass(frozen=True)
class Done:
    """How a program ended (below 0: by that signal), and what it wrote."""

    status: int
    out: bytes
    err: bytes


def run(
    argv: Sequence[str],
    seconds: float,
    limit: int = OUTPUT_MAX,
    environment: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> Done:
    """Run the program, with that input, and wait for its end.

    Raises OSError if it cannot be started, and where it takes longer or writes more; it is
    killed then, with all that it has started in its process group.
    """
    until = monotonic() + seconds
    with _holding(given) as stdin:
        child = subprocess.Popen(  # noqa: S603 - an argv of ours
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    try:
        with child:
            try:
                out, err = _read(child, until, limit)
                child.wait(max(until - monotonic(), 0.001))
            except BaseException:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                raise
    except (TimeoutError, subprocess.TimeoutExpired):
        raise OSError(errno.ETIMEDOUT, f"no end within {seconds:g} s") from None
    return Done(child.returncode, out, err)


@contextlib.contextmanager
def _holding(given: bytes) -> Iterator[int]:
    """A file in memory with what is given, or the one that has nothing."""
    if not given:
        yield subprocess.DEVNULL  # a file, even an empty one, might be taken for a message
        return
    fd = os.memfd_create("given", os.MFD_CLOEXEC)
    try:
        os.pwrite(fd, given, 0)
        yield fd
    finally:
        os.close(fd)


def _read(child: subprocess.Popen[bytes], until: float, limit: int) -> tuple[bytes, bytes]:
    """Both outputs to their ends; raises TimeoutError, or OSError if they are too long."""
    assert child.stdout is not None
    assert child.stderr is not None
    found = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for fd in found:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(until - monotonic(), 0.0))
            if not ready and monotonic() >= until:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, PIECE)
                if not piece:
                    selector.unregister(key.fd)
                found[key.fd] += piece
            if sum(map(len, found.values())) > limit:
                raise OSError(errno.EFBIG, f"wrote more than {limit} bytes")
    out, err = found.values()
    return bytes(out), bytes(err)
