"""The installed avcheck, asking one scanner about one message."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A handler that writes down what it is told, and takes the message over.
HANDLER = """\
#!/bin/sh
printf '%s\\n' "$AVCHECK_VERDICT" "$AVCHECK_VIRUS" >"$(dirname "$0")/told"
rm "$1"
"""

TEMPFAIL = 75


@dataclass(frozen=True)
class Answer:
    """What somebody makes of a message: the verdict, the names found, and the words."""

    verdict: str
    names: tuple[str, ...] = ()
    said: str = ""


class Avcheck:
    """The command, with a spool directory and a handler below the directory."""

    def __init__(self, command: Path, directory: Path) -> None:
        self.command = command
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.handler = directory / "handler"
        self.handler.write_text(HANDLER)
        self.handler.chmod(0o700)
        self.told = directory / "told"

    def ask(self, scanner: str, message: bytes, *more: str) -> Answer:
        """What it makes of the message; nothing is delivered, and nothing left behind."""
        done = subprocess.run(
            [
                *(str(self.command), "-n", "-d", str(self.spool), "-i", str(self.handler)),
                *("-s", scanner, *more, "-f", "anna@example.com", "--", "bert@example.net"),
            ],
            input=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode()
        assert os.listdir(self.spool) == []
        if self.told.exists():
            verdict, names = self.told.read_text().splitlines()
            self.told.unlink()
            assert done.returncode == 0, said
            return Answer(verdict, tuple(names.split(", ")) if names else (), said)
        if done.returncode == 0:
            assert said.startswith("clean: "), said
            return Answer("clean", (), said)
        assert done.returncode == TEMPFAIL, said
        return Answer("failed", (), said)
