"""What doctor says, asked by the installed command, or by what that would import and call."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CTL = Path(sys.executable).with_name("avcheckctl")

# Of each line of its input a doctor, in a process of its own, but without what Python and its
# imports take: half of the time of a command.  A line has the arguments, and the files for all
# that is said; the answer is the exit status.
DOCTORS = """\
import json, os, sys
from avcheck import admin
from avcheck.admin.commands import doctor
for line in sys.stdin:
    words, files = json.loads(line)
    child = os.fork()
    if not child:
        for fd, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
        sys.argv[1:] = words
        admin.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Doctors:
    """Who asks doctor again and again, with this PATH, until the end of the tests."""

    def __init__(self, path: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="avcheck-doctor-")
        self._files = [Path(self._directory.name, name) for name in ("output", "errors")]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", DOCTORS],
            cwd="/",
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.close)

    def ask(self, words: Sequence[str]) -> tuple[int, str, str]:
        """The exit status, the output and the errors."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([words, list(map(str, self._files))]) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        output, errors = (file.read_text() for file in self._files)
        return status, output, errors

    def close(self) -> None:
        self._process.communicate()
        self._directory.cleanup()


doctors = functools.cache(Doctors)


@dataclass(frozen=True)
class Finding:
    """What doctor said of one thing."""

    service: str
    check: str
    level: str
    text: str
    remedy: str


def doctor(option: str, path: str = os.environ["PATH"], *, command: bool = False) -> list[Finding]:
    """All that it says of the set-up that the option names, by the programs of this PATH.

    With command it is the installed command; without, what that would import and call.
    """
    words = ("doctor", option, "--json")
    if command:
        done = subprocess.run(
            [CTL, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "PATH": path},
        )
        status, said, errors = done.returncode, done.stdout, done.stderr
    else:
        status, said, errors = doctors(path).ask(words)
    assert status in (0, 1, 2), errors
    assert said, errors
    return [Finding(**each) for each in json.loads(said)]


def finding(found: Sequence[Finding], check: str, level: str, said: str = "") -> Finding:
    """What doctor says of that check; fails if it has not found that."""
    for each in found:
        if (each.check, each.level) == (check, level) and said in each.text:
            return each
    bad = [each for each in found if each.level != "ok"]
    raise AssertionError(f"{check} has no {level} with {said!r} among {bad}")
