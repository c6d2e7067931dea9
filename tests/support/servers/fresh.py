"""Directories for fixtures, which can be set up again after they have failed once."""

from __future__ import annotations

import shutil
from pathlib import Path


def fresh(directory: Path) -> Path:
    """The directory, made anew, and open to every account; what an earlier try left is gone."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir()
    directory.chmod(0o755)
    return directory
