"""What a person asks of avcheck instead of giving it a message: --help, --version, completion.

--version needs no package: doctor asks for it, to see that avcheck can be run.
"""

from __future__ import annotations

import os
import stat
import sys

from avcheck import __version__
from avcheck.exits import CONFIG, OK, TEMPFAIL


def show(what: str, command: str = "avcheck") -> int:
    """Print what was asked for (help, version, complete); returns the exit status.

    The status is OK only if standard input is a terminal or a device such as /dev/null:
    with --help in master.cf by mistake, OK would be the end of every message.
    """
    status = OK if stat.S_ISCHR(os.fstat(0).st_mode) else TEMPFAIL
    if status != OK:  # for Postfix, and first
        text = f"{CONFIG} {command}: --{what} is for a person; here is a message"
        print(text, file=sys.stderr, flush=True)
    if what == "version":
        print(f"{command} {__version__}")
    else:
        from avcheck.options import help

        if what == "complete":
            help.complete()
        else:
            help.show(command)
    sys.stdout.flush()
    return status
