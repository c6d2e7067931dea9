"""The socket units of systemd that start avcheck-smtp.  No drop-in is read."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avcheck.admin.master_cf import port_number

# Where units are; the first one of a name counts.
PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")

# What systemd has for MaxConnections= where the unit says nothing.
CONNECTIONS = 64

# A unit has some 50 lines.
SIZE_MAX = 64 * 1024

# What may stand before the path in ExecStart= (systemd.service(5)).
PREFIXES = "@-:+!|"

Unit = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Socket:
    """A socket unit: its port, the command of its service and the account of that.

    connections is how many of them have a process at a time; 0 if the command accepts them
    itself.
    """

    name: str
    port: str
    argv: tuple[str, ...]
    user: str
    group: str
    connections: int


def sockets(program: str) -> Iterator[Socket]:
    """Those on TCP ports whose service runs a program of that name."""
    names = {os.path.basename(path) for place in PLACES for path in glob.glob(f"{place}/*.socket")}
    for name in sorted(names):
        unit = read(name)
        stem = name.removesuffix(".socket")
        each = unit.get(("Socket", "Accept"), "no").lower() in ("yes", "true", "on", "1")
        called = unit.get(("Socket", "Service"), f"{stem}@.service" if each else f"{stem}.service")
        service = read(called)
        argv = words(service.get(("Service", "ExecStart"), ""))
        port = port_number(unit.get(("Socket", "ListenStream"), "").rpartition(":")[2])
        if argv and os.path.basename(argv[0]) == program and port.isdigit():
            most = unit.get(("Socket", "MaxConnections"), str(CONNECTIONS))
            user = service.get(("Service", "User"), "root")
            group = service.get(("Service", "Group"), "")
            connections = int(most) if each and most.isdigit() else 0
            yield Socket(name, port, argv, user, group, connections)


def words(line: str) -> tuple[str, ...]:
    """The words of ExecStart=; none if it cannot be taken apart."""
    try:
        return tuple(shlex.split(line.lstrip(PREFIXES)))
    except ValueError:
        return ()


def read(name: str) -> Unit:
    """The settings of the unit by section and name, the last of each; none if it is not there."""
    for place in PLACES:
        try:
            with open(os.path.join(place, name), encoding="utf-8", errors="replace") as file:
                return parse(file.read(SIZE_MAX))
        except OSError:
            continue
    return {}


def parse(text: str) -> Unit:
    """The settings in the text of a unit (systemd.syntax(7))."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in "#;":
            name, _, value = line.partition("=")
            found[section, name.strip()] = value.strip()
    return found
