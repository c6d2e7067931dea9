"""A few hundred messages of `make load`: twenty at a time, while everything around is killed."""

from __future__ import annotations

from pathlib import Path

from tests.campaigns.load.campaign import carry_out

MESSAGES = 60


def test_a_storm_breaks_no_promise(command: Path) -> None:
    result = carry_out(command, agents=20, messages=MESSAGES)
    print(f"\n{result.table}")
    assert result.violations == []
