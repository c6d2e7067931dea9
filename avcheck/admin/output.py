"""What the commands print: tables, colours on a terminal only, JSON, and what went wrong."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import IO, Any

import click

GOOD = "green"
DOUBTFUL = "yellow"
BAD = "red"
FAINT = "bright_black"

GAP = "  "


class Trouble(click.ClickException):
    """The command cannot do what it was asked; remedy is the next step."""

    exit_code = 2

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        context = click.get_current_context(silent=True)
        colour = None if context is None else context.color
        where = file or sys.stderr
        label = click.style("error:", fg=BAD, bold=True)
        click.echo(f"avcheckctl: {label} {self.message}", file=where, color=colour)
        if self.remedy:
            click.echo(f"    {self.remedy}", file=where, color=colour)


@dataclass(frozen=True)
class Styled:
    """A cell of a table with a colour."""

    text: str
    colour: str


def table(rows: Sequence[Sequence[str | Styled]], header: Sequence[str] = ()) -> None:
    """Print the rows in aligned columns; nothing at all if there are none."""
    if not rows:
        return
    lines = [[Styled(name, FAINT) for name in header]] if header else []
    lines += [
        [cell if isinstance(cell, Styled) else Styled(cell, "") for cell in row] for row in rows
    ]
    # The last cell of a line stretches nothing: it may be a sentence.
    columns = max(len(line) for line in lines)
    widths = [
        max((len(line[column].text) for line in lines if column < len(line) - 1), default=0)
        for column in range(columns)
    ]
    for line in lines:
        cells = []
        for number, cell in enumerate(line):
            last = number == len(line) - 1
            text = cell.text if last else cell.text.ljust(widths[number])
            cells.append(click.style(text, fg=cell.colour) if cell.colour else text)
        click.echo(GAP.join(cells).rstrip())


def note(text: str) -> None:
    """Say something that is no result: to standard error."""
    click.echo(text, err=True)


def as_json(facts: Any) -> None:
    """Print the facts for a program."""
    click.echo(json.dumps(facts, indent=2))


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option --json of a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


class Progress:
    """Shows, on a terminal, what is waited for and how long, if that takes over a second."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _show(self) -> None:
        began = monotonic()
        shown = False
        while not self._done.wait(1.0):
            print(f"\r{self.what} ... {monotonic() - began:.0f} s", end="", file=sys.stderr)
            sys.stderr.flush()
            shown = True
        if shown:
            print("\r\033[K", end="", file=sys.stderr)
            sys.stderr.flush()


def age(seconds: float) -> str:
    """A length of time for a person: 5 s, 12 min, 3 h, 2 days."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def size(number: float) -> str:
    """A number of bytes for a person: 900 B, 4 kB, 25.0 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number / 1000:.0f} kB" if number >= 10**4 else f"{number:.0f} B"


def duration(value: str | float) -> float:
    """A length of time as an option has it: 90, 90s, 10m, 2h, 7d.  A type for click."""
    return float(_number(value, _SECONDS, "time; write 90s, 10m, 2h or 7d"))


def number_of_bytes(value: str | int) -> int:
    """A number of bytes as an option has it: 500000, 10k, 25M, 2G.  A type for click."""
    return int(_number(value, _BYTES, "size; write 500000, 10k, 25M or 2G"))


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def _number(value: str | float, units: Mapping[str, int], what: str) -> float:
    if not isinstance(value, str):
        return value
    number, unit = (value[:-1], units[value[-1]]) if value[-1:] in units else (value, 1)
    if not (number.isascii() and number.isdigit() and len(number) < 13):
        raise click.BadParameter(f"{value!r} is no {what}")
    return int(number) * unit
