"""What the commands print: tables, colours on a terminal only, JSON, and what went wrong.

All of it goes out here, and is made printable on its way: names, addresses and the texts
of others cannot move a terminal, whichever command prints them.  On a terminal rich draws
it, which is imported then, and nowhere else; it is given Text, never its markup.  Elsewhere
the lines are plain, and neither cut nor broken.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from avcheck.admin.cells import BAD, FAINT, GAP, LINE_MAX, Row, Styled, aligned, plain, text_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

# Characters before what belongs to the line above.
INDENT = 4

# What to do about a fault in avcheckctl itself.
REPORT = "to see where, set AVCHECKCTL_DEBUG=1 and run it again; please report that"


class Trouble(click.ClickException):
    """The command cannot do what it was asked; remedy is the next step."""

    exit_code = 2

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(plain(text))
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        label = Styled("error:", f"bold {BAD}")
        _line("avcheckctl: ", label, f" {self.message}", stream=file or sys.stderr)
        for line in self.remedy.splitlines():
            _line(" " * INDENT, line, stream=file or sys.stderr)


def bug(why: Exception) -> None:
    """Say that something happened which nobody had foreseen, on one line."""
    Trouble(f"a fault in avcheckctl: {type(why).__name__}: {why}", REPORT).show()


def say(*parts: str | Styled) -> None:
    """Print a line of these parts, one after another."""
    _line(*parts)


def heading(text: str) -> None:
    """Print a line that others are below."""
    _line(Styled(text, "bold"))


def note(text: str) -> None:
    """Say something that is no result: to standard error."""
    _line(text, stream=sys.stderr)


def _line(*parts: str | Styled, stream: IO[Any] | None = None) -> None:
    stream = stream or sys.stdout
    if is_terminal(stream):
        _draw(_joined(parts), stream)
    else:
        click.echo("".join(map(text_of, parts)).rstrip(" "), file=stream)


def table(rows: Sequence[Row], header: Sequence[str] = ()) -> None:
    """Print the rows in aligned columns; nothing at all if there are none.

    On a terminal the last cell of a row goes on below itself where it is too long.  With a
    header, and on a terminal that is not wide enough for the columns, each row is some lines
    with the header's names between.
    """
    if not rows:
        return
    titles = [Styled(name, FAINT) for name in header]
    lines = list(aligned([titles, *rows] if header else rows))
    longest = max(sum(len(text_of(part)) for part in line) for line in lines)
    if not is_terminal(sys.stdout) or longest <= columns(sys.stdout):
        for line in lines:
            _line(*line)
    elif header:
        for row in rows:
            _draw(_folded(row, header))
    else:
        for line in lines:
            _draw(_hanging(line))


# On a terminal.


def is_terminal(stream: IO[Any]) -> bool:
    return stream.isatty()


def columns(stream: IO[Any]) -> int:
    """How wide the terminal is that the stream goes to."""
    return shutil.get_terminal_size().columns if is_terminal(stream) else LINE_MAX


def ready() -> None:
    """Import what a terminal needs, while our own files can still be read; see account."""
    for stream in (sys.stdout, sys.stderr):
        if is_terminal(stream):
            console = _console(stream)
            with console.capture():
                console.print(_hanging(["", "x"]), _folded(["x", "x"], ["x", "x"]))
            from rich.cells import cell_len
            from rich.live import Live

            Live(console=console)
            cell_len("\u65e5")  # imports a table


def _console(stream: IO[Any]) -> Console:
    from rich.console import Console

    return Console(
        file=stream,
        width=columns(stream),
        force_terminal=True,
        no_color=bool(os.environ.get("NO_COLOR")),  # https://no-color.org
        markup=False,
        highlight=False,
        emoji=False,
    )


# What a live view has been given to draw, while it is put together.
_view: list[RenderableType] | None = None


def _draw(what: RenderableType, stream: IO[Any] | None = None) -> None:
    stream = stream or sys.stdout
    if _view is not None and stream is sys.stdout:
        _view.append(what)
    else:
        # The terminal breaks a line that is too long: it can be copied as one.
        _console(stream).print(what, soft_wrap=_is_text(what))


def _is_text(what: RenderableType) -> bool:
    from rich.text import Text

    return isinstance(what, Text)


def _joined(parts: Sequence[str | Styled]) -> Text:
    from rich.text import Text

    text = Text()
    for part in parts:
        text.append(text_of(part), style=part.colour if isinstance(part, Styled) else None)
    text.rstrip()
    return text


def _hanging(line: Sequence[str | Styled]) -> RenderableType:
    """The line, whose last part is broken in its own column."""
    from rich.table import Table

    grid = Table.grid()
    before = _joined(line[:-1]) if len(line) > 1 else _joined([""])
    grid.add_column(no_wrap=True, width=sum(len(text_of(part)) for part in line[:-1]))
    grid.add_column(overflow="fold")
    grid.add_row(before, _joined(line[-1:]))
    return grid


def _folded(row: Row, header: Sequence[str]) -> RenderableType:
    """The first cell, and below it the others, each after its name."""
    from rich.console import Group
    from rich.padding import Padding

    parts: list[str | Styled] = []
    for name, cell in list(zip(header, row, strict=False))[1:]:
        if text_of(cell).strip():
            parts += [Styled(f"{name} ", FAINT), cell, GAP]
    return Group(_joined(row[:1]), Padding(_joined(parts), (0, 0, 0, INDENT)))


@contextlib.contextmanager
def live() -> Iterator[Callable[[Callable[[], None]], None]]:
    """A view that is drawn again and again: on a terminal in the place of the last one.

    Gives a function that draws what another one prints.
    """
    if not is_terminal(sys.stdout):
        yield lambda show: show()
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=_console(sys.stdout), auto_refresh=False) as view:

        def draw(show: Callable[[], None]) -> None:
            global _view
            _view = []
            try:
                show()
                view.update(Group(*_view), refresh=True)
            finally:
                _view = None

        yield draw


def changing_line(stream: IO[Any]) -> Callable[[str], None]:
    """A line of a terminal, after a spinner, until its text is empty: then it is gone."""
    from rich.live import Live

    turns = itertools.cycle("-\\|/")
    view = Live(console=_console(stream), auto_refresh=False, transient=True)
    view.start()

    def draw(text: str) -> None:
        if not text:
            view.stop()
            return
        width, line = columns(stream) - 1, f"{next(turns)} {plain(text)}"
        short = line if len(line) <= width else f"{line[: width - 3]}..."
        view.update(_joined([short]), refresh=True)

    return draw


# For programs.


def as_json(facts: Any) -> None:
    """Print the facts for a program."""
    click.echo(json.dumps(facts, indent=2))


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option --json of a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
