"""What the commands draw on a terminal: colours, widths, what is waited for, a live view."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest

from avcheck.admin import cells, output
from avcheck.admin.cells import Styled
from avcheck.admin.commands import doctor
from avcheck.admin.output import Trouble
from avcheck.admin.progress import Progress

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG = "a sentence that is longer than a terminal of forty columns, and names /a/path"


def seen(text: str) -> str:
    """What is left of the text without what rich has to say to a terminal."""
    return ESCAPE.sub("", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Standard output and error are terminals of 40 columns, in colour."""
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_colours_are_for_terminals(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.say("a ", Styled("good", cells.GOOD))
    Trouble("bad", "mend it").show()
    said = capsys.readouterr()
    assert said.out == "a \x1b[32mgood\x1b[0m\n"
    assert "\x1b[1;31merror:\x1b[0m bad\n    mend it\n" in said.err
    terminal.setenv("NO_COLOR", "1")
    output.say("a ", Styled("good", cells.GOOD))
    assert "\x1b[3" not in capsys.readouterr().out
    terminal.setattr(output, "is_terminal", lambda stream: False)
    terminal.delenv("NO_COLOR")
    output.say("a ", Styled("good", cells.GOOD))
    assert capsys.readouterr().out == "a good\n"


@pytest.mark.parametrize(
    "text", ["[red]x[/red]", ":smile:", "[link=http://x]y[/link]", "127.0.0.1 'x'"]
)
def test_no_text_is_markup(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    output.say(text)
    output.note(text)
    output.table([["x", text]])
    output.table([["y" * 50, text]], ["A", "B"])
    said = capsys.readouterr()
    assert said.out.count(text) == 3
    assert said.err == f"{text}\n"


def test_a_line_is_not_broken_so_that_it_can_be_copied(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.say(f"    {LONG}")
    assert capsys.readouterr().out == f"    {LONG}\n"


def test_a_last_cell_goes_on_below_itself(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.table([["one", Styled("x", cells.GOOD), LONG], ["three", "y", "short"]])
    lines = seen(capsys.readouterr().out).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 40
    assert lines[0].startswith("one    x  a sentence")
    assert all(line.startswith(" " * 10) for line in lines[1:-1])
    assert " ".join(" ".join(lines[:-1]).split()) == f"one x {LONG}"
    assert lines[-1].rstrip() == "three  y  short"


def test_progress_is_shown_on_a_terminal_only(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(what: str, limit: float = 0.0) -> str:
        progress = Progress("something")
        looked = iter([False, True])
        terminal.setattr(progress._done, "wait", lambda seconds: next(looked))
        progress.now(what, limit)
        with progress:
            pass
        first, *_ = seen(capsys.readouterr().err).splitlines() or [""]
        return first

    assert shown("waiting") == "- waiting ... 0 s"
    assert shown("waiting", 180.0) == "- waiting ... 0 s of at most 3 min"
    assert shown("for \x1b[2J" + "x" * 300) == "- for ?[2J" + "x" * 26 + "..."
    terminal.setattr(output, "is_terminal", lambda stream: False)
    assert shown("waiting") == ""


PREPARED = """
import sys
from avcheck.admin import output
from avcheck.admin.cells import Styled
from avcheck.admin.progress import Progress
output.is_terminal = lambda stream: True
output.ready()
before = set(sys.modules)
row = ["a", Styled("b" * 99, "red"), "c d " * 99]
output.say(*row)
output.table([row])
output.table([row], ["A", "B", "C"])
output.Trouble("x", "y").show()
draw = output.changing_line(sys.stderr)
draw("x" * 999)
draw("")
with output.live() as again:
    again(lambda: output.table([row]))
assert set(sys.modules) == before, set(sys.modules) - before
"""


def test_what_is_drawn_as_another_account_was_imported_before() -> None:
    """Python's own files may be closed to that account."""
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40"}
    subprocess.run(
        [sys.executable, "-c", PREPARED], check=True, stdout=subprocess.DEVNULL, env=environment
    )


def test_a_live_view_is_drawn_in_the_place_of_the_last(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with output.live() as draw:
        draw(lambda: output.say("first"))
        draw(lambda: output.table([["second", "x"]]))
    text = capsys.readouterr().out
    views = [view.split() for view in seen(text).split("\r")]
    assert views == [["first"], ["second", "x"], ["second", "x"]]
    assert text.count("\r\x1b[2K") == 2  # the line is erased before each but the first


def test_a_live_view_elsewhere_is_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    with output.live() as draw:
        draw(lambda: output.say("first"))
        draw(lambda: output.say("second"))
    assert capsys.readouterr().out == "first\nsecond\n"


@contextmanager
def wide(columns: int) -> Iterator[tuple[int, int]]:
    """A terminal so wide: its two ends."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def test_a_real_terminal_is_one(tmp_path: Path) -> None:
    program = "from avcheck.admin import group; group(prog_name='avcheckctl')"
    words = ["ping", "-s", f"clamd:{tmp_path}/a-socket-that-nobody-has-made"]
    environment = {**os.environ, "TERM": "xterm"}
    for name in ("COLUMNS", "NO_COLOR"):
        environment.pop(name, None)
    with wide(60) as (ours, theirs):
        child = subprocess.Popen(
            [sys.executable, "-c", program, *words], stdout=theirs, env=environment
        )
        os.close(theirs)
        text = b""
        while piece := _read(ours):
            text += piece
        assert child.wait() == 1
    assert "\x1b[31m" in text.decode()
    lines = seen(text.decode()).splitlines()
    assert lines[0].strip() == "clamd"
    assert max(len(line.rstrip()) for line in lines) <= 60


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: the other end is closed
        return b""


def test_a_finding_of_doctor_goes_on_below_itself(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its remedy, which is to be copied, is one line."""
    doctor._show([doctor.Found("avcheck", "spool_room", "error", LONG, LONG)], False)
    lines = seen(capsys.readouterr().out).splitlines()
    assert lines[1].startswith("  error    a sentence")
    assert all(line.startswith(" " * 11) for line in lines[2:4])
    assert f"             {LONG}" in lines
