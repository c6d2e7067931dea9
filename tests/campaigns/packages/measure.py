"""Processor time of a run: python3 -m tests.campaigns.packages.measure DIRECTORY...

Each DIRECTORY has an avcheck, and its guard.  They take turns at clean messages; printed is the
median of each in milliseconds, children included.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.mta import Site

ROUNDS = 101


def spent() -> float:
    """Seconds of the processor that children which have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(directories: list[str]) -> None:
    times: dict[str, list[float]] = {each: [] for each in directories}
    with tempfile.TemporaryDirectory() as name, Site([], Path(name)) as site:
        site.clamd()
        site.smtp()
        for _ in range(ROUNDS):
            for each in directories:
                site.command = [f"{each}/avcheck-guard.sh", f"{each}/avcheck"]
                before = spent()
                ended = site.deliver()
                assert ended.status == 0, ended
                times[each].append(spent() - before)
    for each in directories:
        print(each, round(1000 * statistics.median(times[each]), 2))


if __name__ == "__main__":
    main(sys.argv[1:])
