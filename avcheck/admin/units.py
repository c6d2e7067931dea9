"""The socket units of systemd that start avcheck-smtp, with their drop-ins (systemd.unit(5))."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avcheck.admin.master_cf import port_number

# Where units are; the first one of a name counts.
PLACES = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)

# What systemd has for MaxConnections= where the unit says nothing.
CONNECTIONS = 64

# A unit has some 50 lines.
SIZE_MAX = 64 * 1024

# What may stand before the path in ExecStart= (systemd.service(5)).
PREFIXES = "@-:+!|"

# The values of a setting, in their order; an empty one takes away those before it.
Unit = Mapping[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Socket:
    """What listens on a port: its name, the command that it starts, and the account of that.

    connections is how many of them have a process at a time, 0 for any number; None if the
    command accepts them itself.  service is where the account is named.
    """

    name: str
    port: str
    argv: tuple[str, ...]
    user: str
    group: str
    connections: int | None
    service: str


def sockets(program: str) -> Iterator[Socket]:
    """The units for TCP ports whose service runs a program of that name."""
    names = {os.path.basename(path) for place in PLACES for path in glob.glob(f"{place}/*.socket")}
    for name in sorted(names):
        unit = read(name)
        stem = name.removesuffix(".socket")
        each = _last(unit, "Socket", "Accept", "no").lower() in ("yes", "true", "on", "1")
        called = _last(unit, "Socket", "Service", f"{stem}@.service" if each else f"{stem}.service")
        service = read(called)
        argv = words(_last(service, "Service", "ExecStart"))
        if not argv or os.path.basename(argv[0]) != program:
            continue
        most = _last(unit, "Socket", "MaxConnections", str(CONNECTIONS))
        user, group = (_last(service, "Service", name) for name in ("User", "Group"))
        connections = int(most) if each and most.isdigit() else None
        for where in unit.get(("Socket", "ListenStream"), ()):
            port = port_number(where.rpartition(":")[2])
            if port.isdigit():
                yield Socket(name, port, argv, user or "root", group, connections, called)


def words(line: str) -> tuple[str, ...]:
    """The words of ExecStart=; none if it cannot be taken apart."""
    try:
        return tuple(shlex.split(line.lstrip(PREFIXES)))
    except ValueError:
        return ()


def read(name: str) -> Unit:
    """The settings of the unit by section and name; none if it is not there."""
    texts = [text for place in PLACES if (text := _text(os.path.join(place, name))) is not None]
    return parse("\n".join([*texts[:1], *drop_ins(name)])) if texts else {}


def drop_ins(name: str) -> Iterator[str]:
    """The texts of the drop-ins of the unit, in the order in which they count.

    Of a file name in several directories, that of the first place and the longest name counts.
    """
    stem, _, kind = name.rpartition(".")
    dashes = [number for number, letter in enumerate(stem) if letter == "-"]
    directories = [name, *(f"{stem[: each + 1]}.{kind}" for each in reversed(dashes)), kind]
    found: dict[str, str] = {}
    for directory in directories:
        for place in PLACES:
            for path in glob.glob(f"{place}/{directory}.d/*.conf"):
                found.setdefault(os.path.basename(path), path)
    for _, path in sorted(found.items()):
        yield _text(path) or ""


def _text(path: str) -> str | None:
    """What is in the file; None if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(SIZE_MAX)
    except OSError:
        return None


def _last(unit: Unit, section: str, name: str, default: str = "") -> str:
    return (unit.get((section, name)) or [default])[-1]


def parse(text: str) -> Unit:
    """The settings in the text of a unit (systemd.syntax(7))."""
    found: dict[tuple[str, str], list[str]] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in "#;":
            name, _, value = line.partition("=")
            values = found.setdefault((section, name.strip()), [])
            values.append(value.strip())
            if not value.strip():
                values.clear()
    return found
