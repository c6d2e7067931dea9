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

# What docs/postfix.md says of the steps that the package has taken, and what is said instead.
ACCOUNTS = re.compile(r"(?<=^```sh accounts\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
LEFT = re.compile(r"^usermod .*\n", re.MULTILINE)
PACKAGES = re.compile(r"(?<=^## 1\. The packages\n).*?(?=^## )", re.MULTILINE | re.DOTALL)
TO_INSTALL = """
```sh
apt-get install postfix clamav-daemon
```

clamd starts once freshclam has fetched its signatures. `clamdscan --ping 30` returns when it
answers.

"""
ITSELF = re.compile(
    r"(?<=^## 4\. avcheck itself\n).*?(^```sh version\n.*?^```\n).*?(?=^## )",
    re.MULTILINE | re.DOTALL,
)
INSTALLED = rf"""
The package has installed it: `{PROGRAMS}` has avcheck and avcheck-smtp, the guard before them,
and the handler, `infected.sh`, which stores infected mail in `/var/spool/avcheck/quarantine` and
tells postmaster. Its settings are explained at its top.

See that the account can run it. This prints the version:

\1
"""


def is_packaged() -> bool:
    """Whether this avcheck is the one of a Debian package."""
    return Path(avcheck.__file__).parent == Path(PLACE, "avcheck")


def as_packaged(page: str) -> str:
    """The page, without what the package has done."""
    page = ACCOUNTS.sub(lambda found: "".join(LEFT.findall(found[0])), page)
    return ITSELF.sub(INSTALLED, PACKAGES.sub(TO_INSTALL, page))
