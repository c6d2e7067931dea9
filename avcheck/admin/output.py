"""What the commands print: tables, colours on a terminal only, JSON, and what went wrong.

All of it goes out here, and is made printable on its way: names, addresses and the words
of others cannot move a terminal, whichever command prints them.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import IO, Any

import click

from avcheck.printable import printable

GOOD = "green"
DOUBTFUL = "yellow"
BAD = "red"
FAINT = "bright_black"

GAP = "  "
INDENT = "    "

# Characters of a line, or of a cell: no path and no list of addresses is longer.
LINE_MAX = 8192

# Characters of a line where no terminal sets a limit.
WIDE = LINE_MAX


def plain(text: str) -> str:
    """The text as printable ASCII on one line, with the blanks around it."""
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - len(text.rstrip(" "))
    inside = printable(text, LINE_MAX)
    return " " * before + inside + " " * after if inside else " " * len(text)


class Trouble(click.ClickException):
    """The command cannot do what it was asked; remedy is the next step."""

    exit_code = 2

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(plain(text))
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        context = click.get_current_context(silent=True)
        colour = None if context is None else context.color
        where = file or sys.stderr
        label = click.style("error:", fg=BAD, bold=True)
        click.echo(f"avcheckctl: {label} {self.message}", file=where, color=colour)
        for line in self.remedy.splitlines():
            click.echo(f"    {plain(line)}", file=where, color=colour)


def bug(why: Exception) -> None:
    """Say that something happened which nobody had foreseen, on one line."""
    Trouble(
        f"a fault in avcheckctl: {type(why).__name__}: {why}",
        "to see where, set AVCHECKCTL_DEBUG=1 and run it again; please report that",
    ).show()


@dataclass(frozen=True)
class Styled:
    """A cell of a table with a colour."""

    text: str
    colour: str


def say(*parts: str | Styled) -> None:
    """Print a line of these parts, one after another."""
    click.echo("".join(_styled(part) for part in parts).rstrip(" "))


def _styled(part: str | Styled, width: int = 0) -> str:
    if isinstance(part, str):
        return plain(part).ljust(width)
    return _coloured(plain(part.text).ljust(width), part.colour)


def heading(text: str) -> None:
    """Print a line that others are below."""
    click.echo(click.style(plain(text), bold=True))


Row = Sequence[str | Styled]


def table(rows: Sequence[Row], header: Sequence[str] = ()) -> None:
    """Print the rows in aligned columns; nothing at all if there are none.

    With a header, and on a terminal that is not wide enough for the columns, each row is
    some lines with the header's words between.
    """
    if not rows:
        return
    lines: list[Row] = [*rows]
    if header:
        lines.insert(0, [Styled(name, FAINT) for name in header])
    # The last cell of a line stretches nothing: it may be a sentence.
    number_of_columns = max(len(line) for line in lines)
    widths = [
        max((len(_text(line[column])) for line in lines if column < len(line) - 1), default=0)
        for column in range(number_of_columns)
    ]
    limit = columns(sys.stdout)
    if header and max(_width(line, widths) for line in lines) > limit:
        for row in rows:
            _flow(row, header, limit)
        return
    for line in lines:
        last = len(line) - 1
        cells = [
            _styled(cell, 0 if number == last else widths[number])
            for number, cell in enumerate(line)
        ]
        click.echo(GAP.join(cells).rstrip())


def _width(line: Row, widths: Sequence[int]) -> int:
    """How long the line is in columns of these widths."""
    last = len(line) - 1
    return sum(widths[:last]) + last * len(GAP) + len(_text(line[last]))


def _flow(row: Row, header: Sequence[str], limit: int) -> None:
    """Print the row in lines of at most so many characters, each cell after its name.

    What is longer than a line goes on in the next one.
    """
    used = 0
    for number, (cell, name) in enumerate(zip(row, header, strict=False)):
        text = _text(cell).strip()
        label = f"{name} " if number else ""
        if not text:
            continue
        if used and used + len(GAP) + len(label) + len(text) > limit:
            click.echo()
            used = 0
        before = GAP if used else INDENT if number else ""
        room = max(min(limit - used - len(before) - len(label), limit - len(INDENT)), 1)
        first, *others = textwrap.wrap(text, room, break_on_hyphens=False)
        colour = cell.colour if isinstance(cell, Styled) else ""
        click.echo(before + click.style(label, fg=FAINT) + _coloured(first, colour), nl=False)
        used += len(before) + len(label) + len(first)
        for piece in others:
            click.echo()
            click.echo(INDENT + _coloured(piece, colour), nl=False)
            used = limit
    click.echo()


def _coloured(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if colour else text


def _text(cell: str | Styled) -> str:
    return plain(cell if isinstance(cell, str) else cell.text)


def lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.splitlines():
        click.echo(plain(line))


def note(text: str) -> None:
    """Say something that is no result: to standard error."""
    click.echo(plain(text), err=True)


def as_json(facts: Any) -> None:
    """Print the facts for a program."""
    click.echo(json.dumps(facts, indent=2))


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option --json of a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


class Progress:
    """Shows, on a terminal, what is waited for and how long, if that takes over a second.

    limit is the seconds that it will take at most, or 0 where nobody knows.
    """

    def __init__(self, what: str, limit: float = 0.0) -> None:
        self.now(what, limit)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def now(self, what: str, limit: float = 0.0) -> None:
        """Something else is waited for from now on."""
        self._waits = (plain(what), limit, monotonic())

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
        shown = False
        while not self._done.wait(1.0):
            what, limit, began = self._waits
            most = f" of at most {age(limit)}" if limit else ""
            text = f"{what} ... {monotonic() - began:.0f} s{most}"
            # A line that is longer than the terminal could not be taken back.
            print(f"\r\033[K{cut(text, columns(sys.stderr) - 1)}", end="", file=sys.stderr)
            sys.stderr.flush()
            shown = True
        if shown:
            print("\r\033[K", end="", file=sys.stderr)
            sys.stderr.flush()


def columns(stream: IO[str]) -> int:
    """How wide the terminal is that the stream goes to; WIDE if it goes to none."""
    if not stream.isatty():
        return WIDE
    return shutil.get_terminal_size().columns


def cut(text: str, width: int) -> str:
    """The text in at most so many characters, with an ellipsis where it was cut."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things, in words: 1 attempt, 2 attempts."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def moment(seconds: float) -> datetime:
    """The time of a file, which may be in a year that no calendar here has: then the last."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        limit = datetime.max if seconds > 0 else datetime.min
        return limit.replace(tzinfo=UTC, microsecond=0)


def local(stamp: str) -> str:
    """A time in UTC, as JSON and our files have it, as the clock on the wall shows it.

    As mailq(1) and the log do; a text that is no time stays as it is.
    """
    try:
        when = datetime.fromisoformat(stamp)
        if when.tzinfo is None:
            return stamp
        return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):
        return stamp


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
