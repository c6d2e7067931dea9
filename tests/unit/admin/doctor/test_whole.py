"""avcheckctl doctor: all of its checks together."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from avcheck.admin import checks
from avcheck.admin.look import ERROR, OK, WARNING
from tests.support.doctor_site import SEEN

# Seconds for the other workers to finish the tests before these; pytest stops a test at 300.
OTHERS_MAX = 200.0


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: str(check.__name__))
def test_every_check_has_a_test_that_names_it(check: checks.Check) -> None:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    assert any(f'"{check.__name__}"' in file.read_text() for file in files)


def test_every_check_has_a_sentence() -> None:
    assert all(check.__doc__ for check in checks.CHECKS)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: str(check.__name__))
def test_every_check_was_made_to_fire_and_not_to(
    request: pytest.FixtureRequest, check: checks.Check
) -> None:
    """By the other tests here, which run before (see conftest), or in another worker."""
    config = request.config
    chosen = config.getoption("keyword") or any("::" in word for word in config.args)
    asked = {item.path for item in request.session.items}
    if chosen or not asked.issuperset(Path(__file__).parent.glob("test_*.py")):
        pytest.skip("not all the tests of doctor are run")
    end = time.monotonic() + (OTHERS_MAX if "PYTEST_XDIST_WORKER" in os.environ else 0.0)
    while not (OK in (seen := SEEN.of(check.__name__)) and seen & {WARNING, ERROR}):
        assert time.monotonic() < end, f"no test has shown more than {seen}"
        time.sleep(0.1)  # the processor is for those who are waited for
