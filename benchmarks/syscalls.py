"""How many system calls a run makes, its children included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import run
from benchmarks.process import BARE, programs
from benchmarks.stage import CLEAN, Stage, smtp_sink
from benchmarks.table import Table
from tests.support.servers import packages

MOST = 6  # of the kinds of calls, this many are named


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The number of calls from the exec on, and which they mostly are."""
    packages.need("strace", commands=["strace"])
    del quick  # one run each: the number hardly varies
    table = Table("System calls of one clean message of 4 kB", ("", "calls", "failed", "mostly"))
    with smtp_sink() as address:
        every = programs(stage, address)
        commands = {BARE: [str(stage.python), "-I", "-c", "pass"]}
        commands |= {name: program.argv for name, program in every.items()}
        for name, argv in commands.items():
            calls = counted(argv, stage.environment, stage.directory / "strace")
            kinds = sorted(calls.items(), key=lambda row: -row[1][0])[:MOST]
            table.add(
                name,
                str(sum(number for number, _ in calls.values())),
                str(sum(failed for _, failed in calls.values())),
                ", ".join(f"{kind} {number}" for kind, (number, _) in kinds),
            )
    table.notes.append("strace -c -f, from the exec on. For information; there is no budget.")
    return [table]


def counted(
    argv: Sequence[str], environment: Mapping[str, str], summary: Path
) -> dict[str, tuple[int, int]]:
    """How often each system call was made, and how often it failed."""
    run(
        [packages.find("strace"), "-f", "-c", "-o", str(summary), *argv],
        CLEAN,
        environment=environment,
    )
    calls = {}
    # % time, seconds, usecs/call, calls, errors (may be blank), syscall
    for line in summary.read_text().splitlines():
        cells = line.split()
        if len(cells) in (5, 6) and cells[3].isdigit() and cells[-1] != "total":
            calls[cells[-1]] = (int(cells[3]), int(cells[4]) if len(cells) == 6 else 0)
    return calls
