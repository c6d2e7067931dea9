"""avcheckctl doctor: all of its checks together.  Its name comes last, and so do these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck.admin import checks
from avcheck.admin.look import ERROR, OK, WARNING
from tests.support.doctor_site import SEEN
from tests.support.mta import until


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
    """By the tests above, which another worker may not have finished yet."""
    config = request.config
    chosen = config.getoption("keyword") or any("::" in word for word in config.args)
    asked = {item.path for item in request.session.items}
    if chosen or not asked.issuperset(Path(__file__).parent.glob("test_*.py")):
        pytest.skip("not all the tests above are run")
    until(lambda: OK in SEEN.of(check.__name__))
    until(lambda: bool(SEEN.of(check.__name__) & {WARNING, ERROR}))
