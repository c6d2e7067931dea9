"""What a message tells an emulator to say of it.

    [[infected EICAR-Test]]     a virus; several marks are several viruses
    [[suspicious Type_X]]       a heuristic's suspicion
    [[unwanted Adware.X]]       no virus, but unwanted
    [[encrypted]]               something that cannot be opened
    [[limits]]                  something too large, too deep, or corrupt
    [[error]]                   the daemon could not look
    [[licence]]                 the daemon's licence has expired

A message without a mark is clean.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MARK = re.compile(
    rb"\[\[(infected|suspicious|unwanted|encrypted|limits|error|licence)(?: (\S+))?\]\]"
)


class Content:
    """The marks in a message, by kind, in their order."""

    def __init__(self, data: bytes) -> None:
        marks = [(match[1].decode(), match[2] or b"") for match in MARK.finditer(data)]
        self.infected = [name for kind, name in marks if kind == "infected"]
        self.suspicious = [name for kind, name in marks if kind == "suspicious"]
        self.unwanted = [name for kind, name in marks if kind == "unwanted"]
        kinds = [kind for kind, _ in marks]
        self.encrypted = "encrypted" in kinds
        self.limits = "limits" in kinds
        self.error = "error" in kinds
        self.licence = "licence" in kinds

    @property
    def names(self) -> list[bytes]:
        return [*self.infected, *self.suspicious, *self.unwanted]


def mark(kind: str, name: str = "") -> bytes:
    """The mark to put into a message."""
    return f"[[{kind} {name}]]".encode() if name else f"[[{kind}]]".encode()


def files(path: bytes) -> list[bytes]:
    """The files that a path stands for: itself, or those in the directory and below."""
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.fsencode(each) for each in Path(os.fsdecode(path)).rglob("*") if each.is_file()
    )


def of(path: bytes) -> Content:
    """What the file, or all files in the directory, tell; raises OSError as open() does."""
    return Content(b"\n".join(Path(os.fsdecode(each)).read_bytes() for each in files(path)))
