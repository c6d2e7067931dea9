"""The Debian package: built, checked, installed, upgraded and removed in Debians of its own."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.campaigns.packages.chroot import FailedError, Place, bootstrap
from tests.campaigns.packages.scenes import SCENES, SUITES, Suite
from tests.campaigns.report import Report

TEXT = """Repeat it: `make packages` (a quarter of an hour, most of it apt's);
`.venv/bin/python -m tests.campaigns packages install` for one scene (after `build`).

In a minimal bookworm and a minimal trixie, made by debootstrap: the package is built by
dpkg-buildpackage with nothing there but its build dependencies, twice with the same bytes, and
lintian has no error and no warning. It is installed, used and purged, and all files of the system
are as they were. An older version is replaced while its programs are called without a pause: each
call ends with 0 or 75. Mail in the quarantine survives upgrade, removal and purge, which says where
it is. The units are disabled, and systemd-analyze has nothing to say about them. apparmor_parser
reads the profile, and what strace sees of a run, a session and infected.sh is in it; no kernel has
enforced it yet. The tests of debian/tests run: the demonstration, and mail through a Postfix that
is set up by nothing but what `avcheckctl setup` prints. Last, processor time of a run, median of
101, with the guard.

{table}
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument("--suite", choices=SUITES, help="one of the two alone")


def carry_out(given: argparse.Namespace) -> Report:
    """Every scene, or the build and those that are given, in each suite."""
    begins = ("build", *given.scenes) if given.scenes else ("",)
    chosen = {name: scene for name, scene in SCENES.items() if name.startswith(begins)}
    rows, broken = [], False
    for name in [given.suite] if given.suite else SUITES:
        with Place() as place:
            suite = _prepared(place, name)
            ends = {}
            for what, scene in chosen.items():
                began = time.monotonic()
                try:
                    scene(suite)
                    ends[what] = "passed"
                except FailedError as why:
                    broken, ends[what] = True, "FAILED"
                    print(f"{name}, {what}: {why}", flush=True)
                print(f"{name}, {what}: {ends[what]}, {time.monotonic() - began:.0f} s", flush=True)
                if what == "build" and ends[what] != "passed":
                    break
            rows.append(f"| {name} | {' | '.join(ends.get(each, '') for each in SCENES)} |")
            if suite.numbers:
                print(f"{name}: {suite.numbers}")
                rows[-1] = rows[-1].removesuffix("passed |") + f"{suite.numbers} |"
    heads = (f"| suite | {' | '.join(SCENES)} |", f"|{'---|' * (len(SCENES) + 1)}")
    return Report("Debian package", TEXT.format(table="\n".join((*heads, *rows))), broken)


def _prepared(place: Path, name: str) -> Suite:
    began = time.monotonic()
    suite = Suite(name, bootstrap(place, name))
    print(f"{name}: made, {time.monotonic() - began:.0f} s", flush=True)
    return suite
