"""Command lines, the file of --config, addresses: words of any bytes."""

from __future__ import annotations

import getopt
import re
from collections.abc import Iterator
from math import isnan

from avcheck import address
from avcheck.exits import TEMPFAIL, HelpRequest, Usage
from avcheck.options import arguments, reading
from avcheck.options.rows import OPTIONS
from avcheck.settings import Settings
from avcheck.verdict import VERDICTS
from tests.support.words import ARGUMENTS

# What separates two words: the one byte that none can have.
BETWEEN = b"\0"

SHORT = "".join(each.letter + (":" if each.argument else "") for each in OPTIONS if each.letter)
LONG = [each.name + ("=" if each.argument else "") for each in OPTIONS]

FILE = b"slots 3\nheader from the file\nscanner clamd:/run/file\non infected=discard\n"


def _load(path: bytes) -> bytes:
    return FILE


def command_line(data: bytes) -> None:
    """Words are settings, a request for help, or wrong usage; getopt splits them the same."""
    words = data.split(BETWEEN)
    try:
        settings = reading.read(words, _load)
    except HelpRequest:
        return
    except Usage as why:
        assert why.status == TEMPFAIL
        assert why.code.startswith("4.")
        assert why.text
        assert why.text.isprintable()
        return
    assert is_sound(settings)
    known, operands = getopt.getopt([word.decode("latin-1") for word in words], SHORT, LONG)
    given, rest = reading.parse_options(words)
    assert [word.encode("latin-1") for word in operands] == rest
    spelled = [(name.lstrip("-"), value.encode("latin-1")) for name, value in known]
    assert len(spelled) == len(given)
    for (name, value), each in zip(spelled, given, strict=True):
        assert name in (each.option.letter, each.option.name)
        assert value == each.argument


def is_sound(settings: Settings) -> bool:
    """What the rest of the program takes for granted."""
    assert settings.recipients
    for words in (settings.sender, *settings.recipients, *settings.original):
        assert not any(byte in words for byte in (b"\r", b"\n", b"\0"))
    assert all(settings.recipients)
    assert bool(settings.program) == (bool(settings.program) and settings.program[0][:1] == b"/")
    assert settings.server.path or (settings.server.host and settings.server.port)
    if settings.client:
        return True
    assert settings.spool.startswith(b"/")
    assert settings.scanners
    for scanner in (*settings.scanners, *settings.backups):
        assert scanner.targets
        for target in scanner.targets:
            assert scanner.row.program is (target.address is None)
            assert target.way in scanner.row.ways
    assert 0 < settings.need <= len(settings.scanners) + len(settings.backups)
    assert settings.timeout > 0 < settings.deadline
    assert not isnan(settings.timeout + settings.deadline + settings.canary)
    assert 0 <= settings.ok_status <= 255
    assert 0 <= settings.slots < 100_000 > settings.attempts >= 0
    assert not re.search(rb"[^ -~]", settings.header + settings.envid)
    assert settings.queue_id.decode("ascii").isprintable() or not settings.queue_id
    assert len(settings.queue_id) <= 100
    assert set(settings.on) == set(VERDICTS)
    for action, directory in settings.on.values():
        assert directory.startswith(b"/") is (action == "quarantine")
    return True


def command_lines() -> Iterator[bytes]:
    required = [b"-f", b"a@b", b"-s", b"clamd", b"-d", b"/spool"]
    yield BETWEEN.join([*required, b"x@y"])
    yield BETWEEN.join([b"-fa@b", b"-nvd/spool", b"--scanner=icap:h:1/x?a", b"--", b"-x"])
    yield BETWEEN.join([b"-c", b"-f", b"", b"-S", b"unix:/x", b"a", b"b"])
    yield BETWEEN.join([*required, b"--config", b"/x", b"--slots", b"7", b"x"])
    for option in OPTIONS:
        right, wrong = ARGUMENTS.get(option.attribute, ([b""], []))
        for value in (*right, *wrong[:4]):
            if BETWEEN not in value:
                words = [b"--" + option.name.encode()]
                yield BETWEEN.join([*required, *words, *([value] * bool(option.argument)), b"x@y"])
                if option.letter:
                    yield BETWEEN.join([*required, b"-" + option.letter.encode() + value, b"x@y"])


# The file of --config.

LINE = re.compile(rb"([a-z-]+)(?:\s([\s\S]*))?")

BASE = [b"-f", b"a@b", b"-d", b"/spool", b"-s", b"clamd:/run/line", b"--slots", b"7", b"x@y"]


def configuration(data: bytes) -> None:
    """A file is the options that its lines are, or wrong usage that names the line.

    And what is on the command line wins.
    """
    try:
        given = reading.parse_config(data, "FILE")
    except Usage as why:
        number = re.match(r"FILE, line (\d+): ", why.text)
        assert number, why.text
        assert 1 <= int(number[1]) <= data.count(b"\n") + 1
        given = []
    else:
        said = [line.strip() for line in data.split(b"\n")]
        said = [line for line in said if line and not line.startswith(b"#")]
        assert len(said) == len(given)
        for line, each in zip(said, given, strict=True):
            match = LINE.fullmatch(line)
            assert match, line
            assert match[1].decode() == each.option.name
            assert (match[2] or b"").strip() == each.argument
    try:
        settings = reading.read([b"--config", b"/x", *BASE], lambda name: data)
    except (Usage, HelpRequest) as why:
        assert why.status == TEMPFAIL
        return
    assert is_sound(settings)
    assert settings.slots == 7
    assert settings.sender == b"a@b"
    assert settings.recipients == (b"x@y",)
    assert [str(each.targets[0].address) for each in settings.scanners] == ["/run/line"]


def configurations() -> Iterator[bytes]:
    yield FILE
    yield b"# comment\n\n  \ttimeout\t60  \nmetrics /x y\nverbose\r\nno-inject"
    yield b"client\nfrom a@b\nconfig /y\nhelp\nversion"
    yield b"verbose yes\nheader\n"
    yield b"metrics /x\ty z\n"
    for option in OPTIONS:
        right, wrong = ARGUMENTS.get(option.attribute, ([b""], []))
        for value in (*right, *wrong[:3]):
            yield option.name.encode() + b" " + value + b"\n"


# Addresses, and what is in a WHERE.


def where(data: bytes) -> None:
    """A place is a path, or a host and a port, and is read back as it is spelled."""
    for port in (b"", b"3310"):
        try:
            place = address.parse(data, port)
        except Usage as why:
            assert why.text.isprintable()
            continue
        assert bool(place.path) != bool(place.host)
        assert bool(place.host) == bool(place.port)
        assert str(place).isprintable()
        assert address.parse(place.spelled(), b"") == place
        for part in (place.path, place.host, place.port):
            assert part in data or part in (address.LOCALHOST, port)
    for chrooted in (False, True):
        try:
            name, row, ways, rest = arguments.scanner(data)
            target = arguments.target(name, row, ways, rest, chrooted)
        except Usage as why:
            assert why.text.isprintable()
            continue
        assert target.way in row.ways
        assert not ways or target.way in ways or "tls" in ways
        for key, value in target.parameters.items():
            assert key.isprintable()
            assert isinstance(value, bytes)


def wheres() -> Iterator[bytes]:
    yield from ARGUMENTS["scanners"][0]
    yield from ARGUMENTS["scanners"][1]
    yield from (
        b"/run/x",
        b"unix:/run/x",
        b"[::1]:25",
        b"[::1]",
        b"a:1",
        b":1",
        b"a:",
        b"::1",
        b"unix:",
        b"1",
        b"[]:1",
        b"icap:h:1/x",
        b"sock:/run/x?clean=OK&send={path}%0A",
        b"command:/bin/x?clean=0&infected=1-3",
        b"savapi:/x?product=1&set=A%20B;C",
        b"drweb:h:1?zero=clean",
        b"icap+tls:h:11344/a?b=c",
        b"icap:/run/x:/avscan",
    )
