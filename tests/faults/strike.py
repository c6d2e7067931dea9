"""A run with one fault in it."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.faults.scenes import Scene
from tests.mta import MAIL, Ended, until
from tests.traced import Call

STOPPED = "--- stopped by SIGSTOP ---"


@dataclass(frozen=True)
class Fault:
    """What happens to a call: an error (ENOSPC) in its place, or a signal (KILL) with it."""

    call: Call
    what: str

    @property
    def is_error(self) -> bool:
        return self.what.startswith("E")

    @property
    def rule(self) -> str:
        """For strace -e."""
        kind = "error" if self.is_error else "signal"
        return f"inject={self.call.name}:{kind}={self.what}:when={self.call.number}"


def run(scene: Scene, fault: Fault) -> tuple[Ended, bool]:
    """How it ended, and whether the fault has struck."""
    log = scene.directory / "struck.log"
    strace = ["strace", "-qq", "-o", str(log), "-e", f"trace={fault.call.name}", "-e", fault.rule]
    log.unlink(missing_ok=True)
    running = scene.site.start([*strace, *scene.words])
    with contextlib.suppress(BrokenPipeError):  # it was killed before it had read it
        running.feed()
    if fault.what == "STOP":
        _go_on(running.process.pid, log)
    ended = running.end()
    scene.site._running.clear()
    scene.settle()
    text = log.read_text(errors="replace")
    return ended, ended.status < 0 or "(INJECTED)" in text or f"--- SIG{fault.what} " in text


def line(scene: Scene, fault: Fault) -> str:
    """A command line that does the same, without the servers."""
    words = " ".join(os.fsdecode(word) for word in scene.words)
    return f"printf {MAIL[:9]!r}... | strace -e {fault.rule} {words}"


def _go_on(tracer: int, log: Path) -> None:
    """Wake what strace runs as soon as it is stopped; return also if it ends before that."""
    children = Path(f"/proc/{tracer}/task/{tracer}/children")

    def has_stopped() -> bool:
        if log.exists() and STOPPED in log.read_text(errors="replace"):
            os.kill(int(children.read_text()), signal.SIGCONT)
            return True
        return _has_ended(tracer)

    until(has_stopped)


def _has_ended(pid: int) -> bool:
    # The state comes after the name, which is in parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
