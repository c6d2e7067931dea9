"""The system's calls, by the names that the module os has for them.

os takes them from posix, its C half, and imports abstract base classes and posixpath for what
else it has: a millisecond, a seventh of what a run takes beyond the bare interpreter (CPython
3.11).  So what every message goes through uses this.
"""

from __future__ import annotations

import sys
from _stat import S_ISCHR, S_ISDIR, S_ISREG, S_ISSOCK
from posix import *  # noqa: F403 - all of it, as os does
from posix import _exit, environ

# environ has bytes; os.environ shows the same as texts.
__all__ = ["S_ISCHR", "S_ISDIR", "S_ISREG", "S_ISSOCK", "_exit", "environ"]

devnull = b"/dev/null"

# lseek(2)
SEEK_SET = 0
SEEK_CUR = 1


def fsencode(word: str) -> bytes:
    """The bytes of a word of the command line, or of a file's name, as the kernel has them."""
    return word.encode(sys.getfilesystemencoding(), "surrogateescape")


def fsdecode(name: bytes) -> str:
    """The name as a text, of which fsencode makes the same bytes again."""
    return name.decode(sys.getfilesystemencoding(), "surrogateescape")


def absolute(path: bytes) -> bytes:
    """The path from the root on."""
    return path if path.startswith(b"/") else getcwdb() + b"/" + path  # noqa: F405
