"""What the demonstration shows: commands, what came back, and what it meant."""

from __future__ import annotations

import os
import sys
import textwrap

WIDTH = 100

BOLD, DIM, GREEN, RED, PLAIN = "1", "2", "32", "1;31", ""


class Screen:
    """Writes to standard output, and counts what was not as it should be in `failures`."""

    def __init__(self) -> None:
        self.failures = 0
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def heading(self, text: str) -> None:
        """The beginning of a chapter."""
        self._write()
        self._write()
        self._write(text, BOLD)
        self._write("-" * len(text), DIM)

    def say(self, text: str) -> None:
        """A paragraph of the story, whatever its white space."""
        self._write()
        self._write(textwrap.fill(" ".join(text.split()), WIDTH))

    def command(self, *words: str) -> None:
        """A command line, broken where it is too long, but not within one of the words given."""
        lines = [""]
        for word in words:
            if len(lines[-1]) + len(word) > WIDTH - 8:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".lstrip()
        self._write()
        self._write("  $ " + " \\\n        ".join(lines), BOLD)

    def output(self, text: str) -> None:
        """What a program wrote."""
        for line in text.splitlines():
            self._write(textwrap.indent("\n".join(textwrap.wrap(line, WIDTH - 4)), "  | "), DIM)

    def status(self, number: int, meaning: str) -> None:
        """The exit status of the command and what the mail system makes of it."""
        self._write(f"  exit status {number}: {meaning}")
        self._write()

    def fact(self, so: bool, text: str) -> None:
        """One thing that has to be so."""
        self.failures += not so
        self._write("  ok     " if so else "  WRONG  ", GREEN if so else RED, end="")
        self._write(text)

    def show(self, lines: list[str]) -> None:
        """The evidence for the fact above it."""
        for line in lines:
            self._write(f"           {line}"[:WIDTH].rstrip(), DIM)

    def _write(self, text: str = "", style: str = PLAIN, end: str = "\n") -> None:
        if self._coloured and style:
            text = f"\033[{style}m{text}\033[0m"
        print(text, end=end, flush=True)
