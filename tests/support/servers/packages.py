"""The Debian packages that a real server comes from."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import unittest
from collections.abc import Iterable

# Daemons live in directories that an ordinary user's PATH does not name.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])

# One installation at a time (the lock), no service started by it (Debian's
# policy-rc.d, put there only while it is needed and only if the machine has
# none), nothing removed for it (another MTA, for instance).  Postfix is left
# without a configuration of its own, so it does not start at the next boot.
INSTALL = r"""
set -eu
exec 9>/run/lock/avcheck-packages.lock
flock 9
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
for package; do
    [ "$package" != postfix ] ||
        echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
done
install() {
    apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        --no-install-recommends --no-remove install "$@"
}
install "$@" || { apt-get -qq -o DPkg::Lock::Timeout=300 update && install "$@"; }
"""


class MissingError(Exception):
    """Something that only root can provide is missing; the text says what to do."""


class NotRootError(MissingError, unittest.SkipTest):
    """The same, for a person without root: a test that needs it is skipped."""


def need(*packages: str, commands: Iterable[str] = (), files: Iterable[str] = ()) -> None:
    """Make sure that the packages are installed.

    They are taken to be there when every one of `commands` is found and every
    one of `files` exists; with neither given, dpkg is asked.  Otherwise they
    are installed, as root or by a sudo that asks no questions.

    Raises MissingError when that cannot be done; NotRootError, which pytest and
    unittest report as a skipped test, when the only reason is that a person
    (not CI) runs this without root.
    """
    commands, files = tuple(commands), tuple(files)
    if present(packages, commands, files):
        return
    become = become_root()
    if become is None:
        raise without_root(f"not installed; as root: apt-get install {shlex.join(packages)}")
    done = subprocess.run(
        [*become, "sh", "-c", INSTALL, "install", *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MissingError(f"apt-get install {shlex.join(packages)}:\n{done.stdout[-2000:]}")
    if not present(packages, commands, files):
        raise MissingError(f"{shlex.join(packages)}: installed, but without {[*commands, *files]}")


def need_root(what: str) -> None:
    """Raise as need() does, with `what` as the reason, unless this process is root's."""
    if os.geteuid() != 0:
        raise without_root(what)


def without_root(what: str) -> MissingError:
    """What to raise for want of root: nobody skips a test in CI."""
    return MissingError(what) if os.environ.get("CI") else NotRootError(what)


def find(command: str) -> str:
    """The path of a command, daemons included; raises MissingError if there is none."""
    path = shutil.which(command, path=PLACES)
    if path is None:
        raise MissingError(f"{command}: not found in {PLACES}")
    return path


def present(packages: Iterable[str], commands: Iterable[str], files: Iterable[str]) -> bool:
    """Whether the packages are there, by their commands and files, or else by dpkg."""
    commands, files = tuple(commands), tuple(files)
    if commands or files:
        return all(shutil.which(command, path=PLACES) for command in commands) and all(
            os.path.exists(file) for file in files
        )
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}\n", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return asked.returncode == 0 and all(
        line == "install ok installed" for line in asked.stdout.splitlines()
    )


def become_root() -> list[str] | None:
    """The words that go before a command to run it as root, or None."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if asked.returncode == 0 else None
