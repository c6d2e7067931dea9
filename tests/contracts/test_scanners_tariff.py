"""What it costs to load a scanner: its own module, with its parts, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avcheck.scanners.rows import SCANNERS

# What avcheck has loaded when it has read its options, and then what the scanner adds.
LOAD = """
import sys
import avcheck.main
from avcheck import conn, scanners
from avcheck.scanners.rows import SCANNERS
before = set(sys.modules)
scanners.load(SCANNERS[sys.argv[1]])
print(*sorted(set(sys.modules) - before))
"""


def loaded(type_: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, type_], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("type_", SCANNERS)
def test_a_scanner_costs_its_own_module(type_: str) -> None:
    row = SCANNERS[type_]
    # A program is run by what runs sendmail and the handler, which may not be loaded yet.
    more = {"avcheck.child", "avcheck.program", "select"} if row.program else set()
    if "clean" in row.parameters:  # it has patterns, and compiles them for every message
        more.add("avcheck.patterns")
    own = f"avcheck.scanners.{row.module}"
    new = loaded(type_) - more
    assert own in new
    assert all(module == own or module.startswith(own + "_") for module in new), new


def test_another_name_costs_no_module_more() -> None:
    modules = {row.module for row in SCANNERS.values()}
    names = {type_ for type_, row in SCANNERS.items() if type_ != row.module}
    assert names == {"icaps", "kavdaemon", "f-prot6d", "f-protd", "trophie"}
    assert len(modules) == len(SCANNERS) - len(names - {"f-protd"})
