"""What doctor says, asked by the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CTL = Path(sys.executable).with_name("avcheckctl")


@dataclass(frozen=True)
class Finding:
    """What doctor said of one thing."""

    service: str
    check: str
    level: str
    text: str
    remedy: str


def doctor(option: str, environment: Mapping[str, str] | None = None) -> list[Finding]:
    """All that it says of the set-up that the option names."""
    done = subprocess.run(
        [CTL, "doctor", option, "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    assert done.stdout, done.stderr
    return [Finding(**each) for each in json.loads(done.stdout)]


def finding(found: Sequence[Finding], check: str, level: str, said: str = "") -> Finding:
    """What doctor says of that check; fails if it has not found that."""
    for each in found:
        if (each.check, each.level) == (check, level) and said in each.text:
            return each
    bad = [each for each in found if each.level != "ok"]
    raise AssertionError(f"{check} has no {level} with {said!r} among {bad}")
