"""On whose behalf something is done.

The spool directory and the quarantine belong to the account that runs avcheck.
Root works in them as that account (see places): a file there, or a symbolic link in the
place of one, cannot make root do anything that the account cannot do itself.  It is also
what makes a test of the scanner's permissions mean something.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from time import strptime

from avcheck.admin import output
from avcheck.printable import printable

# Accounts that others use, the scanner among them.
SHARED = ("nobody", "clamav", "www-data")


@contextmanager
def account(user: int, group: int | None = None) -> Iterator[None]:
    """Act as the user while in the with block, if we are root and he is not.

    group is the only group then; the user's own unless given.
    """
    if os.geteuid() != 0 or user == 0:
        yield
        return
    if group is None:
        try:
            group = pwd.getpwuid(user).pw_gid
        except KeyError:
            group = user
    # What is imported late, while Python's own files may be closed to the account.
    import termios  # noqa: F401

    import avcheck.ask
    import avcheck.state.canary
    import avcheck.tls  # noqa: F401

    strptime("0", "%S")  # imports the module that does it
    output.ready()

    groups = os.getgroups()
    mask = os.umask(0o077)
    os.setgroups([group])
    os.setresgid(group, group, 0)
    # What execve(2) makes of this has no way back; we have, by the saved ID.
    os.setresuid(user, user, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
        os.umask(mask)


def who() -> str:
    """The administrator: the account, and the one behind sudo(8)."""
    behind = printable(os.environ.get("SUDO_USER", ""), 40)
    return f"{behind} as {name(os.getuid())}" if behind else name(os.getuid())


def name(user: int) -> str:
    """What the account is called, or its number."""
    try:
        return printable(pwd.getpwuid(user).pw_name, 40)
    except KeyError:
        return str(user)
