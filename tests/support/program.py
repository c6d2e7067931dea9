"""A program whom avcheck runs, played: a shell script, which notes how it was called.

It tells when a stage is reached (arrived), and can be made to wait there (release), so no
test ever sleeps.
"""

from __future__ import annotations

import os
import select
import shlex
from pathlib import Path

from tests.support.fakes import PATIENCE

# For the ending of a Program: stop here until release().  Descriptor 9 is what ended()
# waits for: it is closed when the program, and what it left running, is gone.  Nobody
# can get stuck with descriptor 8 after close().
OPEN = 'exec 8<"$notes/release" 9>"$notes/reached"'
STOP = f"""
{OPEN}
echo >&9
read line <&8
"""

# The same with a child that does not end, either.
STOP_WITH_CHILD = f"""
{OPEN}
/bin/cat <&8 &
{STOP}
"""


class Program:
    """A shell script that notes its arguments, environment and standard input, then ends as told.

    ending is shell; the notes are in the directory $notes, and any other file made
    there can be read with note().
    """

    def __init__(self, path: Path, ending: str = "exit 0") -> None:
        self.path = path
        self._notes = path.with_name(path.name + ".notes")
        self._notes.mkdir()
        for name in ("reached", "release"):
            os.mkfifo(self._notes / name)
        # Open from the start, for neither side is to block in opening them.
        self._reached = os.open(self._notes / "reached", os.O_RDONLY | os.O_NONBLOCK)
        self._release = os.open(self._notes / "release", os.O_RDWR | os.O_NONBLOCK)
        path.write_text(
            f"#!/bin/sh\nnotes={shlex.quote(str(self._notes))}\n"
            'echo called >>"$notes/calls"\n'
            'printf "%s\\0" "$0" "$@" >"$notes/argv"\n'
            'cat "/proc/$$/environ" >"$notes/environment"\n'
            'cat >"$notes/stdin"\n'
            f"{ending}\n"
        )
        path.chmod(0o755)

    @property
    def calls(self) -> int:
        calls = self._notes / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    @property
    def argv(self) -> list[bytes]:
        return self.note("argv").split(b"\0")[:-1]

    @property
    def environment(self) -> dict[bytes, bytes]:
        lines = self.note("environment").split(b"\0")[:-1]
        return {name: value for name, _, value in (line.partition(b"=") for line in lines)}

    @property
    def stdin(self) -> bytes:
        return self.note("stdin")

    def note(self, name: str) -> bytes:
        return (self._notes / name).read_bytes()

    def arrived(self) -> None:
        """Return when the program has come to STOP."""
        self._wait(select.POLLIN)
        os.read(self._reached, 1)

    def release(self) -> None:
        """Let it go on after STOP."""
        os.write(self._release, b"\n")

    def ended(self) -> None:
        """Return when the program that came to STOP is gone, and all that it started."""
        self._wait(select.POLLHUP)

    def close(self) -> None:
        os.close(self._reached)
        os.close(self._release)

    def _wait(self, event: int) -> None:
        waiting = select.poll()
        waiting.register(self._reached, event)
        assert waiting.poll(PATIENCE * 1000), f"{self.path}: nothing came"
