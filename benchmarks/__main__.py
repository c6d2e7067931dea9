"""python -m benchmarks [--quick] [--only NAME] [--markdown FILE]"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, table
from benchmarks.measure import WrongEndError
from benchmarks.stage import Stage, stage
from benchmarks.table import Table
from tests.support.servers.packages import MissingError, NotRootError

# In the order they are run and shown; each is a module with measure(stage, quick).
PARTS = (
    "process",
    "memory",
    "large",
    "through",
    "sessions",
    "smtp",
    "several",
    "state",
    "syscalls",
    "startup",
)

COMMAND = "python -m benchmarks"

INTRODUCTION = """\
# Performance

avcheck is one process per message, so the whole process is measured, from exec to exit, with
its children. The programs that people use in its place are measured with it, in one run on one
machine, in interleaved rounds (A B C, A B C, ...). On another machine only the ratios are
comparable.

- **avcheck** as pip installs it, in a virtual environment without anything else.
- **bare**: `python -I -c pass` of the same interpreter in the same environment.
- **shell filter**: the simple content filter of Postfix's FILTER_README with `clamdscan
  --fdpass` and a sendmail program (`benchmarks/shell-filter.sh`); once with Postfix's own
  sendmail, which puts the message into the queue, and once, to leave out that cost, with a
  trivial one that only reads the message.
- **naive program**: click, clamd, filelock and smtplib, straight (`benchmarks/naive.py`).
  python-clamd imports pkg_resources where setuptools is installed.
- **clamsmtp** and **amavisd-new**: Debian's packages, with private configurations. They are
  proxies that run all the time; clamsmtp is written in C, and takes less processor time than
  any of the programs that are started for each message.
- **clamav-milter**: Debian's package; ClamAV's own filter for Postfix and sendmail, in C, which
  runs all the time and sees the message before it is accepted.

Before it is measured, every program has to hand on a clean message and stop the test virus. The
whole page is the output of

    {command}

(`make bench BENCH='...'` takes the same options, in a fresh checkout, too).  It takes Debian's
packages clamav-daemon, clamdscan, clamav-milter, postfix, clamsmtp, amavisd-new, strace and
swaks, root for the parts with Postfix, and listens on loopback only.
"""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure avcheck and its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; repeatable")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there, too")
    options = parser.parse_args(words)
    # Told to stop, stop what was started first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = [name for name in PARTS if name in (options.only or PARTS)]
    tables: list[Table] = []
    try:
        with stage() as where:
            facts = machine.description(where.python)
            print("\n".join(facts), end="\n\n", flush=True)
            for name in chosen:
                try:
                    tables += run(name, where, options.quick)
                except NotRootError as why:
                    print(f"({name}: left out: {why})", end="\n\n")
    except (MissingError, WrongEndError) as why:
        print(f"{COMMAND}: {why}", file=sys.stderr)
        return 1
    if options.markdown:
        command = " ".join([COMMAND, *words])
        options.markdown.write_text(page(command, facts, tables))
    return 0


def run(name: str, where: Stage, quick: bool) -> list[Table]:
    """Measure one part and show it."""
    started = time.monotonic()
    tables: list[Table] = importlib.import_module(f"benchmarks.{name}").measure(where, quick)
    took = time.monotonic() - started
    print(table.text(tables), f"({name}: {took:.0f} s)", sep="\n\n", end="\n\n", flush=True)
    return tables


def page(command: str, facts: Sequence[str], tables: Sequence[Table]) -> str:
    """docs/performance.md."""
    findings = [finding for each in tables for finding in each.findings]
    parts = [INTRODUCTION.format(command=command), "## In short\n", table.bullets(findings)]
    parts += ["\n## The machine\n", table.bullets(facts) + "\n", table.markdown(tables)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
