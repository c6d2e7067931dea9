"""A few of the faults of `make faults`: the same ones each time."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from tests.faults import campaign, strike
from tests.faults.scenes import SCENES, scene
from tests.servers import packages

# One in so many faults, in all scenes together half a minute.
ONE_IN = 29


@pytest.mark.parametrize("name", SCENES)
def test_a_fault_breaks_no_promise(name: str, command: Path, tmp_path: Path) -> None:
    packages.need("strace", commands=["strace"])
    with scene(name, command, tmp_path / "scene") as place:
        faults = campaign.plan(place)
        # By name and number: a wait more or less in a run does not change the choice.
        first = list(SCENES).index(name)  # other calls in each scene
        chosen = [each for each in faults if crc32(each.rule.encode()) % ONE_IN == first]
        results = list(campaign.carry_out(place, chosen))
        broken = [
            (result.text, result.ended, strike.line(place, result.fault))
            for result in results
            if result.text
        ]
    assert broken == []
    assert any(result.outcome == "kept" for result in results)
