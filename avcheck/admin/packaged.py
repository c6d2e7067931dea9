"""Where things are that a Debian package has installed; with pip they are where docs/ says."""

from __future__ import annotations

import re
from pathlib import Path

import avcheck

# debian/rules puts the programs and the package below this.
PLACE = "/usr/lib/avcheck"
PROGRAMS = f"{PLACE}/bin"
GUARD = f"{PROGRAMS}/avcheck-guard.sh"
SHARE = "/usr/share"

# The blocks of docs/postfix.md that need not be followed, and what is left of the accounts.
DONE = ("install", "programs", "tmpfiles")
ACCOUNTS = re.compile(r"(?<=^```sh accounts\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
LEFT = re.compile(r"^usermod .*\n", re.MULTILINE)


def is_packaged() -> bool:
    """Whether this avcheck is the one of a Debian package."""
    return Path(avcheck.__file__).parent == Path(PLACE, "avcheck")


def as_packaged(page: str) -> str:
    """The page, without what the package has done about accounts and directories."""
    return ACCOUNTS.sub(lambda found: "".join(LEFT.findall(found[0])), page)
