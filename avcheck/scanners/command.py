r"""command, a scanner that is a program.

    /usr/bin/clamscan --no-summary --infected /the/path
    exit status 1, and on standard output /the/path: Eicar-Test-Signature FOUND

    -s command:clamscan
    -s 'command:/opt/av/scan?args=--mail%20{path}&clean=0&infected=1%202&name=virus=(.*)'

WHERE is a word of PROGRAMS (command_programs.py), or the path of a program; one with a name
of PROGRAMS has what is said there.  The parameters are percent-encoded, as in an address, and win:

    args      the words after the program, separated by blanks, with {path} in one of them
    clean, infected, suspicious, policy, encrypted, unscannable
              exit statuses: numbers, and ranges like 8-15, separated by blanks
    name      what a name is in the output: a regular expression of Python, for bytes, in
              each line; its first group if it has one
    found     the same, for words that mean infected with any status
    passed    the same, for words without which a status of clean is the scanner's trouble
    protected the same, for words that make a status of unscannable one of encrypted
    broken    the same, for words that make it (the words of a scanner which is damaged, and
              has the same status for that) the scanner's trouble
    classes   clamav: what is infected by its status is of the class that its names have

No shell is between us and the program, and nothing of the message is on its command line
but the path, which is ours.  A status that is in no list, a signal, and a program that is
late, are the scanner's trouble; so the statuses are to be those of the scanner, and not
those of a script around it that has failed.  Of what it says the first 64 KiB are looked at,
and 4 KiB of each line; where CLEAN depends on its words, it may not say more than that.
"""

from __future__ import annotations

import os

from avcheck import child
from avcheck.exits import CONFIG, EXPIRED, Defer
from avcheck.printable import printable
from avcheck.scanners.command_programs import PROGRAMS
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    import re
    from collections.abc import Mapping

    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

LISTS = {
    "infected": INFECTED,
    "suspicious": SUSPICIOUS,
    "policy": POLICY,
    "encrypted": ENCRYPTED,
    "unscannable": UNSCANNABLE,
    "clean": CLEAN,
}  # the worst first
PATTERNS = ("name", "found", "passed", "protected", "broken")

# What is kept of the output: a line for each object in a message, and at the end the one
# that was looked for.
OUTPUT_MAX = 64 * 1024

# What is looked at of a line: somebody else's file names are in it, and the time that a
# pattern takes can grow with the square of its length.
LINE_MAX = 4096

CLAMAV = b"clamav"  # the only classes there are

# What the names are written in, and where programs that programs start are found.
ENVIRONMENT = {b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"LC_ALL": b"C", b"TZ": b"UTC"}


def run(message: Message, target: Target, deadline: float) -> Finding:
    """Run the program on the message, with what is ours before it."""
    parameters = known(target)
    program = program_at(target.path)
    path = message.directory.join(message.name).replace(b"/./", b"/")
    argv = [program, *(word.replace(b"{path}", path) for word in parameters["args"].split())]
    stdin = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ended = child.run(argv, stdin, ENVIRONMENT, deadline, message.directory.fd, keep=OUTPUT_MAX)
    finally:
        os.close(stdin)
    if ended.late:
        raise Defer(str(ended), EXPIRED)
    if ended.lost:  # words that mean infected may be in what was not read
        raise Defer(f"its output could not be read: {ended.lost}")
    return parse(ended.status, ended.output, parameters)


def check(target: Target) -> None:
    """Raise Defer where the program cannot be run, or its end not be understood, like this."""
    known(target)


def known(target: Target) -> dict[str, bytes]:
    """All parameters, those of PROGRAMS included; Defer where they cannot be used."""
    word = target.path.rpartition(b"/")[2]
    _, usual = PROGRAMS.get(word, ((), {}))
    parameters = {**usual, **target.parameters}
    names = printable(b", ".join(PROGRAMS))
    if not target.path.startswith(b"/") and target.path not in PROGRAMS:
        where = printable(target.path)
        raise Defer(f"{where}: neither the path of a program nor one of {names}", CONFIG)
    if "clean" not in parameters:
        raise Defer(f"the parameter clean is required (but for {names})", CONFIG)
    if not any(b"{path}" in each for each in parameters.get("args", b"").split()):
        raise Defer("args has no {path}", CONFIG)
    if parameters.get("classes", CLAMAV) != CLAMAV:
        raise Defer(f"classes={printable(parameters['classes'])}: only clamav's are known", CONFIG)
    for kind in LISTS:
        _numbers(kind, parameters.get(kind, b""))
    _compiled(parameters)
    return parameters


def program_at(where: bytes) -> bytes:
    """The path of the program; Defer where none of its usual places has it."""
    if where.startswith(b"/"):
        return where
    places, _ = PROGRAMS[where]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    looked = printable(b", ".join(places))
    raise Defer(f"{printable(where)}: not found (looked at {looked}); write its path", CONFIG)


def parse(status: int, output: bytes, parameters: Mapping[str, bytes]) -> Finding:
    """The finding that exit status and output mean by these parameters.

    Raises Defer for any others; a status below 0 is that of a program killed by a signal.
    """
    patterns = _compiled(parameters)
    said = f"exit status {status}: {printable(output, 200)}" if output else f"exit status {status}"
    lines = output.split(b"\n")
    too_much = len(output) >= OUTPUT_MAX or any(len(line) > LINE_MAX for line in lines)
    output = b"\n".join([line[:LINE_MAX] for line in lines])
    if status >= 0 and _says("found", patterns, output):
        return Finding(INFECTED, _names(output, patterns), said)
    listed = [
        verdict
        for kind, verdict in LISTS.items()
        if status in _numbers(kind, parameters.get(kind, b""))
    ]
    if not listed or (listed[0] is UNSCANNABLE and _says("broken", patterns, output)):
        raise Defer(said)
    if listed[0] is UNSCANNABLE and _says("protected", patterns, output):
        return Finding(ENCRYPTED, (), said)
    if listed[0] is CLEAN:
        if "passed" in patterns and not _says("passed", patterns, output):
            raise Defer(f"did not say that it found nothing; {said}")
        if too_much and ("passed" in patterns or "found" in patterns):
            raise Defer(f"said more than can be looked at; {said}")
        return Finding(CLEAN, (), said)
    names = _names(output, patterns)
    verdict = listed[0]
    if verdict is INFECTED and names and parameters.get("classes") == CLAMAV:
        verdict = min(map(_of_clamav, names), key=lambda each: each.rank)
    return Finding(verdict, names, said)


def _of_clamav(name: bytes) -> Verdict:
    from avcheck.scanners.clamd import CLASSES

    for beginning, verdict in CLASSES:
        if name.startswith(beginning):
            return verdict
    return INFECTED


def _says(name: str, patterns: Mapping[str, re.Pattern[bytes]], output: bytes) -> bool:
    return name in patterns and bool(patterns[name].search(output))


def _compiled(parameters: Mapping[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    import re
    from warnings import catch_warnings, simplefilter

    patterns = {}
    for name in PATTERNS:
        if name in parameters:
            try:
                # Its warnings would come before our own words on standard error.
                with catch_warnings():
                    simplefilter("ignore")
                    patterns[name] = re.compile(parameters[name], re.MULTILINE)
            except (re.error, OverflowError, RecursionError) as why:
                raise Defer(f"{name}: {why}", CONFIG) from why
    return patterns


def _numbers(kind: str, words: bytes) -> set[int]:
    """The statuses of a list."""
    numbers: set[int] = set()
    for word in words.replace(b",", b" ").split():
        first, dash, last = word.partition(b"-")
        limits = (first, last) if dash else (first,)
        if not all(each.isdigit() and len(each) <= 3 for each in limits):
            raise Defer(f"{kind}: {printable(word)} is no exit status", CONFIG)
        numbers.update(range(int(first), int(limits[-1]) + 1))
    return numbers


def _names(output: bytes, patterns: Mapping[str, re.Pattern[bytes]]) -> tuple[bytes, ...]:
    name = patterns.get("name")
    if not name:
        return ()
    found = (each[1] if name.groups else each[0] for each in name.finditer(output))
    return tuple(each for each in found if each)
