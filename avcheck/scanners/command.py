r"""command, a scanner that is a program.

    /usr/bin/clamscan --no-summary --infected /the/path
    exit status 1, and on standard output /the/path: Eicar-Test-Signature FOUND

    -s command:clamscan
    -s 'command:/opt/av/scan?args=--mail%20{path}&clean=0&infected=1%202&name=virus=(.*)'

WHERE is a word of PROGRAMS below, or the path of a program; one with a name of PROGRAMS
has what is said there.  The parameters are percent-encoded, as in an address, and win:

    args      the words after the program, separated by blanks, with {path} in one of them
    clean, infected, suspicious, policy, encrypted, unscannable
              exit statuses: numbers, and ranges like 8-15, separated by blanks
    name      what a name is in the output: a regular expression of Python, for bytes, in
              each line; its first group if it has one
    protected the same, for words that make a status of unscannable one of encrypted
    broken    the same, for words that make it (the words of a scanner which is damaged, and
              has the same status for that) the scanner's trouble

No shell is between us and the program, and nothing of the message is on its command line
but the path, which is ours.  A status that is in no list, a signal, and a program that is
late, are the scanner's trouble; so the statuses are to be those of the scanner, and not
those of a script around it that has failed.

Sources: the manuals of Dr.Web ("Console Scanner Return Codes"), F-Secure ("fsav exit
codes") and Sophos; protocols of F-PROT; amavisd-new's list for the others.  In no document
at hand, but remembered: avscanner's 16 and 24, what kavscanner's 10 and 15 are, esets_cli's
10 and 50, the options of odscan.  ClamAV's two were tried, the rest could not be.

Decided: what those lists call clean though something was left out (kavscanner's 10 and 15,
savscan's and avscanner's 2, Dr.Web's 32, which is something suspicious in an archive) is
not clean here.
Decided: Sophos' sweep (savscan) ends with 2 for an archive that it cannot open without a
password.  That is no trouble of its own to be tried again for five days: it is ENCRYPTED
where it says so, and else UNSCANNABLE, unless it says that its engine does not work.
"""

from __future__ import annotations

import os

from avcheck import child
from avcheck.exits import CONFIG, EXPIRED, Defer
from avcheck.printable import printable
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

LISTS = {
    "infected": INFECTED,
    "suspicious": SUSPICIOUS,
    "policy": POLICY,
    "encrypted": ENCRYPTED,
    "unscannable": UNSCANNABLE,
    "clean": CLEAN,
}  # the worst first
PATTERNS = ("name", "protected", "broken")

# What the names are written in, and where programs that programs start are found.
ENVIRONMENT = {b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"LC_ALL": b"C", b"TZ": b"UTC"}


def _with(bits: int, without: int = 0) -> bytes:
    """The statuses, sums of powers of two, that have any of the bits and none of the others."""
    every = [status for status in range(256) if status & bits and not status & without]
    return b" ".join(b"%d" % status for status in every)


# Where programs are (the first that exists is run), and what their parameters are.
PROGRAMS: dict[bytes, tuple[tuple[bytes, ...], dict[str, bytes]]] = {
    b"clamscan": (
        (b"/usr/bin/clamscan", b"/usr/local/bin/clamscan"),
        {
            "args": b"--no-summary --infected --stdout {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
        },
    ),
    b"clamdscan": (
        (b"/usr/bin/clamdscan", b"/usr/local/bin/clamdscan"),
        {
            "args": b"--no-summary --infected --fdpass --stdout {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
        },
    ),
    b"savscan": (
        (b"/opt/sophos-av/bin/savscan", b"/usr/local/bin/savscan", b"/usr/local/bin/sweep"),
        {
            "args": b"-nb -f -all -rec -ss -sc -archive -cab -loopback --no-follow-symlinks"
            b" --no-reset-atime -mime -oe -tnef {path}",
            "clean": b"0",
            "infected": b"3",
            "unscannable": b"2",
            "name": rb">>> Virus (?:fragment )?'([^']+)' found",
            "protected": rb"(?i)password protected|encrypted",
            # The banner, too, speaks of the engine and of virus data.
            "broken": rb"(?i)error initiali[sz]|licen[cs]e .*expired"
            rb"|(?:engine|virus data) .*(?:fail|corrupt|missing|not found|invalid)",
        },
    ),
    b"avscanner": (
        (b"/opt/sophos-spl/plugins/av/bin/avscanner", b"/usr/local/bin/avscanner"),
        {
            "args": b"--scan-archives {path}",
            "clean": b"0",
            "infected": b"24",
            "encrypted": b"16",
            "unscannable": b"2",
            "name": rb"Detected \"[^\"]*\" is infected with (\S+)",
            "protected": rb"(?i)password|encrypted",
            "broken": rb"(?i)failed to (?:connect|initiali[sz]e)|licen[cs]e",
        },
    ),
    b"esets_cli": (
        (b"/opt/eset/esets/bin/esets_cli", b"/usr/bin/esets_cli", b"/usr/sbin/esets_cli"),
        {
            "args": b"--subdir {path}",
            "clean": b"0",
            "infected": b"1-3 50",
            "unscannable": b"10",
            "name": rb'virus="([^"]+)"',
            "protected": rb"(?i)password|encrypted",
        },
    ),
    b"odscan": (
        (b"/opt/eset/efs/bin/odscan", b"/opt/eset/eea/bin/odscan"),
        {
            "args": b"--scan --readonly {path}",
            "clean": b"0",
            "infected": b"1 50",
            "unscannable": b"10",
            "name": rb'(?:threat|virus)="([^"]+)"',
            "protected": rb"(?i)password|encrypted",
        },
    ),
    b"drweb": (
        (b"/opt/drweb/drweb", b"/usr/local/drweb/drweb", b"/usr/bin/drweb"),
        {
            "args": b"-path={path} -al -go -ot -cn -upn -ok-",
            "clean": b"0",
            # Never 64 and 128, for something cured or removed: that is not asked for.
            "infected": _with(1 | 2 | 8 | 16, 64 | 128),
            "suspicious": _with(4 | 32, 1 | 2 | 8 | 16 | 64 | 128),
            "name": rb"infected with (.+?)(?: \(.*\))?$",
        },
    ),
    b"kavscanner": (
        (
            b"/opt/kaspersky/kav4fs/bin/kav4fs-kavscanner",
            b"/opt/kav/5.5/kav4unix/bin/kavscanner",
            b"/opt/kav/5.5/kav4mailservers/bin/kavscanner",
        ),
        {
            "args": b"-i0 -xn -xp -mn -R -ePASBME {path}",
            "clean": b"0",
            "infected": b"5 25",
            "suspicious": b"20 21",
            "unscannable": b"10 15",
            "name": rb"(?:INFECTED|SUSPICION|SUSPICIOUS|WARNING) (\S+)",
            "protected": rb"(?i)password|protected|encrypted",
        },
    ),
    b"fsav": (
        (b"/usr/bin/fsav", b"/opt/f-secure/fsav/bin/fsav"),
        {
            "args": b"--virus-action1=report --archive=yes --auto=yes --dumb=yes --list=no"
            b" --mime=yes {path}",
            "clean": b"0",
            "infected": b"3 6",
            "suspicious": b"8",
            "policy": b"4",
            "unscannable": b"9",
            "name": rb"(?:infection|Infected|Suspected|Riskware): (.+?)(?: \[.*\])?$",
            "protected": rb"(?i)password|encrypted",
            "broken": rb"(?i)permission|could not open|no such file|too long|memory"
            rb"|connection to fsavd",
        },
    ),
    b"uvscan": (
        (b"/usr/local/uvscan/uvscan", b"/usr/local/bin/uvscan", b"/usr/bin/uvscan"),
        {
            "args": b"--secure -rv --mime --summary --noboot {path}",
            "clean": b"0",
            "infected": b"13 19",
            "name": rb"Found(?:: | the | (?:virus|trojan) or variant )(.+?)"
            rb"(?: NOT a virus\.?| (?:virus|trojan))?(?: !!!)?$",
        },
    ),
    b"fpscan": (
        (b"/usr/local/bin/fpscan", b"/opt/f-prot/fpscan", b"/usr/bin/fpscan"),
        {
            "args": b"--report --mount --adware --archive=5 {path}",
            "clean": b"0",
            "infected": _with(1 | 128),
            "suspicious": _with(2, 1 | 128),
            "unscannable": _with(8 | 64, 1 | 2 | 4 | 16 | 32 | 128),
            "name": rb"\[Found [^\]]+\] <([^ \t(>]+)",
            "protected": rb"(?i)encrypted|password",
        },
    ),
    b"avastcmd": (
        (b"/usr/bin/avastcmd", b"/usr/lib/avast4workstation/bin/avastcmd"),
        {
            "args": b"-a -i -n -t=A {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb"infected by:[ \t]+(\S+)",
        },
    ),
}
PROGRAMS[b"sweep"] = PROGRAMS[b"savscan"]


def run(message: Message, target: Target, deadline: float) -> Finding:
    """Run the program on the message, its first line (Return-Path) included."""
    program, parameters = chosen(target.path, target.parameters)
    path = message.directory.join(message.name).replace(b"/./", b"/")
    words = parameters.get("args", b"").split()
    if not any(b"{path}" in word for word in words):
        raise Defer("args has no {path}", CONFIG)
    argv = [program, *(word.replace(b"{path}", path) for word in words)]
    stdin = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ended = child.run(argv, stdin, ENVIRONMENT, deadline, message.directory.fd)
    finally:
        os.close(stdin)
    if ended.late:
        raise Defer(str(ended), EXPIRED)
    return parse(ended.status, ended.output, parameters)


def chosen(where: bytes, parameters: Mapping[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """The path of the program and its parameters; Defer where there is none to run."""
    word = where.rpartition(b"/")[2]
    places, known = PROGRAMS.get(word, ((), {}))
    merged = {**known, **parameters}
    if "clean" not in merged:
        names = printable(b", ".join(PROGRAMS))
        raise Defer(f"the parameter clean is required (but for {names})", CONFIG)
    if where.startswith(b"/"):
        return where, merged
    for place in places:
        if os.access(place, os.X_OK):
            return place, merged
    looked = f" (looked at {printable(b', '.join(places))})" if places else ""
    raise Defer(f"{printable(word)}: not found{looked}; write its path", CONFIG)


def parse(status: int, output: bytes, parameters: Mapping[str, bytes]) -> Finding:
    """The finding that exit status and output mean by these parameters.

    Raises Defer for any others; a status below 0 is that of a program killed by a signal.
    """
    patterns = _compiled(parameters)
    said = f"exit status {status}: {printable(output, 200)}" if output else f"exit status {status}"
    listed = [
        verdict
        for kind, verdict in LISTS.items()
        if status in _numbers(kind, parameters.get(kind, b""))
    ]
    if not listed or (listed[0] is UNSCANNABLE and _found("broken", patterns, output)):
        raise Defer(said)
    if listed[0] is UNSCANNABLE and _found("protected", patterns, output):
        return Finding(ENCRYPTED, (), said)
    names = _names(output, patterns) if listed[0] is not CLEAN else ()
    return Finding(listed[0], names, said)


def _found(name: str, patterns: Mapping[str, re.Pattern[bytes]], output: bytes) -> bool:
    return name in patterns and bool(patterns[name].search(output))


def _compiled(parameters: Mapping[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    import re

    patterns = {}
    for name in PATTERNS:
        if name in parameters:
            try:
                patterns[name] = re.compile(parameters[name], re.MULTILINE)
            except re.error as why:
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
