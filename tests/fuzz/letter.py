"""One message for all executions: in a spool directory of its own, under a name that is known."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache

from avcheck import spool
from avcheck.spool import FRONT, Message
from tests.wire import MESSAGE, SENDER

NAME = b"avcheck.0123456789abcdef01234567"

# As the scanner sees it, in the directory that is its root.
PATH = b"/spool/" + NAME

CONTENT = FRONT + MESSAGE


@cache
def directory() -> spool.Directory:
    """A spool directory that lasts as long as the process; the scanner's root is above it."""
    root = tempfile.mkdtemp(prefix="avcheck-fuzz-")
    ours = os.getpid()

    def remove() -> None:
        if os.getpid() == ours:
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    os.mkdir(f"{root}/spool", 0o700)
    return spool.Directory(os.fsencode(root) + b"/./spool")


@cache
def letter() -> Message:
    """The message, at PATH."""
    before = spool.new_name
    spool.new_name = lambda: NAME
    try:
        message = Message(directory(), SENDER, True)
    finally:
        spool.new_name = before
    spool.release(NAME)  # it stays, and is nobody else's to sweep away
    message.add(MESSAGE)
    assert message.path == PATH
    return message
