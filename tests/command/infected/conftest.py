"""A site for the handler, under each shell, and one whose quarantine is small."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.infected_site import ROOT, Site, mount
from tests.support.servers import packages


@pytest.fixture(params=["dash", "bash"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    packages.need(request.param, commands=[request.param])
    return Site(tmp_path, request.param)


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """The quarantine is a file system of its own, which `mount` options shall limit."""
    if not ROOT:
        pytest.skip("only root can mount")
    site.quarantine.mkdir(mode=0o700)
    mount(site.quarantine, "size=64k,mode=700")
    yield site
    subprocess.run(["umount", site.quarantine], check=True)
