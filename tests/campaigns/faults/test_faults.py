"""A few of the faults of `make faults`: the same ones each time, of every call in every scene."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns import sweeps
from tests.campaigns.faults import campaign, page, strike, tamper
from tests.campaigns.faults.stage import SCENES, scene
from tests.campaigns.faults.strike import Fault
from tests.support.servers import packages

# Of what is chosen, one in so many is struck: the same ones each time.
EVERY = 8


@pytest.fixture(scope="module")
def chosen(command: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Fault]]:
    """The faults for each scene."""
    packages.need("strace", commands=["strace"])
    directory = tmp_path_factory.mktemp("plans")
    with contextlib.ExitStack() as stack:
        places = [
            stack.enter_context(scene(name, command, directory / str(number)))
            for number, name in enumerate(SCENES)
        ]
        choices = campaign.choices([(place, campaign.plan(place)) for place in places])
    if platform.machine() != tamper.MACHINE:
        choices = [[fault for fault in faults if fault.by_strace] for faults in choices]
    return {
        name: list(sweeps.some(faults, EVERY)) for name, faults in zip(SCENES, choices, strict=True)
    }


@pytest.mark.parametrize("name", SCENES)
def test_a_fault_breaks_no_promise(
    name: str, chosen: dict[str, list[Fault]], command: Path, tmp_path: Path
) -> None:
    with scene(name, command, tmp_path / "scene") as place:
        results = list(campaign.carry_out(place, chosen[name]))
        broken = [
            (result.text, result.said, strike.line(place, fault))
            for fault, result in zip(chosen[name], results, strict=True)
            if result.text
        ]
    assert broken == []


# avcheck, and then what Python would say of an exception that nobody can catch, such as that of
# a thread which finds no memory to begin.
UNCAUGHT = """
import posix, sys
from avcheck import __main__

class Uncaught:
    def __del__(self):
        raise MemoryError

posix._exit = lambda status: Uncaught()
sys.argv = ["avcheck"]
__main__.main()
"""


def test_python_says_nothing_of_its_own() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-c", UNCAUGHT], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert ended.stderr.startswith(b"4.")
    assert ended.stderr.count(b"\n") == 1


def test_the_page_names_the_calls_that_are_shortened() -> None:
    words = page.TEXT.replace(",", " ").replace(".", " ").split()
    assert set(tamper.SHORTENED) <= set(words)
