"""avcheck installed where an unprivileged account can run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import avcheck
from tests.support.once import once
from tests.support.tree import ROOT

# What a build writes or does not need; a build in a copy leaves none of it in
# the source, and takes no module from an earlier one.
NOT_SOURCE = shutil.ignore_patterns(".*", "tests", "benchmarks", "build", "dist", "*.egg-info")

OLDEST = (3, 11)


def install(directory: Path) -> Path:
    """Install this source below the directory, which is returned."""
    (made,) = once("wheel", _make).glob("*.whl")
    run(str(interpreter()), "-m", "venv", "--without-pip", str(directory))
    replace(directory, made)
    return directory


def _make(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        build(shutil.copytree(ROOT, Path(name, "source"), ignore=NOT_SOURCE), directory)


def wheel(directory: Path, version: str, *changes: tuple[str, str, str]) -> Path:
    """A wheel of this source below the directory, as that version.

    Each change is a module, words in it, and others in their place.
    """
    source = directory / f"source-{version}"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    for module, ours, theirs in (("__init__", avcheck.__version__, version), *changes):
        file = source / "avcheck" / f"{module}.py"
        text = file.read_text()
        if ours not in text:
            raise ValueError(f"{ours!r} is not in {file}")
        file.write_text(text.replace(ours, theirs))
    return build(source, directory / f"wheel-{version}")


def build(source: Path, directory: Path) -> Path:
    """The wheel of that source, made in this directory with the setuptools of the tests."""
    pip = (sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation")
    run(*pip, "--no-deps", "-w", str(directory), str(source))
    return next(directory.glob("*.whl"))


def replace(directory: Path, made: Path) -> None:
    """Install that wheel in the place of what is installed below the directory, by pip alone."""
    target = str(directory / "bin" / "python")
    # The test's own pip does it: the system's Python may come without one.
    pip = (sys.executable, "-m", "pip", "--python", target, "-q", "install", "--no-index")
    run(*pip, "--no-deps", "--force-reinstall", str(made))


def interpreter() -> Path:
    """A Python that every account can run: the one of this test, or the system's.

    Raises RuntimeError when there is none, for instance because the only Python
    new enough is in root's home directory.
    """
    for path in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        if open_to_all(path) and version(path) >= OLDEST:
            return path
    raise RuntimeError(f"no Python {OLDEST} that an unprivileged account can run")


def open_to_all(path: Path) -> bool:
    """Whether others may execute this file and enter every directory above it."""
    path = path.resolve()
    return path.exists() and all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


def version(python: Path) -> tuple[int, ...]:
    """What a Python says of itself."""
    said = run(str(python), "-c", "import sys; print(*sys.version_info[:2])")
    return tuple(map(int, said.split()))


def run(*words: str) -> str:
    """Run a command for its output; raises RuntimeError with all it said unless it exits 0."""
    done = subprocess.run(
        words,
        cwd="/",
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o022,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout
