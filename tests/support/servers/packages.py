"""The Debian packages that a real server comes from."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import unittest
from collections.abc import Iterable

# Daemons live in directories that an ordinary user's PATH does not name.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])

# What the tests need, each where it says need(); `make check` installs it.
TESTS = (
    "amavisd-new",
    "bindfs",
    "busybox-static",
    "c-icap",
    "clamav",
    "clamav-daemon",
    "clamav-testfiles",
    "clamdscan",
    "dash",
    "haproxy",
    "iproute2",
    "libc-icap-mod-virus-scan",
    "libnginx-mod-stream",
    "m4",
    "mandoc",
    "nftables",
    "nginx-light",
    "postfix",
    "rspamd",
    "socat",
    "strace",
    "stunnel4",
    "swaks",
    "systemd",
    "util-linux",
)

# What cannot be installed beside Postfix: unpacked in a directory of a test, and only the
# libraries are installed.
UNPACKED = (
    "courier-authlib",
    "exim4-daemon-heavy",
    "exim4-daemon-light",
    "fetchmail",
    "getmail6",
    "maildrop",
    "opensmtpd",
    "procmail",
    "sendmail-bin",
    "sendmail-cf",
)
LIBRARY = re.compile(r"(?:^|, )(lib[^ ,|]+)")

# The account that Exim was built to run as.
EXIM = "Debian-exim"
USERADD = (
    *("useradd", "--system", "--user-group", "--home-dir", "/nonexistent"),
    *("--no-create-home", "--shell", "/usr/sbin/nologin"),
)

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
    """Make sure that the packages are there; they are named in TESTS.

    They are taken to be there when every one of `commands` is found and every
    one of `files` exists; with neither given, dpkg is asked.  Nothing is installed:
    `make check` does that, and says so, before it begins.

    Raises MissingError, with the command that installs them; NotRootError, which pytest and
    unittest report as a skipped test, when a person (not CI) runs this without root.
    """
    commands, files = tuple(commands), tuple(files)
    if not present(packages, commands, files):
        missing = f"not installed; make check does it, or root: apt-get install {_words(packages)}"
        raise MissingError(missing) if become_root() is not None else without_root(missing)


def install(*packages: str) -> None:
    """Install those packages that are missing, and say so; as root, or by a sudo without questions.

    Raises MissingError, with the command that does it, when that cannot be done.
    """
    packages = tuple(each for each in packages if not present([each], (), ()))
    if not packages:
        return
    become = become_root()
    if become is None:
        raise MissingError(f"not installed; as root: apt-get install {_words(packages)}")
    print(f"avcheck: installing Debian packages: {_words(packages)}", flush=True)
    done = subprocess.run(
        [*become, "sh", "-c", INSTALL, "install", *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MissingError(f"apt-get install {_words(packages)}:\n{done.stdout[-2000:]}")


def install_all() -> None:
    """Everything that some test needs on this machine, Debian's account for Exim included."""
    install(*TESTS)
    install(*libraries(UNPACKED))
    become = become_root()
    if become is not None and not has_account(EXIM):
        print(f"avcheck: making the account {EXIM}, as Debian's Exim would", flush=True)
        subprocess.run([*become, *USERADD, EXIM], check=True)


def has_account(name: str) -> bool:
    """Whether there is an account of this name."""
    return subprocess.run(["getent", "passwd", name], capture_output=True).returncode == 0


def libraries(packages: Iterable[str]) -> list[str]:
    """The libraries that these packages depend on."""
    asked = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    depends = re.findall(r"^Depends: (.*)$", asked.stdout, re.MULTILINE)
    return sorted({name for line in depends for name in LIBRARY.findall(line)})


def _words(packages: Iterable[str]) -> str:
    return shlex.join(packages)


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
