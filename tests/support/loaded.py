"""What a run of avcheck has loaded when it leaves: python -X importtime does not see all of it."""

from __future__ import annotations

import re
from pathlib import Path

# Run before anything of avcheck: it leaves by posix._exit.
TELL = """\
import posix, sys
leave = posix._exit
def tell(status):
    for name in [*sys.modules]:
        posix.write(2, f"loaded: {name}\\n".encode())
    leave(status)
posix._exit = tell
"""

# Then the program that sys.argv[1] names, with the words that follow.
RUN = """\
del sys.argv[0]
program = posix.open(sys.argv[0], posix.O_RDONLY)
exec(compile(posix.read(program, 100_000), sys.argv[0], "exec"))
"""

LEAVE = "posix._exit(0)\n"

_LINE = re.compile(rb"^loaded: (\S+)$", re.MULTILINE)


def modules(said: bytes) -> set[str]:
    """The names that were told on standard error."""
    return {name.decode() for name in _LINE.findall(said)}


def let_tell(directory: Path) -> Path:
    """Have every interpreter tell that has this directory, which is new, in PYTHONPATH."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(TELL)
    return directory
