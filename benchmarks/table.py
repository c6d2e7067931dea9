"""How results are shown: aligned on the terminal, and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WIDTH = 96


@dataclass
class Table:
    """Rows under a heading; the first column is words, the others are figures.

    notes explain them; findings are what they come to, and stand on top of the page, too.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def text(self) -> str:
        lines = [self.title, "-" * len(self.title)]
        lines += self._aligned(("", ""))
        for note in (*self.notes, *self.findings):
            lines += textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join(lines)

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        header, *rows = self._aligned(("| ", " |"), " | ")
        rule = ["-" * (width - 1) + ":" for width in self._widths()]
        rule[0] = "-" * self._widths()[0]
        lines += [header, "| " + " | ".join(rule) + " |", *rows]
        for note in (*self.notes, *self.findings):
            lines += ["", *textwrap.wrap(note, WIDTH)]
        return "\n".join(lines)

    def _widths(self) -> list[int]:
        cells = [self.columns, *self.rows]
        return [max(3, *(len(row[at]) for row in cells)) for at in range(len(self.columns))]

    def _aligned(self, ends: tuple[str, str], between: str = "  ") -> list[str]:
        widths = self._widths()
        lines = []
        for row in [self.columns, *self.rows]:
            words = [row[0].ljust(widths[0])]
            words += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append(ends[0] + between.join(words) + ends[1])
        return lines


def text(tables: Iterable[Table]) -> str:
    return "\n\n".join(table.text() for table in tables)


def markdown(tables: Iterable[Table]) -> str:
    return "\n\n".join(table.markdown() for table in tables)


def bullets(lines: Iterable[str]) -> str:
    """Each line as a point of a list in Markdown."""
    return "\n".join(
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ") for line in lines
    )
