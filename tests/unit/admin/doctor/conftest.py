"""A site where nothing is wrong, its scanner, and the same with avcheck-smtp."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.admin import KnowingClamd
from tests.support.doctor_sessions import Sessions
from tests.support.doctor_site import SEEN, Site

WHOLE = Path(__file__).with_name("test_whole.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever the order of the files, test_whole.py comes last: it looks at what others saw."""
    items.sort(key=lambda item: item.path == WHOLE)


@pytest.fixture(scope="session", autouse=True)
def levels_are_noted(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where all workers of this run find what each of them has seen."""
    mine = tmp_path_factory.getbasetemp()
    SEEN.directory = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "levels"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def after(site: Site) -> Sessions:
    return Sessions(site, before=False)


@pytest.fixture
def before(site: Site) -> Sessions:
    return Sessions(site, before=True)


@pytest.fixture(params=["after", "before"])
def either(request: pytest.FixtureRequest, site: Site) -> Sessions:
    return Sessions(site, before=request.param == "before")


@pytest.fixture
def clamd(site: Site) -> Iterator[KnowingClamd]:
    now = datetime.now().strftime("%a %b %d %H:%M:%S %Y")
    with KnowingClamd(site.clamd, version=f"ClamAV 1.4.6/27412/{now}".encode()) as daemon:
        site.clamd.chmod(0o600)
        yield daemon
