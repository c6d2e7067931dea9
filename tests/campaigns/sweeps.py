"""Tests that go through every system call, or every moment: a few of them, or all.

`make check` takes a few; a campaign sets WHOLE for its own tests, which then take all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

WHOLE = "AVCHECK_WHOLE"

# A worker for each processor: a run that is traced waits for nobody.
WORKERS = ("-n", str(os.cpu_count() or 1))


def is_whole() -> bool:
    """Whether this is a campaign."""
    return WHOLE in os.environ


def some(steps: Sequence[T], every: int) -> Sequence[T]:
    """All of them in a campaign; otherwise each so many, the last one among them."""
    return steps if is_whole() else steps[::-1][::every][::-1]


def carry_out(*paths: Path, words: Sequence[str] = WORKERS, count: int = 0) -> bool:
    """Run the tests below these paths as a campaign does; whether nothing was broken.

    count is how many messages there are for each mail system.
    """
    environment = {**os.environ, WHOLE: str(count)}
    command = [sys.executable, "-m", "pytest", *words, *map(str, paths)]
    return subprocess.run(command, env=environment, check=False).returncode == 0


def messages(few: int) -> int:
    """How many messages a campaign wants; otherwise these few."""
    return int(os.environ.get(WHOLE, "0")) or few
