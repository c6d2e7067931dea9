"""The check of the waitfile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from avcheck.admin import pausing
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.output import Trouble
from avcheck.printable import printable


def waitfile(look: Look) -> Iterator[Result]:
    """Nobody else decides about the waitfile, and it is not forgotten there."""
    settings = look.settings
    if not settings.waitfile:
        yield Result(
            WARNING,
            "there is no waitfile, so mail cannot be held back while the scanner is restarted",
            f"-w {printable(settings.spool.rstrip(b'/'))}/wait",
        )
        return
    place = pausing.Place(settings.waitfile, settings.spool)
    name = printable(settings.waitfile)
    try:
        with look.acting():
            mode = os.stat(place.parent).st_mode
        if mode & stat.S_IWOTH:
            text = f"waitfile {name}: everybody can make it, and hold back all mail"
            yield Result(ERROR, text, f"-w {printable(settings.spool.rstrip(b'/'))}/wait")
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
            f"mail is held back by {name}" + (f": {explained}" if explained else ""),
            f"avcheckctl resume -w {name}",
        )
    else:
        yield Result(OK, f"waitfile {name} does not exist, so mail is checked")
