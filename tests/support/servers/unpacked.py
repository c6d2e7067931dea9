"""Programs of Debian packages that cannot be installed beside Postfix: unpacked only.

That installs nothing on this system; it may download packages and refresh apt's lists.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.once import once

from . import packages

# Without apt's own sandbox: its account cannot enter a private directory.
DOWNLOAD = r"""
set -eu
cd "$1"
shift
download() { apt-get -qq -o APT::Sandbox::User=root download "$@"; }
download "$@" || { apt-get -qq -o DPkg::Lock::Timeout=300 update && download "$@"; }
"""


def unpack(directory: Path, *names: str) -> Path:
    """The directory, with the files of these packages below it; their libraries are installed.

    No script of theirs is run.  Raises MissingError as packages.need() does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    libraries: set[str] = set()
    for archive in once("-".join(names), lambda place: _download(place, names)).glob("*.deb"):
        libraries |= _libraries(archive)
        subprocess.run(["dpkg", "-x", str(archive), str(directory)], check=True)
    packages.need(*sorted(libraries))
    return directory


def _download(place: Path, names: Sequence[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", DOWNLOAD, "download", str(place), *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise packages.MissingError(f"apt-get download {' '.join(names)}:\n{done.stdout[-2000:]}")


def _libraries(archive: Path) -> set[str]:
    asked = subprocess.run(
        ["dpkg-deb", "-f", str(archive), "Depends"], stdout=subprocess.PIPE, text=True, check=True
    )
    return set(packages.LIBRARY.findall(asked.stdout.strip()))


def account(name: str) -> None:
    """Make sure that a package's own account exists, as its installation would have made it.

    Raises MissingError as packages.need() does.
    """
    packages.need_root(f"{name}: programs are run as another account by root only")
    if not packages.has_account(name):
        words = " ".join([*packages.USERADD, name])
        raise packages.MissingError(f"no account {name}; make check makes it, or root: {words}")
