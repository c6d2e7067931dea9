"""A bug at every line after somebody else has taken the message: the status is what it was to be.

Memory can run out anywhere, and code has bugs.  Before the message is handed on an exception keeps
it; after that the same would be a second delivery.  So the command is run with a trace function
that raises MemoryError at one line of the package, the next run at the next one, from the moment
of no return until the end.  (A line that is executed again is not tried again.)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command.limits.runs import (
    CLEAN,
    HANDLER,
    QUARANTINE,
    SENDMAIL,
    copies_at,
    set_up,
    words_of,
)
from tests.support.mta import KEEP, MAIL, TEMPFAIL, Site

# Runs the script of its second argument with the arguments after that; the first one says at
# which line, counted from the one that commits, MemoryError is raised.  The status is 99 when
# there were not so many lines.
TRACED = """
import os, posix, sys

number = int(sys.argv[1])
sys.argv = sys.argv[2:]
committed = False
lines = set()

def trace(frame, event, argument):
    global committed
    code = frame.f_code
    # Nothing is left to catch what the one way out would raise itself.
    way_out = code.co_filename.endswith("/__main__.py") and code.co_name == "main"
    if "avcheck" not in code.co_filename or way_out:
        return None
    ends = code.co_filename.endswith("/run.py") and code.co_name in ("commit", "mark_handed_over")
    if event == "call" and ends:
        committed = True
    if event == "line" and committed:
        line = (code.co_filename, frame.f_lineno)
        if line not in lines:
            lines.add(line)
            if len(lines) == number:
                raise MemoryError("a bug")
    return trace

really_leave = posix._exit

def leave(status):
    really_leave(status if len(lines) >= number else 99)

posix._exit = os._exit = leave
with open(sys.argv[0]) as script:
    code = compile(script.read(), sys.argv[0], "exec")
sys.settrace(trace)
exec(code, {"__name__": "__main__"})
"""

NO_MORE_LINES = 99

# Where these runs end, at the latest; 172 lines were seen.
LINES_MAX = 500

# One line in so many is tried: another choice of them for each kind.
STEPS = {CLEAN: 2, SENDMAIL: 5, HANDLER: 5, QUARANTINE: 5, "-n": 5}

STATE = ("--slots", "1", "--attempts", "3", "--queue-id", "4abc")


@pytest.fixture
def traced(command: Path, tmp_path: Path) -> list[str | Path]:
    """The command with a trace function; the number of the line is to follow."""
    script = tmp_path / "traced.py"
    script.write_text(TRACED)
    return [command.with_name("python"), script]


@pytest.mark.parametrize("kind", STEPS)
def test_a_bug_after_it_is_handed_on_is_no_second_delivery(
    traced: list[str | Path], command: Path, tmp_path: Path, kind: str
) -> None:
    came = []
    for line in range(1 + list(STEPS).index(kind), LINES_MAX, STEPS[kind]):
        directory = tmp_path / str(line)
        directory.mkdir()
        with Site([*traced, str(line), command], directory) as site:
            site.surround({})  # coverage has a trace function of its own
            set_up(site, kind)
            words = words_of(site, kind, *STATE, *(["-n"] if kind == "-n" else []))
            ended = site.start(words).end(MAIL)
            copies = len(copies_at(site))
        if ended.status == NO_MORE_LINES:
            break
        if kind == "-n":  # status 0 is the only copy
            assert copies == 0
            copies = int(ended.status == 0)
        if ended.status == 0:
            assert copies == 1, (line, ended)
        else:
            assert ended.status == TEMPFAIL, (line, ended)
            assert KEEP.match(ended.output), (line, ended)
            # Only where nobody can know: the answer has not come, or the program has not ended.
            assert not copies or b"possible duplicate" in ended.output, (line, ended)
        came.append(ended.status)
    else:
        raise AssertionError("the runs never came to their end")
    # The last lines are those of the report, when all is settled.
    assert came[-3:] == [0, 0, 0]
