"""The command itself, and its launcher."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command.limits.runs import Runner

GUARD = "avcheck-guard.sh"


@pytest.fixture
def avcheck(command: Path) -> Runner:
    """The command itself."""
    return Runner([command])


@pytest.fixture
def guard(command: Path) -> Runner:
    """The launcher beside it."""
    return Runner([command.with_name(GUARD)])


@pytest.fixture(params=["avcheck", GUARD])
def either(request: pytest.FixtureRequest, command: Path) -> Runner:
    """One of them, and then the other."""
    return Runner([command.with_name(request.param)])
