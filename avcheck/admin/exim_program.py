"""How exim(8) is asked for something."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from avcheck.admin import asking, places, programs
from avcheck.admin.account import account
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import PLACES
from avcheck.printable import printable

NAMES = ("exim4", "exim")

# Bytes that a command of it may write: some hundred for each option.
OUTPUT_MAX = 16 * 1024 * 1024

GUIDE = "avcheckctl setup exim"


@dataclass(frozen=True)
class Said:
    """What Exim answered, and what it said beside that; not in time if late is set."""

    text: str = ""
    errors: str = ""
    late: bool = False


def said(configuration: str, words: list[str], given: bytes = b"") -> Said:
    """What it says to the command, with that on its standard input."""
    try:
        done = _run(configuration, *words, given=given)
    except TimeoutError:
        return Said(late=True)
    return Said(os.fsdecode(done.out), os.fsdecode(done.err))


def ask(configuration: str, *words: str) -> str:
    """The output of exim(8); raises Trouble if it fails, as for a mistake in its configuration."""
    try:
        done = _run(configuration, *words)
    except TimeoutError as why:
        raise Trouble(f"exim {' '.join(words)}: {why.strerror}") from why
    if done.status != 0:
        complaint = printable(done.err or done.out, 300)
        remedy = places.AS_ROOT if os.geteuid() else f"exim4 -bV; {GUIDE}"
        raise Trouble(f"exim {' '.join(words)}: {complaint}", remedy)
    return os.fsdecode(done.out)


def _run(configuration: str, *words: str, given: bytes = b"") -> programs.Done:
    """How the command ends; raises TimeoutError if it does not, and Trouble if it cannot be run."""
    found = filter(None, (shutil.which(name, path=PLACES) for name in NAMES))
    program = next(found, None)
    if program is None:
        raise Trouble(
            "exim: not found; is Exim installed here?",
            "without Exim, give avcheck's options in place of --exim",
        )
    argv = [program, *(["-C", configuration] if configuration else []), *words]
    try:
        with account(0):
            return programs.run(argv, asking.LIMIT, OUTPUT_MAX, given=given)
    except TimeoutError:
        raise
    except OSError as why:
        raise Trouble(f"exim {' '.join(words)}: {why.strerror}") from why
