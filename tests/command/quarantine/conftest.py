"""A quarantine, and a site where every message is infected."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mta import Site
from tests.support.quarantine import FOUND, Quarantine
from tests.support.servers import packages


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


@pytest.fixture
def infected(site: Site) -> Site:
    """A site where every message is infected."""
    site.clamd(says=FOUND)
    return site


@pytest.fixture
def small(quarantine: Quarantine) -> Iterator[Quarantine]:
    """A quarantine with room for 64 kB, on a file system of its own."""
    packages.need_root("a file system of 64 kB is mounted by root only")
    quarantine.path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(quarantine.path)]
    subprocess.run(mount, check=True)
    yield quarantine
    subprocess.run(["umount", quarantine.path], check=True)
