"""A run with one fault in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.faults import tamper
from tests.campaigns.faults.errors import SIGNALS
from tests.campaigns.faults.scenes import Scene
from tests.support.mta import MAIL, Ended, until
from tests.support.traced import Call

STOPPED = "--- stopped by SIGSTOP ---"

# What ends where nothing else would have: a run that hangs.
HUNG = Ended(-1, b"it did not end")


@dataclass(frozen=True)
class Fault:
    """What happens to a call of a task: 0 is avcheck, then come its threads and children.

    what is an error (ENOSPC) in place of the call, a signal (KILL) with it, an error after it
    (after=EIO), or the number of bytes that it is good for (short=1).
    """

    call: Call
    what: str
    task: int = 0

    @property
    def is_signal(self) -> bool:
        return self.what in SIGNALS

    @property
    def by_strace(self) -> bool:
        """Whether strace does it; for the others there is tamper.py."""
        return self.task == 0 and "=" not in self.what

    @property
    def rule(self) -> str:
        """In words for the one or the other."""
        kind = "signal" if self.is_signal else "error"
        if self.by_strace:
            return f"inject={self.call.name}:{kind}={self.what}:when={self.call.number}"
        what = self.what if "=" in self.what else f"{kind}={self.what}"
        return f"{self.task} {self.call.name} {self.call.number} {what}"

    def tool(self, log: Path) -> list[str]:
        """The words to put before a command."""
        if self.by_strace:
            trace = f"trace={self.call.name}"
            return ["strace", "-q", "-o", str(log), "-e", trace, "-e", self.rule]
        return [sys.executable, "-I", tamper.__file__, str(log), *self.rule.split()]


def run(scene: Scene, fault: Fault) -> tuple[Ended, bool]:
    """How it ended, and whether the fault has struck."""
    log = scene.directory / "struck.log"
    log.unlink(missing_ok=True)
    running = scene.start(scene.under(fault.tool(log)))
    with contextlib.suppress(BrokenPipeError):  # it was killed before it had read it
        running.feed()
    if fault.what == "STOP":
        _go_on(running.process.pid, log)
    try:
        ended = running.end()
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        ended = HUNG
    scene.wait_until_idle()
    text = log.read_text(errors="replace") if log.exists() else ""
    if not fault.by_strace:
        return ended, bool(text)
    signs = ("(INJECTED)", f"--- SIG{fault.what} ", f"killed by SIG{fault.what}")
    return ended, any(sign in text for sign in signs)


def again(scene: Scene) -> Ended:
    """How the MTA's next try ends, with no fault."""
    ended = scene.start(scene.patiently()).end(MAIL)
    scene.wait_until_idle()
    return ended


def line(scene: Scene, fault: Fault) -> str:
    """A command line that does the same, without the servers."""
    words = " ".join(os.fsdecode(word) for word in scene.words)
    tool = f"strace -e {fault.rule}" if fault.by_strace else f"tamper.py LOG {fault.rule}"
    return f"printf {MAIL[:9]!r}... | {tool} {words}"


def _go_on(tracer: int, log: Path) -> None:
    """Wake what strace runs as soon as it is stopped; return also if it ends before that."""

    def has_stopped() -> bool:
        if log.exists() and STOPPED in log.read_text(errors="replace"):
            for child in _descendants(tracer):
                with contextlib.suppress(ProcessLookupError):  # what a program started has ended
                    os.kill(child, signal.SIGCONT)
            return True
        return _has_ended(tracer)

    until(has_stopped)


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _has_ended(pid: int) -> bool:
    # The state comes after the name, which is in parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
