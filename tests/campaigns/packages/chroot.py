"""A Debian of one's own: what debootstrap makes, and layers of changes on top of that.

Commands run in namespaces that end with them, and what they have changed stays.  All of it is in
memory.  By root only.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.support.once import MEMORY
from tests.support.servers import packages

SCRIPT = Path(__file__).with_name("chroot.sh")
MIRROR = "http://deb.debian.org/debian"

# Seconds for a command: building, and installing what that needs, takes minutes.
PATIENCE = 1200

# How apt is told to reach that mirror here.
SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Retries")


class FailedError(Exception):
    """A command has not ended with 0; the text is its output."""


class Place:
    """A directory for chroots, which is gone afterwards; usable inside a with statement."""

    def __enter__(self) -> Path:
        packages.need_root("chroots are root's")
        self._directory = Path(tempfile.mkdtemp(prefix="avcheck-packages-", dir=MEMORY))
        return self._directory

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._directory)


class Chroot:
    """A Debian, or one more layer on the one that is given."""

    def __init__(self, directory: Path, lower: Chroot | Path) -> None:
        self.directory = directory
        self.upper = directory / "upper"
        self.below: list[Path] = [lower] if isinstance(lower, Path) else [lower.upper, *lower.below]
        for name in ("upper", "work", "root"):
            (directory / name).mkdir(parents=True)
        (directory / "upper").chmod(0o755)

    def layer(self, name: str) -> Chroot:
        """Another one on top, which changes nothing of this."""
        return Chroot(self.directory.with_name(f"{self.directory.name}-{name}"), self)

    def attempt(self, commands: str, *, alone: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the commands; alone is without a network but for a loopback of its own."""
        apart = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        apart += ["--net"] if alone else []
        lower = ":".join(map(str, self.below))
        places = (self.directory / "root", lower, self.upper, self.directory / "work")
        return subprocess.run(
            [*apart, "--propagation", "private", "sh", str(SCRIPT), *map(str, places)],
            input=commands,
            env={"PATH": packages.PLACES},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )

    def run(self, commands: str, *, alone: bool = False) -> str:
        """The output of commands each of which has to succeed; raises FailedError."""
        done = self.attempt(commands, alone=alone)
        if done.returncode:
            text = f"status {done.returncode} of:\n{commands}\n{done.stdout[-6000:]}"
            raise FailedError(text)
        return done.stdout

    def install(self, *names: str) -> str:
        """Install packages, without those that they only recommend, and start nothing."""
        return self.run(f"apt-get -qq -y --no-install-recommends install {' '.join(names)}")

    def put(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file; its directory is this layer's from now on."""
        file = self.upper / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


def bootstrap(directory: Path, suite: str) -> Chroot:
    """A minimal Debian of that suite, with what apt needs to go on."""
    base = directory / f"{suite}-base"
    words = [packages.find("debootstrap"), "--variant=minbase", suite, str(base), MIRROR]
    done = subprocess.run(
        words, env={"PATH": packages.PLACES}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FailedError(done.stdout[-3000:] + done.stderr[-3000:])
    (base / "etc/apt/apt.conf.d/99here").write_text(_settings())
    shutil.copy("/etc/resolv.conf", base / "etc/resolv.conf")
    shutil.copy("/etc/hosts", base / "etc/hosts")
    policy = base / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    made = Chroot(directory / suite, base)
    made.run("apt-get -qq update")
    return made


def _settings() -> str:
    """What apt of this host was told about its way to the mirror."""
    told = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return "".join(f"{line}\n" for line in told.stdout.splitlines() if line.startswith(SETTINGS))
