"""The check of the waitfile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from time import time

from avcheck.admin import amounts, pausing
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.output import Trouble
from avcheck.printable import printable


def waitfile(look: Look) -> Iterator[Result]:
    """Nobody else decides about the waitfile, and it is not forgotten there."""
    settings = look.settings
    elsewhere = f"-w {printable(settings.spool.rstrip(b'/'))}/wait"
    if not settings.waitfile:
        text = "there is no waitfile, so mail cannot be held back while the scanner is restarted"
        yield Result(WARNING, text, elsewhere)
        return
    place = pausing.Place(settings.waitfile, settings.spool)
    name = printable(settings.waitfile)
    if not settings.waitfile.startswith(b"/"):
        text = f"waitfile {name}: no absolute path, and Postfix runs avcheck in another directory"
        yield Result(ERROR, text, elsewhere)
        return
    if blind := _unseen(look, settings.waitfile):
        yield Result(ERROR, f"waitfile {name}: {blind}: all mail waits", elsewhere)
        return
    try:
        with look.acting():
            mode = os.stat(place.parent).st_mode
        if mode & stat.S_IWOTH:
            text = f"waitfile {name}: everybody can make it, and hold back all mail"
            yield Result(ERROR, text, elsewhere)
            return
        with look.acting():
            directory = os.path.isdir(settings.waitfile)
        if directory:
            text = f"waitfile {name} is a directory: all mail is held back"
            yield Result(ERROR, text, f"rmdir {name}")
            return
        note = pausing.read(place)
    except (OSError, Trouble) as why:
        reason = why.strerror if isinstance(why, OSError) else why.message
        yield Result(ERROR, f"waitfile {name}: {reason}", "correct the path of -w")
        return
    if note is not None:
        overdue = bool(note.end) and note.end <= pausing.now()
        explained = note.explain(pausing.now())
        yield Result(
            ERROR if overdue else WARNING,
            f"mail is held back by {name}" + (f": {explained}" if explained else _age(look, name)),
            f"avcheckctl resume -w {name}",
        )
    else:
        yield Result(OK, f"waitfile {name} does not exist, so mail is checked")


def _unseen(look: Look, path: bytes) -> str:
    """Why the account cannot tell whether the file is there, as avcheck asks; empty if it can."""
    try:
        with look.acting():
            os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as why:
        return why.strerror or str(why)
    return ""


def _age(look: Look, name: str) -> str:
    """Since when a plain file, which says nothing itself, has been there."""
    try:
        with look.acting():
            made = os.lstat(look.settings.waitfile).st_mtime
    except OSError:
        return ""
    return f", which is there since {amounts.age(time() - made)}"
