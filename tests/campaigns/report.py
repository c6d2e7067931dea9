"""What a campaign hands back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """A section of docs/faults.md, and whether a promise was broken."""

    title: str
    text: str
    broken: bool
