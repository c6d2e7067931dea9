"""Checks of time: who gives up first, the scanner, avcheck, or Postfix, which bounces then."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.admin import amounts
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line, Pipe
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable
from avcheck.settings import Settings

LONGEST = 900.0  # seconds: Postfix's own limit is 1000

# Seconds between our deadline and Postfix's limit: it counts each wait by itself, and
# avcheck has to end its programs and to write its last line.
ROOM = 30.0

# A limit below this leaves no time for a scan.
SHORT = 120.0

FOREVER = float("inf")


def deadline(look: Look) -> Iterator[Result]:
    """There is one, and the time for the scanners is within it."""
    settings = look.settings
    if settings.timeout != FOREVER and settings.timeout >= settings.deadline:
        text = f"-t {settings.timeout:g} is never reached: --deadline comes first"
        yield Result(WARNING, text, f"-t {settings.deadline * 2 / 3:.0f}")
    elif settings.deadline > LONGEST and look.service.call is None:
        text = "the run may take longer than Postfix's usual 1000 s, and is bounced then"
        yield Result(WARNING, text, "--deadline 450")
    else:
        yield Result(OK, f"avcheck {_gives_up(settings)}")


def _gives_up(settings: Settings) -> str:
    if settings.deadline == FOREVER:
        return "never gives up by itself"
    return f"gives up after {settings.deadline:g} s"


def seconds(text: str) -> float:
    """A time as main.cf has it: 600s, 10m; 0 if it is none."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", text.strip().lower())
    return float(int(found[1][:12]) * amounts.SECONDS[found[2] or "s"]) if found else 0.0


def limit_of(postfix: Postfix, line: Line) -> tuple[str, str]:
    """The time that Postfix gives a command of the service, and the parameter that says so."""
    name, usual = f"{line.name}_time_limit", "command_time_limit"
    given = line.overrides.get(name) or postfix.given.get(name, f"${usual}")
    if given in (f"${usual}", f"${{{usual}}}", f"$({usual})"):
        return postfix.value(usual, line, "1000s"), usual
    return postfix.value(name, line), name


def pipe_time_limit(look: Look) -> Iterator[Result]:
    """avcheck gives up before Postfix kills it, and bounces the message."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    text, parameter = limit_of(postfix, pipe.line)
    limit = seconds(text)
    kills = f"Postfix kills it after {printable(text)} ({parameter}), and bounces the message"
    if limit:
        yield compared(look.settings, limit, kills, _longer(pipe))
    else:
        yield Result(ERROR, f"{parameter}: {printable(repr(text))} is no time", _longer(pipe))


def compared(
    settings: Settings, limit: float, kills: str, longer: str, level: str = ERROR
) -> Result:
    """Whether avcheck gives up before the mail system's limit, after which it kills it.

    longer is the line that gives a run the documented time, where there is less.
    """
    if limit < SHORT:
        return Result(level, f"{kills}: that is too short for a scan", longer)
    if settings.deadline + ROOM <= limit:
        return Result(OK, f"avcheck {_gives_up(settings)}, before it would be killed")
    why = f"avcheck {_gives_up(settings)}; {kills}"
    if settings.deadline <= limit:
        why += f"; there have to be {ROOM:g} s between the two"
    return Result(level, why, _earlier(settings, limit))


def _longer(pipe: Pipe) -> str:
    """The line that gives a run the documented time, where a shorter one is."""
    name = f"{pipe.name}_time_limit"
    if name in pipe.line.overrides:
        return f"{pipe.name} {pipe.line.type} ... pipe\n    -o {name}=600s"
    return f"{name} = 600s"


def _earlier(settings: Settings, limit: float) -> str:
    """The options by which avcheck gives up in time, and its scanners before it."""
    ours = max(limit - 150, limit / 2)
    words = f"--deadline {ours:.0f}"
    if settings.timeout != FOREVER and settings.timeout >= ours:
        words += f" -t {ours * 2 / 3:.0f}"
    return words
