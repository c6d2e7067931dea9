"""Every byte of every conversation is cut, late, doubled or spoilt."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.campaigns.report import Report
from tests.campaigns.rot import campaign, clamdscan, oracle, page
from tests.campaigns.rot.scenes import SCENES, Daemons

# Runs at a time.  Most of them wait: for a second or two, for somebody who will say nothing.
WORKERS = 20


def carry_out(given: argparse.Namespace) -> Report:
    """All of it, or the scenes that are given."""
    chosen = [name for name in SCENES if not given.scenes or name.startswith(tuple(given.scenes))]
    with ExitStack() as stack:
        # Every account has to get to it, and pytest's own are closed.
        place = tempfile.TemporaryDirectory(prefix="avcheck-rot-", dir="/var/tmp")
        directory = Path(stack.enter_context(place))
        directory.chmod(0o755)
        kept = given.results or directory / "results"
        kept.mkdir(exist_ok=True)
        files = {name: kept / f"{list(SCENES).index(name)}.json" for name in chosen}
        daemons = stack.enter_context(Daemons(directory))
        for number, name in enumerate(chosen):
            if not files[name].exists():
                where = directory / str(number)
                where.mkdir(mode=0o755)
                files[name].write_text(json.dumps(one(name, where, daemons)))
        found = {name: json.loads(files[name].read_text()) for name in chosen}
    tallies = {
        name: {(kind, outcome): count for kind, outcome, count in each["tally"]}
        for name, each in found.items()
    }
    tried, same = (sum(each[key] for each in found.values()) for key in ("tried", "same"))
    text = page.text(tallies, tried, same)
    print(text)
    broken = sum(page.outcomes(tally)[campaign.VIOLATION] for tally in tallies.values())
    return Report(page.TITLE, text, bool(broken or same != tried))


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIRECTORY",
        help="keep what came of each scene there, and do not run one again that is there",
    )


def one(name: str, where: Path, daemons: Daemons) -> dict[str, Any]:
    """What came of a scene; a broken promise is shown at once."""
    command = Path(sys.executable).with_name("avcheck")
    began = time.monotonic()
    results = campaign.carry_out(name, command, where, daemons, campaign.everything, WORKERS)
    for result in results:
        if result.text:
            steps = [each.steps for each in result.run.conversations]
            print(f"{name}: {result.rot}: {result.text}: {result.run.ended} {steps}", flush=True)
    print(f"{name}: {len(results)} runs in {time.monotonic() - began:.0f} s", flush=True)
    blind = [result.rot for result in results if result.outcome == oracle.BLIND]
    same = clamdscan.compare(blind, daemons.clamd, where / "clamdscan", WORKERS) if blind else 0
    tally = Counter((f"{each.rot.kind}, {each.rot.way}", each.outcome) for each in results)
    return {"tally": [[*key, n] for key, n in tally.items()], "tried": len(blind), "same": same}
