"""A Debian machine on which a page is followed, line by line, from the first package on.

The packages' own configurations, the documented accounts, paths and ports: nothing is
adapted.  What the machine has no network and no systemd for is put there: the Python
packages that pip asks for, and two signatures in place of freshclam's.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.live.recipe import DOCUMENT, blocks
from tests.support.installed import NOT_SOURCE, run
from tests.support.once import once
from tests.support.servers.clamd import SIGNATURES
from tests.support.servers.machine import HOSTNAME, Layer, Machine
from tests.support.tree import ROOT

SOURCE = "/root/avcheck"
WHEELS = "/root/wheels"

# What every page begins with, but for the mail system.
COMMON = ("clamav-daemon", "clamav-testfiles", "python3-venv")

# Of sections 2 to 4 of docs/postfix.md, in the order of the page.
PREPARATION = ("accounts", "zip64", "install", "programs", "tmpfiles")

# The lines of section 3.
CLAMD_CONF = ("clamd.conf", "clamd-socket.conf")

PIP = f"[global]\nno-index = true\nfind-links = {WHEELS}\ndisable-pip-version-check = true\n"


def wheels() -> Path:
    """A directory with what pip needs to build and install avcheck without a network."""
    return once("wheels", _make_wheels)


def _make_wheels(made: Path) -> None:
    pip = (sys.executable, "-m", "pip", "-q")
    run(*pip, "download", "--dest", str(made), "setuptools >= 77", "wheel")
    run(*pip, "wheel", "--wheel-dir", str(made), *_requirements())


def _requirements() -> list[str]:
    from importlib import metadata

    return [each for each in metadata.requires("avcheck") or [] if "extra ==" not in each]


class Follower(Machine):
    """A machine on which a page is followed."""

    def follow(self, page: Path, *names: str) -> str:
        """Run these blocks of commands of the page as they stand, in the source's directory."""
        commands = "\n".join(blocks(page)[name] for name in names)
        return self.shell(f"cd {SOURCE}\n{commands}")

    def append(self, file: str, text: str) -> None:
        """Add lines to a file, as a page says."""
        with self.path(file).open("a") as opened:
            opened.write(text)

    def configure(self, file: str, lines: str) -> None:
        """Change or add settings of the form "Name value", as a page says for clamd.conf."""
        settings = dict(line.split(maxsplit=1) for line in lines.splitlines())
        kept = [
            line
            for line in self.read(file).splitlines()
            if not line.split() or line.split()[0] not in settings
        ]
        self.path(file).write_text("\n".join([*kept, *_spelled(settings), ""]))

    def supply(self, wheels: Path) -> None:
        """Put there the source, and what freshclam and an index of packages would have sent."""
        shutil.copytree(ROOT, self.path(SOURCE), ignore=NOT_SOURCE)
        shutil.copytree(wheels, self.path(WHEELS))
        self.put("/root/.config/pip/pip.conf", PIP)  # it wins over those of this host
        for signature in SIGNATURES.iterdir():
            shutil.copy(signature, self.path("/var/lib/clamav"))
        for name in ("main.inc", "daily.inc"):  # without them Debian does not start clamd
            self.path(f"/var/lib/clamav/{name}").mkdir()


class Debian(Follower):
    """The machine; usable inside a with statement, in which sections 2 to 4 have been followed.

    That is done once for all machines with the same packages: only clamd is started on each.
    """

    def __init__(self, layer: Layer, wheels: Path, hostname: str = HOSTNAME) -> None:
        super().__init__(layer, hostname)
        self.wheels = wheels

    def __enter__(self) -> Self:
        prepared = once(f"prepared-{self.layer.directory.name}", self._prepare)
        self.lower = f"{prepared / 'upper'}:{self.layer.lower}"
        super().__enter__()
        try:
            self.run("systemctl", "start", "clamav-daemon")
            self.wait_until(lambda: self.path("/run/clamav/clamd.ctl").is_socket(), "clamd")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _prepare(self, directory: Path) -> None:
        with Follower(self.layer, directory=directory) as machine:
            machine.supply(self.wheels)
            machine.follow(DOCUMENT, *PREPARATION)
            for name in CLAMD_CONF:
                machine.configure("/etc/clamav/clamd.conf", blocks(DOCUMENT)[name])


def _spelled(settings: Mapping[str, str]) -> list[str]:
    return [f"{name} {value}" for name, value in settings.items()]
