"""Scanners that are programs: statuses and output; and the patterns of sock and command."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from avcheck.exits import Defer
from avcheck.scanners import command, command_parameters, sock
from avcheck.scanners.command_programs import PROGRAMS
from avcheck.verdict import CLEAN, VERDICTS, Finding
from tests.campaigns.fuzz.notation import FIELD, fields, mark, text
from tests.support.wire import settings

NAMES = sorted(PROGRAMS)

CLEAN_WORDS = re.compile(rb"OK\]?\n|No viruses were|\b0+(?: files?)?(?: out of\b|[\s,])")
INFECTED_WORDS = {
    b"clamscan": b": X FOUND\n",
    b"clamdscan": b": X FOUND\n",
    b"savscan": b"\n>>> Virus 'X' found",
    b"avastcmd": b"infected by: X",
    b"aveclient": b" INFECTED X",
    b"kavscanner": b" INFECTED X",
}
LIST = re.compile(rb"[ ,]*(\d{1,3})(?:-(\d{1,3}))?(?=[ ,]|$)")


def known_program(data: bytes) -> None:
    """WHICH, STATUS/OUTPUT: no program in the table is clean but with status 0 and its words."""
    which, output = (text(each) for each in fields(data, 2))
    name = NAMES[which[0] % len(NAMES)] if which else NAMES[0]
    status = which[1] if len(which) > 1 else -9
    (target,) = settings(b"-s", b"command:/usr/bin/" + name).scanners[-1].targets
    finding = _parsed(status, output, command_parameters.parameters_of(target))
    if finding is not None and finding.verdict is CLEAN:
        assert status == 0
        assert not finding.names
        assert PROGRAMS[name].unproved or CLEAN_WORDS.search(output)
        assert INFECTED_WORDS.get(name, b"\0not said\0") not in output


def any_program(data: bytes) -> None:
    """STATUS/OUTPUT/CLEAN/INFECTED/UNSCANNABLE: as the lists say, the worse one first."""
    which, output, clean, infected, unscannable = (text(each) for each in fields(data, 5))
    status = which[0] if which else -15
    parameters = {"clean": clean, "infected": infected, "unscannable": unscannable}
    finding = _parsed(status, output, parameters)
    lists = {name: _numbers(words) for name, words in parameters.items()}
    if any(numbers is None for numbers in lists.values()):
        return
    for name in ("infected", "unscannable", "clean"):
        if status in (lists[name] or ()):
            assert finding is not None
            assert finding.verdict.name == name
            return
    assert finding is None


def _parsed(status: int, output: bytes, parameters: dict[str, bytes]) -> Finding | None:
    try:
        finding = command.parse(status, output, parameters)
    except Defer:
        return None
    assert finding.verdict in VERDICTS
    assert finding.text.isprintable()
    return finding


def _numbers(words: bytes) -> set[int] | None:
    numbers: set[int] = set()
    words = re.sub(rb"[\t\n\v\f\r]", b" ", words).strip(b" ,")
    while words:
        found = LIST.match(words)
        if not found:
            return None
        numbers.update(range(int(found[1]), int(found[2] or found[1]) + 1))
        words = words[found.end() :].strip(b" ,")
    return numbers


def programs() -> Iterator[bytes]:
    outputs = (
        b"",
        b"/x: Eicar FOUND\n",
        b">>> Virus 'EICAR' found in file",
        b"Password protected file",
        b"x" * 300,
        b'name="a", threat="Eicar", action=""',
        b"No viruses\nLicence expired\n",
        b"\xff\0FOUND\n",
        b"a: OK\nInfected files: 0\n",
        b"/: OK\n",
        b"fd[10]: OK\n",
        b"1 file scanned in 1 second.\nNo viruses were discovered.\nEnd of Scan.\n",
        b"/\t[OK]\n/\t[infected by: X]\n",
    )
    for number in range(len(NAMES)):
        for status in (0, 1, 2, 3, 8, 24):
            yield bytes((number, status)) + mark(FIELD) + outputs[(number + status) % len(outputs)]
    yield b"" + mark(FIELD) + b"killed"


def lists() -> Iterator[bytes]:
    for status in (0, 1, 13, 255):
        for words in (
            (b"0", b"1", b"2"),
            (b"0-1", b"1,13", b"14-255"),
            (b"x", b"1", b""),
            (b"1-", b"0", b"-1"),
            (b"2-1", b"", b""),
        ):
            yield bytes((status,)) + mark(FIELD) + mark(FIELD).join((b"out", *words))


def patterns(data: bytes) -> None:
    """What cannot be a pattern is found out at once, and nothing is said about the rest."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # would be on standard error, before our own words
        for compile_them, name in ((sock.compiled, "clean"), (command_parameters.compiled, "name")):
            try:
                found = compile_them({"clean": b"x", name: data})
            except Defer as why:
                assert why.code == "4.3.5"
                assert why.text.isprintable()
            else:
                assert found[name].pattern == data


def expressions() -> Iterator[bytes]:
    yield from (
        b"OK.*",
        b"(",
        b"[[a]",
        b"a{99999999999999999999}",
        b"(?P<x>a)(?P=x)",
        b"(?i)x",
        b"\\",
        b"x{2,1}",
        b"[a--b]",
        b"(?<=a*)b",
        b"(?P<1>x)",
        b"(?#",
        b"\\8",
        b"(" * 60 + b")" * 60,
        b"a**",
        b"(?u)x",
        b"\xff\0",
        b"x(?i)",
    )
    yield b"(" * 900 + b")" * 900
