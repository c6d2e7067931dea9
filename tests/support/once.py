"""What is made once for all workers of a test run, and gone at its end."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

# In memory, for a host's own file system may be an overlay itself.
MEMORY = "/dev/shm"

# Of this test run: its number is that of the process that has started the workers.
WORKER = "PYTEST_XDIST_WORKER" in os.environ
PLACE = Path(MEMORY, f"avcheck-once-{os.getppid() if WORKER else os.getpid()}")


def once(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of that name, made by the first who asks for it.

    make is given an empty directory; what it raises is raised, and the next one tries again.
    """
    if not WORKER:
        atexit.register(remove_all)
    PLACE.mkdir(mode=0o755, exist_ok=True)
    directory = PLACE / name
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            directory.mkdir(mode=0o755)
            try:
                make(directory)
            except BaseException:
                shutil.rmtree(directory)
                raise
    return directory


def remove_all() -> None:
    """Remove what this test run has made; by the process that has started the workers."""
    shutil.rmtree(PLACE, ignore_errors=True)
