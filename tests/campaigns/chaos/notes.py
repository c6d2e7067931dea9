"""What a scene has to tell: for who watches, and for the table of the campaign."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

# Where the campaign has it written.
FILE = "AVCHECK_NOTES"


def tell(scene: str, happened: Mapping[str, int], found: Mapping[str, int]) -> None:
    """What happened in a scene, and what came of it."""
    print(f"\n{scene}: {words(happened)}: {words(found)}")
    if FILE in os.environ:
        with open(os.environ[FILE], "a") as file:
            file.write(json.dumps([scene, happened, found]) + "\n")


def words(counts: Mapping[str, int]) -> str:
    """In words."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
