"""A daemon of one's own: a program in the foreground, waited for until it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# A machine that is busy needs a while; one that needs this much is not going to make it.
START_MAX = 60.0
STOP_MAX = 30.0

# Seconds for a command to end.
COMMAND_MAX = 200.0

# A program in the foreground has no other way to say that it is ready than to answer.
LOOK = 0.02


class Daemon:
    """A program that runs for as long as the with block takes, and what it says, in a log.

    Each says what has to be there first (_prepare), its words (_command) and whether it
    answers already (is_ready).
    """

    # 0: its children have a process group of their own.
    process_group: int | None = None

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.log_file = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def _prepare(self) -> None:
        """Make its files; raises MissingError if it is not installed."""

    def _command(self) -> list[str]:
        """Its words."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it is not running."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        try:
            return self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with its log if it does not."""
        self._prepare()
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self.process_group,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end and wait; nothing happens if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without giving it a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_MAX
        while self._process and self._process.poll() is None and time.monotonic() < end:
            if self.is_ready():
                return
            time.sleep(LOOK)
        raise RuntimeError(f"{type(self).__name__} does not answer:\n{self.log[-3000:]}")

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        # One that is stopped (SIGSTOP) would not see SIGTERM.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def suspend(pid: int) -> None:
    """SIGSTOP, and wait until it has stopped.

    The kernel only notes the signal: on a busy machine a daemon goes on for a moment, and takes
    connections and questions.
    """
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + STOP_MAX
    while not is_suspended(Path(f"/proc/{pid}/task")):
        if time.monotonic() > end:
            raise TimeoutError(f"{pid} does not stop")
        time.sleep(LOOK)


def is_suspended(tasks: Path) -> bool:
    """Whether all threads have stopped of the process that has this directory in /proc."""
    threads = tasks.glob("*/stat")
    return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)


def output_of(
    words: Sequence[str], stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> str:
    """What a command says; raises RuntimeError with that unless it exits 0."""
    try:
        done = subprocess.run(
            words,
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=COMMAND_MAX,
        )
    except subprocess.TimeoutExpired as why:
        raise RuntimeError(str(why)) from why
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}\n{said}")
    return said
