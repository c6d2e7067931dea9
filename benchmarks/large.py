"""A message of 100 MB: our client and ClamAV's, on the same clamd."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import time
from collections.abc import Sequence

from benchmarks.measure import WrongEndError, ratio
from benchmarks.stage import LINE, RECIPIENT, SENDER, Stage, mail
from benchmarks.table import Table
from tests.support.servers import packages

# Below clamd's MaxFileSize of 100M, or it would answer without looking.
SIZE = 95 * 1000 * 1000

ROUNDS = 9
QUICK_ROUNDS = 3

# The limit for our wall time beside theirs.
BUDGET = 1.1


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of wall times; every run has a message of its own, which clamd has not seen."""
    packages.need("clamdscan", commands=["clamdscan"])
    count = QUICK_ROUNDS if quick else ROUNDS
    theirs = [packages.find("clamdscan"), f"--config-file={stage.clamd.directory / 'clamd.conf'}"]
    ours = [str(stage.avcheck), "-n", "-d", str(stage.spool)]
    envelope = ["-f", SENDER, "--", RECIPIENT]
    pairs = {
        "descriptor": ([*ours, "-s", f"clamd:{stage.clamd.socket}", *envelope], "--fdpass"),
        "stream": ([*ours, "-s", f"clamd+stream:{stage.clamd.socket}", *envelope], "--stream"),
    }
    table = Table(
        "A message of 95 MB, scanned", ("", "avcheck, ms", "clamdscan, ms", "avcheck / clamdscan")
    )
    worst = 0.0
    # clamd remembers what it found clean by its digest, so no message comes twice.
    numbers = itertools.count()
    for way, (argv, option) in pairs.items():
        costs: tuple[list[float], list[float]] = ([], [])
        for turn in range(count + 1):
            first = clock(stage, argv, next(numbers))
            second = clock(stage, [*theirs, option, "--no-summary", "-"], next(numbers))
            if turn:
                costs[0].append(first)
                costs[1].append(second)
        compared = ratio(*costs)
        worst = max(worst, compared.median)
        medians = [f"{statistics.median(each) * 1000:.0f}" for each in costs]
        table.add(f"by {way}, clamdscan {option}", *medians, str(compared))
    table.notes.append(
        f"Wall time of the whole process, the message on standard input from a file; medians of "
        f"{count}. avcheck saves the message before it asks; clamdscan passes the file itself, or "
        "what it reads from it, and so depends on the file staying there."
    )
    table.findings.append(
        f"95 MB by descriptor and by stream: at most {BUDGET} times clamdscan's wall time: "
        f"{worst:.2f}, {'met' if worst <= BUDGET else 'MISSED'}."
    )
    return [table]


def clock(stage: Stage, argv: Sequence[str], number: int) -> float:
    """Seconds that the program takes for the message of that number.

    Raises WrongEndError unless it is clean.
    """
    file = stage.directory / "large.eml"
    with file.open("wb") as message:
        message.write(mail(4096) + b"%d\n" % number)
        for _ in range((SIZE - 4096) // len(LINE)):
            message.write(LINE)
    os.sync()  # so that writing it is nobody's time
    with file.open("rb") as message:
        began = time.perf_counter()
        done = subprocess.run(
            argv,
            stdin=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            env=stage.environment,
        )
        took = time.perf_counter() - began
    file.unlink()
    if done.returncode:
        said = done.stdout.decode(errors="replace")
        raise WrongEndError(f"{' '.join(argv)}: status {done.returncode}: {said}")
    return took
