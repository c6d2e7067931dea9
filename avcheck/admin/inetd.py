"""The lines of inetd(8), and the services of xinetd, that start avcheck-smtp."""

from __future__ import annotations

import glob
import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress

from avcheck.admin import units
from avcheck.admin.units import SIZE_MAX, Socket

INETD = "/etc/inetd.conf"
XINETD = ("/etc/xinetd.conf", "/etc/xinetd.d/*")

# Stands before the program, and is given its path (tcpd(8)).
WRAPPER = "tcpd"

# A service, or the defaults, of xinetd.
BLOCK = re.compile(r"^\s*(?:service\s+(\S+)|(defaults))\s*\{(.*?)^\s*\}", re.MULTILINE | re.DOTALL)


def listeners(program: str) -> tuple[Socket, ...]:
    """What listens on a port of this host, and starts a program of that name; of systemd, too."""
    return (*units.sockets(program), *sockets(program))


def sockets(program: str) -> Iterator[Socket]:
    """What listens on a TCP port and starts a program of that name."""
    for line in _text(INETD).splitlines():
        if (found := _of_line(line)) is not None and _runs(found, program):
            yield found
    texts = [_text(path) for pattern in XINETD for path in sorted(glob.glob(pattern))]
    blocks = [block for text in texts for block in BLOCK.finditer(text)]
    usual = dict(each for block in blocks if block[2] for each in _settings(block[3]))
    for block in blocks:
        found = _of_block(block[1], usual | dict(_settings(block[3]))) if block[1] else None
        if found is not None and _runs(found, program):
            yield found


def _runs(found: Socket, program: str) -> bool:
    return found.port.isdigit() and os.path.basename(found.argv[0]) == program


def _of_line(line: str) -> Socket | None:
    """A line of inetd.conf: [address:]port, type, protocol, wait, user, program, arguments."""
    words = line.partition("#")[0].split()
    if len(words) < 7 or words[1] != "stream":
        return None
    where, _, _, wait, account, path, *argv = words
    if os.path.basename(path) == WRAPPER:
        path = argv[0]
    user, _, group = account.replace(":", ".").partition(".")
    connections = 0 if wait.startswith("nowait") else None
    name = f"{where} of inetd"
    return Socket(name, _port(where), (path, *argv[1:]), user, group, connections, INETD)


def _of_block(name: str, settings: Mapping[str, str]) -> Socket | None:
    if settings.get("disable", "no") == "yes" or not settings.get("server"):
        return None
    try:
        arguments = shlex.split(settings.get("server_args", ""))
    except ValueError:
        return None
    argv = (settings["server"], *arguments)
    if os.path.basename(argv[0]) == WRAPPER:
        argv = argv[1:] or argv
    most = settings.get("instances", "")
    connections = int(most) if most.isdigit() else 0
    return Socket(
        f"{name} of xinetd",
        _port(settings.get("port", name)),
        argv,
        settings.get("user", "root"),
        settings.get("group", ""),
        None if settings.get("wait") == "yes" else connections,
        "xinetd.conf",
    )


def _settings(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            yield name.strip().rstrip("+-").strip(), value.strip()


def _port(where: str) -> str:
    """The number of the port, which may stand there by its name in services(5)."""
    port = where.rpartition(":")[2]
    with suppress(OSError):
        return port if port.isdigit() else str(socket.getservbyname(port, "tcp"))
    return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(SIZE_MAX)
    except OSError:
        return ""
