"""The parameters of a command scanner: the administrator's, and those that PROGRAMS has.

Where they cannot be used, Defer says so before a message is read.
"""

from __future__ import annotations

from avcheck import unix
from avcheck.exits import CONFIG, Defer
from avcheck.patterns import MEANINGS, expression
from avcheck.printable import printable
from avcheck.scanners.command_programs import PROGRAMS
from avcheck.verdict import INFECTED, POLICY, SUSPICIOUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from avcheck.settings import Target

WORDS = {"found": INFECTED, "suspected": SUSPICIOUS, "unwanted": POLICY}  # the worst first
PATTERNS = ("name", *WORDS, "passed", "protected", "broken")

# What cannot be proved of a program of the administrator's own without passed=.
STATUS_ALONE = "clean by its exit status alone; no words were asked for (passed=)"

CLAMAV = b"clamav"  # the only classes there are
MESSAGE = b"message"  # the only thing to read on standard input


def parameters_of(target: Target) -> dict[str, bytes]:
    """All parameters, those of PROGRAMS included; Defer where they cannot be used."""
    word = target.path.rpartition(b"/")[2]
    usual = PROGRAMS[word].parameters if word in PROGRAMS else {}
    parameters = {**usual, **target.parameters}
    names = printable(b", ".join(PROGRAMS))
    if not target.path.startswith(b"/") and target.path not in PROGRAMS:
        where = printable(target.path)
        raise Defer(f"{where}: neither the path of a program nor one of {names}", CONFIG)
    if "clean" not in parameters:
        raise Defer(f"the parameter clean is required (but for {names})", CONFIG)
    if parameters.get("stdin", MESSAGE) != MESSAGE:
        raise Defer(f"stdin={printable(parameters['stdin'])}: only message", CONFIG)
    if not wants_path(parameters):
        if "stdin" not in parameters:
            raise Defer("args has no {path}", CONFIG)
        if b"{path}" in parameters.get("passed", b""):
            raise Defer("passed has a {path}, but args has none", CONFIG)
    if parameters.get("classes", CLAMAV) != CLAMAV:
        raise Defer(f"classes={printable(parameters['classes'])}: only clamav's are known", CONFIG)
    for kind in MEANINGS:
        statuses(kind, parameters.get(kind, b""))
    compiled(parameters)
    return parameters


def program_at(where: bytes) -> bytes:
    """The path of the program; Defer where none of its usual places has it."""
    if where.startswith(b"/"):
        return where
    places = PROGRAMS[where].places
    for place in places:
        if unix.access(place, unix.X_OK):
            return place
    looked = printable(b", ".join(places))
    raise Defer(f"{printable(where)}: not found (looked at {looked}); write its path", CONFIG)


def unproved(target: Target, parameters: Mapping[str, bytes]) -> str:
    """Why it does not prove that a message is clean; empty if its words do."""
    if "passed" in parameters:
        return ""
    program = PROGRAMS.get(target.path.rpartition(b"/")[2])
    return program.unproved if program else STATUS_ALONE


def wants_path(parameters: Mapping[str, bytes]) -> bool:
    return b"{path}" in parameters.get("args", b"")


def compiled(parameters: Mapping[str, bytes], path: bytes = b"/") -> dict[str, re.Pattern[bytes]]:
    import re

    found = {}
    for name in PATTERNS:
        if name in parameters:
            pattern = parameters[name]
            if name == "passed":
                pattern = pattern.replace(b"{path}", re.escape(path))
            found[name] = expression(name, pattern, re.MULTILINE)
    return found


def statuses(kind: str, words: bytes) -> set[int]:
    """The statuses of a list."""
    numbers: set[int] = set()
    for word in words.replace(b",", b" ").split():
        first, dash, last = word.partition(b"-")
        limits = (first, last) if dash else (first,)
        if not all(each.isdigit() and len(each) <= 3 for each in limits):
            raise Defer(f"{kind}: {printable(word)} is no exit status", CONFIG)
        numbers.update(range(int(first), int(limits[-1]) + 1))
    return numbers
