"""What the pages of docs/ say in their tables."""

from __future__ import annotations

import re

from tests.support.tree import ROOT

POLICY_PAGE = ROOT / "docs" / "policy.md"


def first_column(heading: str) -> list[str]:
    """The words in the first column of the table below a heading of docs/policy.md."""
    section = POLICY_PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\n", section, re.M)
    assert len(rows) > 2
    cells = [row.split("|")[1] for row in rows[2:]]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
