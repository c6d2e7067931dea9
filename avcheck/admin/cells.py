"""The lines and the cells of tables: printable text that may have a colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avcheck.printable import printable

# Colours, as rich calls them.
GOOD = "green"
DOUBTFUL = "yellow"
BAD = "red"
FAINT = "bright_black"

GAP = "  "
# Characters of a line, or of a cell: no path and no list of addresses is longer.
LINE_MAX = 8192


@dataclass(frozen=True)
class Styled:
    """A part of a line, or a cell of a table, with a colour."""

    text: str
    colour: str


Row = Sequence[str | Styled]


def plain(text: str) -> str:
    """The text as printable ASCII on one line, with the blanks around it."""
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - len(text.rstrip(" "))
    inside = printable(text, LINE_MAX)
    return " " * before + inside + " " * after if inside else " " * len(text)


def text_of(part: str | Styled) -> str:
    return plain(part if isinstance(part, str) else part.text)


def aligned(rows: Sequence[Row]) -> Iterator[list[str | Styled]]:
    """The rows with their cells padded; the last of a row is not, and stretches nothing."""
    last = [len(row) - 1 for row in rows]
    widths = [
        max(
            (len(text_of(row[at])) for row, end in zip(rows, last, strict=True) if at < end),
            default=0,
        )
        for at in range(max(last))
    ]
    for row, end in zip(rows, last, strict=True):
        line: list[str | Styled] = []
        for cell, width in zip(row[:end], widths, strict=False):
            text = text_of(cell).ljust(width) + GAP
            line.append(Styled(text, cell.colour) if isinstance(cell, Styled) else text)
        yield [*line, row[end]]
