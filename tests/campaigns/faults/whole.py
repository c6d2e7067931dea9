"""Every system call of every run fails, or gets a signal."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.campaigns import sweeps
from tests.campaigns.faults import campaign, page, strike
from tests.campaigns.faults.campaign import Result
from tests.campaigns.faults.scenes import Scene
from tests.campaigns.faults.stage import SCENES, scene
from tests.campaigns.faults.strike import Fault
from tests.campaigns.report import Report
from tests.support.servers import packages


def carry_out(given: argparse.Namespace) -> Report:
    """All of it, or the scenes that are given; then the sweeps, which are tests."""
    packages.need("strace", commands=["strace"])
    chosen = [name for name in SCENES if not given.scenes or name.startswith(tuple(given.scenes))]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="avcheck-faults-")))
        kept = given.results or directory / "results"
        kept.mkdir(exist_ok=True)
        files = {name: kept / f"{list(SCENES).index(name)}.json" for name in chosen}
        missing = [name for name in chosen if not files[name].exists()]

        def one(place: Scene, faults: list[Fault]) -> None:
            results = run(place, faults)
            text = json.dumps([asdict(result) for result in results])
            files[place.name].write_text(text)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, *plans(stack, directory, missing)))
        results = [
            Result(**each) for name in chosen for each in json.loads(files[name].read_text())
        ]
    print(page.by_scene(results))
    swept = given.scenes or sweeps.carry_out(Path(__file__).parent)
    broken = any(result.text for result in results) or not swept
    return Report(page.TITLE, page.text(results), broken)


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIRECTORY",
        help="keep what came of each scene there, and do not run one again that is there",
    )


def plans(
    stack: contextlib.ExitStack, directory: Path, names: list[str]
) -> tuple[list[Scene], list[list[Fault]]]:
    """The scenes, and what is to be done to each; the scenes end with the stack.

    What each module costs is tried once in all scenes, so all are planned.
    """
    command = Path(sys.executable).with_name("avcheck")
    places = [
        stack.enter_context(scene(name, command, directory / str(number)))
        for number, name in enumerate(SCENES if names else ())
    ]
    plans = campaign.each_module_once([(place, campaign.plan(place)) for place in places])
    wanted = [at for at, place in enumerate(places) if place.name in names]
    return [places[at] for at in wanted], [plans[at] for at in wanted]


def run(place: Scene, faults: list[Fault]) -> list[Result]:
    """What comes of the faults; a broken promise is shown at once, and how to see it again."""
    results = []
    by_rule = {fault.rule: fault for fault in faults}
    for result in campaign.carry_out(place, faults):
        results.append(result)
        if result.text:
            line = strike.line(place, by_rule[result.rule])
            print(f"{place.name}: {result.text}: {result.said}\n  {line}", flush=True)
    print(f"{place.name}: {len(results)} faults", flush=True)
    return results
