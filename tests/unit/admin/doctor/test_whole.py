"""avcheckctl doctor: all of its checks together.  Its name comes last, and so do these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck.admin import checks
from avcheck.admin.look import ERROR, OK, WARNING
from tests.support.doctor_site import SEEN


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: str(check.__name__))
def test_every_check_has_a_test_that_names_it(check: checks.Check) -> None:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    assert any(f'"{check.__name__}"' in file.read_text() for file in files)


def test_every_check_has_a_sentence_and_was_made_to_fire_and_not_to() -> None:
    assert all(check.__doc__ for check in checks.CHECKS)
    if len(SEEN) < len(checks.CHECKS):
        pytest.skip("not all the tests above were run")
    for name, seen in SEEN.items():
        assert OK in seen, name
        assert seen & {WARNING, ERROR}, name
