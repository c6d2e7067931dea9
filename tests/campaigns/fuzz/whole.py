"""Bytes that nobody would think of.

Every target for so many seconds under atheris, as many at a time as there are processors; then,
unless targets are named, every sabotage until it is found.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.fuzz import corpus
from tests.campaigns.fuzz.sabotage import SABOTAGES
from tests.campaigns.fuzz.targets import TARGETS
from tests.campaigns.report import Report

# Seconds for each target, and at most for each sabotage.
SECONDS = 18
SABOTAGE_MAX = 10

# Bytes of an input, seconds for one, and the memory of a process in MiB: more is a finding.
SIZE_MAX = 2048
ONE_MAX = 60
MEMORY_MAX = 1024

TEXT = """Repeat it with `make fuzz` (`python -m tests.campaigns fuzz`; {minutes} minutes here).
`make check` replays the inputs that are kept in `tests/campaigns/fuzz/corpus` and what hypothesis
makes of them.

Each target is a function that gets bytes, and raises if something is wrong: not only
if avcheck raises what it should not. What a scanner must have replied for CLEAN is a regular
expression over its whole reply (`tests/campaigns/fuzz/clean.py`), which knows nothing of the
parser; what goes to a mail server is parsed by the letter of RFC 5321 and compared with the
message; command lines are split by `getopt` as well; the metrics are read by Prometheus' own
client. atheris mutates the inputs, guided by coverage (*edges* of avcheck's byte code).

{total:,} executions, {broken} inputs that broke something.

{targets}

### What it has found

The inputs are stored under these names in `tests/campaigns/fuzz/corpus`, and replayed by `make
check`.

{found}

### Broken on purpose

Each of these bugs was put into avcheck for one run of its target, which began with its seeds or
without any. The number is the executions until it was found (*-*: not within {sabotage_max}
seconds).

{sabotages}
"""


@dataclass(frozen=True)
class Run:
    """What came of a target: executions, edges reached, and the input that broke it."""

    name: str
    executions: int = 0
    edges: int = 0
    broken: bytes | None = None
    why: str = ""
    new: tuple[bytes, ...] = ()


def run(name: str, begin: list[bytes], seconds: int) -> Run:
    """Run the target, or the sabotage, from these inputs."""
    # In memory: some targets make thousands of files a second.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="avcheck-fuzz-", dir=memory) as place:
        directory = Path(place)
        (directory / "new").mkdir()
        (directory / "begin").mkdir()
        for number, data in enumerate(begin):
            (directory / "begin" / str(number)).write_bytes(data)
        words = [
            f"{directory}/new",
            f"{directory}/begin",
            f"-artifact_prefix={directory}/",
            f"-max_total_time={seconds}",
            f"-max_len={SIZE_MAX}",
            f"-timeout={ONE_MAX}",
            f"-report_slow_units={ONE_MAX}",
            f"-rss_limit_mb={MEMORY_MAX}",
            "-print_final_stats=1",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.campaigns.fuzz.worker", name, *words],
            env={**os.environ, "TMPDIR": place},  # libFuzzer ends a process where it stands
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        executions = re.findall(r"number_of_executed_units: (\d+)", said)
        edges = re.findall(r"cov: (\d+)", said)
        broken = [
            path for path in directory.iterdir() if path.is_file() and path.name.count("-") == 1
        ]
        return Run(
            name,
            int(executions[-1]) if executions else 0,
            int(edges[-1]) if edges else 0,
            broken[0].read_bytes() if broken else None,
            _why(said) if broken or done.returncode else "",
            tuple(path.read_bytes() for path in (directory / "new").iterdir()),
        )


def _found() -> str:
    """All that it has ever found, and that was mended since, by name."""
    paths = sorted(corpus.CORPUS.glob(f"*/{corpus.FOUND}*"))
    return "\n".join(
        f"- {path.parent.name}: {path.name.removeprefix(corpus.FOUND).replace('-', ' ')}"
        for path in paths
    )


def _why(said: str) -> str:
    """The traceback, or the last lines."""
    _, _, trace = said.partition("Uncaught Python exception")
    return (trace or said)[-3000:]


def fuzz(names: list[str], seconds: int, keep: bool) -> list[Run]:
    """Run the targets; what breaks one is kept in the corpus."""
    begin = [corpus.inputs(name) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(run, names, begin, [seconds] * len(names)))
    for each in runs:
        line = f"{each.name}: {each.executions} executions, {each.edges} edges"
        if each.broken is not None:
            line += f"\n{each.why}\n{corpus.keep(each.name, each.broken, True)}"
        elif each.why:
            line += f"\n{each.why}"
        elif keep:
            line += f", {corpus.minimise(each.name, each.new)} inputs kept"
        print(line, flush=True)
    return runs


def sabotaged(names: list[str]) -> list[tuple[str, int, int]]:
    """Name of each sabotage, and after how many executions it was found (0: it was not)."""

    seeds = {name: list(TARGETS[SABOTAGES[name].target].seeds()) for name in names}

    def both(name: str) -> tuple[str, int, int]:
        counts = []
        for begin in (seeds[name], []):
            done = run(name, begin, SABOTAGE_MAX)
            counts.append(done.executions if done.broken is not None else 0)
        print(f"{name}: found after {counts[0]}, from nothing after {counts[1]}", flush=True)
        return name, counts[0], counts[1]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(both, names))


def text(runs: list[Run], broken: list[tuple[str, int, int]], seconds: int) -> str:
    """The page's section."""
    targets = ["| target | what | executions | edges | inputs |", "|---|---|--:|--:|--:|"]
    for each in runs:
        what, number = TARGETS[each.name].what, len(corpus.inputs(each.name))
        targets.append(f"| {each.name} | {what} | {each.executions:,} | {each.edges} | {number} |")
    lines = ["| target | broken | from seeds | from nothing |", "|---|---|--:|--:|"]
    for name, seeded, alone in broken:
        each_ = SABOTAGES[name]
        lines.append(f"| {each_.target} | {each_.what} | {seeded or '-'} | {alone or '-'} |")
    return TEXT.format(
        found=_found(),
        minutes=max(1, round(len(runs) * seconds / (os.cpu_count() or 1) / 60)),
        total=sum(each.executions for each in runs),
        broken=sum(each.broken is not None for each in runs),
        targets="\n".join(targets),
        sabotage_max=SABOTAGE_MAX,
        sabotages="\n".join(lines),
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches more")


def carry_out(given: argparse.Namespace) -> Report:
    """All targets, or those that are given."""
    begins = tuple(given.scenes)
    names = [name for name in TARGETS if not begins or name.startswith(begins)]
    runs = fuzz(names, given.seconds, given.keep)
    broken = [] if begins else sabotaged(list(SABOTAGES))
    page = text(runs, broken, given.seconds)
    print(page)
    missed = not all(found for _, found, _ in broken)
    return Report("Fuzzing", page, missed or any(each.why for each in runs))
