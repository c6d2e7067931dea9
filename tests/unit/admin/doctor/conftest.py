"""A site where nothing is wrong, and its scanner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.admin import KnowingClamd
from tests.support.doctor_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def clamd(site: Site) -> Iterator[KnowingClamd]:
    now = datetime.now().strftime("%a %b %d %H:%M:%S %Y")
    with KnowingClamd(site.clamd, version=f"ClamAV 1.4.6/27412/{now}".encode()) as daemon:
        site.clamd.chmod(0o600)
        yield daemon
