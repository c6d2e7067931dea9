"""A virtual environment as avcheck-guard meets it, with a Python or an avcheck made up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.tree import ROOT

SCRIPT = ROOT / "scripts" / "avcheck-guard.sh"
PATIENCE = 60

# What the guard says to Python before the words of avcheck: -I -S -c, its code, where, its name.
OWN_WORDS = 6

# What Python is to leave with in the place of 0.
SUCCESS = 200

MAIN = "import os, sys\ndef main(success):\n"


class Environment:
    """The guard, and apart from it a virtual environment that is whatever the test wants."""

    def __init__(self, directory: Path, shell: str = "sh") -> None:
        # Names that have to be quoted.
        self.directory = directory / "e n*v $HOME é"
        self.shell = shutil.which(shell) or shell
        self.avcheck = self.directory / "bin" / "avcheck"
        self.python = self.directory / "bin" / "python3"
        self.settings = self.directory / "pyvenv.cfg"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.packages = self.directory / "lib" / version / "site-packages"
        self.packages.mkdir(parents=True)
        self.avcheck.parent.mkdir()
        self.avcheck.touch()
        self.settings.write_text(f"home = {Path(self._base()).parent}\n")

    @staticmethod
    def _base() -> str:
        return os.path.realpath(sys.executable)

    def python_is(self, commands: str) -> None:
        """In place of Python there is a script of the shell with these commands."""
        self.python.write_text(f"#!/bin/sh\nshift {OWN_WORDS}\n{commands}\n")
        self.python.chmod(0o755)

    def python_is_real(self) -> None:
        """There is the Python of this test."""
        self.python.symlink_to(self._base())

    def main_is(self, body: str) -> None:
        """There is a real Python, and an avcheck whose main() does this."""
        self.python_is_real()
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        self.package_is({"__init__.py": "", "__main__.py": MAIN + lines})

    def package_is(self, files: Mapping[str, str]) -> None:
        """The package avcheck consists of these files."""
        package = self.packages / "avcheck"
        package.mkdir(exist_ok=True)
        for name, text in files.items():
            (package / name).write_text(text)

    def guard_beside(self) -> Path:
        """The guard where pip puts it."""
        return self._copied(self.avcheck.parent / SCRIPT.name)

    def guard_alone(self) -> Path:
        """The guard where the documents put it."""
        return self._copied(self.directory.parent / "lib exec" / "avcheck-guard")

    @staticmethod
    def _copied(guard: Path) -> Path:
        guard.parent.mkdir(exist_ok=True)
        shutil.copy(SCRIPT, guard)
        return guard

    def words(self) -> list[str]:
        """The documented call, without options."""
        return [self.shell, str(self.guard_alone()), str(self.avcheck)]

    def start(
        self,
        *words: str | bytes | Path,
        guard: Sequence[str | Path] = (),
        variables: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start the guard with these words; `guard` replaces it and the name of avcheck."""
        call = [self.shell, *guard] if guard else self.words()
        return subprocess.Popen(
            [*call, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(variables or {})},
            cwd=cwd,
            start_new_session=True,
        )

    def run(
        self,
        *words: str | bytes | Path,
        stdin: bytes = b"",
        guard: Sequence[str | Path] = (),
        variables: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> tuple[int, bytes, str]:
        """The status, the output and the errors of a run."""
        process = self.start(*words, guard=guard, variables=variables, cwd=cwd)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return process.returncode, out, err.decode()
