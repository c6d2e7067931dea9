"""A few hundred messages of `make load`: twenty at a time, while everything around is killed."""

from __future__ import annotations

from pathlib import Path

from tests.campaigns.load.account import Account
from tests.campaigns.load.campaign import carry_out
from tests.campaigns.load.sessions import Sessions

MESSAGES = 60
# The troubles of a storm in a quarter of the time, in which the messages are tried less often.
PACE = 4.0


def test_a_storm_breaks_no_promise(command: Path) -> None:
    _breaks_no_promise(carry_out(command, agents=20, messages=MESSAGES, pace=PACE))


def test_nor_over_sessions(command: Path) -> None:
    _breaks_no_promise(carry_out(command, agents=20, messages=MESSAGES, pace=PACE, kind=Sessions))


def _breaks_no_promise(result: Account) -> None:
    print(f"\n{result.table}")
    assert result.violations == []
