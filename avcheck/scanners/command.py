r"""command, a scanner that is a program.

    /usr/bin/clamscan --no-summary --stdout /the/path
    exit status 1, and on standard output /the/path: Eicar-Test-Signature FOUND

    -s command:clamscan
    -s 'command:/opt/av/scan?args=--mail%20{path}&clean=0&infected=1%202&passed=^{path}:%20OK$'

WHERE is a word of PROGRAMS (command_programs.py), or the path of a program; one with a name
of PROGRAMS has what is said there.  The parameters are percent-encoded, as in an address, and win:

    args      the words after the program, separated by blanks, with {path} in one of them
    stdin     message: the program reads the message there; {path} may be left out then
    clean, infected, suspicious, policy, encrypted, unscannable
              exit statuses: numbers, and ranges like 8-15, separated by blanks
    name      what a name is in the output: a regular expression of Python, for bytes, in
              each line; its first group if it has one
    found     the same, for words that mean infected with any status
    suspected, unwanted
              the same, for words that mean at least suspicious, or policy
    passed    the same, for words without which a status of clean is the scanner's trouble;
              {path} in it is the path that the program got
    protected the same, for words that make a status of unscannable or clean one of encrypted
    broken    the same, for output of a damaged scanner that exits with a status of the
              lists: the scanner has failed
    classes   clamav: what is infected is of the class that its names have

No shell is between us and the program, and nothing of the message is on its command line
but the path, which is ours.  It gets a copy (command_copy.py), or a descriptor for reading.
A status that is in no list, a signal, and a program that is late, are the scanner's trouble,
unless it has said before that the message is infected;
so the statuses are to be those of the scanner, and not those of a script around it that has
failed.  Of what it says the first MiB is looked at, and 4 KiB of each line; where something
worse can be in its words, it may not say more than that.
"""

from __future__ import annotations

from avcheck import child, unix
from avcheck.exits import CONFIG, EXPIRED, SYSTEM, Defer
from avcheck.patterns import MEANINGS
from avcheck.printable import printable
from avcheck.scanners import class_of_name
from avcheck.scanners.command_copy import Copy
from avcheck.scanners.command_parameters import (
    CLAMAV,
    WORDS,
    compiled,
    parameters_of,
    program_at,
    statuses,
    unproved,
    wants_path,
)
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, UNSCANNABLE, Finding, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

KILLED = -1  # the status of a program that did not come to its own end

# What is kept of the output: a line for each object in a message, and at the end the one
# that was looked for.  With more than that, nothing but infected is believed of a program that
# has words for worse: it would be put off, and bounced in the end.
OUTPUT_MAX = 1024 * 1024

# What is looked at of a line: somebody else's file names are in it, and the time that a
# pattern takes can grow with the square of its length.
LINE_MAX = 4096

# What the names are written in, and where programs that programs start are found.
ENVIRONMENT = {b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"LC_ALL": b"C", b"TZ": b"UTC"}


def run(message: Message, target: Target, deadline: float) -> Finding:
    """Run the program on the message, with what is ours before it."""
    parameters = parameters_of(target)
    program = program_at(target.path)
    if not wants_path(parameters):
        return _ran(program, b"", message, parameters, target, deadline)
    with Copy(message) as copy:
        finding = _ran(program, copy.path, message, parameters, target, deadline)
        changed = copy.changed() if finding.verdict is CLEAN else ""
    if changed:
        text = f"{changed} the file that it called clean, so it did not mean the message"
        raise Defer(f"{text}; it must not disinfect", CONFIG)
    return finding


def _ran(
    program: bytes,
    path: bytes,
    message: Message,
    parameters: Mapping[str, bytes],
    target: Target,
    deadline: float,
) -> Finding:
    argv = [program, *(word.replace(b"{path}", path) for word in parameters["args"].split())]
    if "stdin" in parameters:
        stdin = message.reopen()
    else:
        stdin = unix.open(b"/dev/null", unix.O_RDONLY | unix.O_CLOEXEC)
    try:
        ended = child.run(argv, stdin, ENVIRONMENT, deadline, message.directory.fd, keep=OUTPUT_MAX)
        # (clamdscan hands it to clamd, which does not move the offset that they share.)
        read = unix.lseek(stdin, 0, unix.SEEK_CUR)
    finally:
        unix.close(stdin)
    if ended.killed or ended.lost:  # there might have been more words that mean infected
        try:
            return parse(KILLED, ended.output, parameters, path)
        except Defer:
            lost = f"its output could not be read: {ended.lost}"
            text = str(ended) if ended.killed else lost
            raise Defer(text, EXPIRED if ended.late else SYSTEM) from None
    finding = parse(ended.status, ended.output, parameters, path)
    if finding.verdict is CLEAN and 0 < read < message.seen:
        raise Defer("said it is clean, but has not read the whole message", CONFIG)
    doubt = unproved(target, parameters) if finding.verdict is CLEAN else ""
    return Finding(CLEAN, (), f"{finding.text} ({doubt})") if doubt else finding


def check(target: Target) -> None:
    """Raise Defer where the program cannot be run, or its end not be understood, like this."""
    parameters_of(target)


def parse(
    status: int, output: bytes, parameters: Mapping[str, bytes], path: bytes = b"/"
) -> Finding:
    """The finding that exit status and output mean by these parameters.

    Raises Defer for any others.  Words that mean infected win over every status, and are all
    that counts where it is KILLED; a status without words is never enough to be clean where
    the program has words for that.
    """
    patterns = compiled(parameters, path)
    said = f"exit status {status}: {printable(output, 200)}" if output else f"exit status {status}"
    lines = output.split(b"\n")
    too_much = len(output) >= OUTPUT_MAX or any(len(line) > LINE_MAX for line in lines)
    output = b"\n".join([line[:LINE_MAX] for line in lines])
    verdict = _meant(status, output, parameters, patterns)
    if verdict is None or (verdict is UNSCANNABLE and _says("broken", patterns, output)):
        raise Defer(said)
    if verdict is CLEAN and "passed" in patterns and not _says("passed", patterns, output):
        raise Defer(f"did not say that it found nothing; {said}")
    if too_much and _may_say_worse(verdict, patterns):
        raise Defer(f"said more than can be looked at; {said}")
    if verdict in (UNSCANNABLE, CLEAN) and _says("protected", patterns, output):
        return Finding(ENCRYPTED, (), said)
    if verdict is CLEAN:
        return Finding(CLEAN, (), said)
    names = _names(output, patterns)
    # (A worse name may be in what was not looked at.)
    if verdict is INFECTED and names and not too_much and parameters.get("classes") == CLAMAV:
        from avcheck.scanners.clamd import CLASSES

        verdict = worst(class_of_name(name, CLASSES) for name in names) or verdict
    if status == KILLED and verdict is not INFECTED:
        raise Defer(said)
    return Finding(verdict, names, said)


def _meant(
    status: int,
    output: bytes,
    parameters: Mapping[str, bytes],
    patterns: Mapping[str, re.Pattern[bytes]],
) -> Verdict | None:
    """The worst of what status and words mean; None if neither means anything."""
    meant = [
        verdict
        for kind, verdict in MEANINGS.items()
        if status in statuses(kind, parameters.get(kind, b""))
    ]
    meant += [verdict for name, verdict in WORDS.items() if _says(name, patterns, output)]
    return worst(meant)


def _may_say_worse(verdict: Verdict, patterns: Mapping[str, re.Pattern[bytes]]) -> bool:
    """Whether words that were not looked at could mean something worse than that."""
    if verdict is CLEAN and "passed" in patterns:
        return True
    return any(name in patterns and WORDS[name].rank < verdict.rank for name in WORDS)


def _says(name: str, patterns: Mapping[str, re.Pattern[bytes]], output: bytes) -> bool:
    return name in patterns and bool(patterns[name].search(output))


def _names(output: bytes, patterns: Mapping[str, re.Pattern[bytes]]) -> tuple[bytes, ...]:
    name = patterns.get("name")
    if not name:
        return ()
    found = (each[1] if name.groups else each[0] for each in name.finditer(output))
    return tuple(each for each in found if each)
