"""One message for all executions: in a spool directory of its own, under a name that is known."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from unittest.mock import patch

from avcheck import spool
from avcheck.directory import Directory, release_file
from avcheck.seen import FRONT
from avcheck.spool import Message
from tests.support.wire import MESSAGE, SENDER

NAME = b"avcheck.0123456789abcdef01234567"

# As the scanner sees it, in the directory that is its root.
PATH = b"/spool/" + NAME

CONTENT = FRONT + MESSAGE


@cache
def directory() -> Directory:
    """A spool directory that lasts as long as the process; the scanner's root is above it."""
    root = tempfile.mkdtemp(prefix="avcheck-fuzz-")
    ours = os.getpid()

    def remove() -> None:
        if os.getpid() == ours:
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    os.mkdir(f"{root}/spool", 0o700)
    return Directory(os.fsencode(root) + b"/./spool")


@cache
def letter() -> Message:
    """The message, at PATH."""
    with patch.object(spool, "new_file_name", lambda: NAME):
        message = Message(directory(), SENDER, True)
    release_file(NAME)  # it stays, and is nobody else's to sweep away
    message.add(MESSAGE)
    message.complete()
    assert message.path == PATH
    return message
