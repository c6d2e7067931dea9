"""avcheckctl pause --json: how the pause ended, for a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.admin import KnowingClamd, avcheckctl


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_a_pause_is_told_to_a_program(place: Path) -> None:
    said = avcheckctl("pause", "-w", place / "wait", "--json")
    assert (said.status, said.err) == (0, "")
    (facts,) = said.facts
    assert facts == {
        "waitfile": f"{place}/wait", "paused": True, "held": 0, "status": None, "error": ""
    }  # fmt: skip


@pytest.mark.parametrize(("end", "status"), [("true", 0), ("false", 1)])
def test_what_the_command_writes_is_no_json(place: Path, end: str, status: int) -> None:
    with KnowingClamd(place / "clamd"):
        words = [sys.executable, "-c", CTL, "pause", "--json", "-w", f"{place}/wait"]
        words += [
            "-d",
            str(place),
            "-s",
            f"clamd:{place}/clamd",
            "--",
            "sh",
            "-c",
            f"echo x; {end}",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    (facts,) = json.loads(done.stdout)
    assert (facts["paused"], facts["status"], done.returncode) == (False, status, status)
    assert "x\n" in done.stderr
    assert not (place / "wait").exists()


def test_a_pause_that_goes_on_says_why_to_a_program(place: Path) -> None:
    words = ("-w", place / "wait", "-d", place, "-s", "clamd:/nowhere", "--limit", "0s")
    said = avcheckctl("pause", "--json", *words, "--", "true")
    assert said.status == 1
    (facts,) = said.facts
    assert facts["paused"] is True
    assert facts["status"] == 0
    assert facts["error"].startswith("not to be trusted: clamd ")


CTL = "from avcheck.admin import group; group(prog_name='avcheckctl')"
