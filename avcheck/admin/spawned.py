"""Who starts avcheck-smtp, spawn(8) or a socket of systemd, and how mail comes to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from avcheck.address import Address
from avcheck.admin import peer
from avcheck.admin.calls import BY_SMTP, Call
from avcheck.admin.master_cf import Line, Pipe, port_number
from avcheck.admin.postfix import Postfix
from avcheck.admin.services import Service, of_call
from avcheck.settings import Settings

# The programs of Postfix that send by SMTP.
CLIENTS = ("smtp", "lmtp")


@dataclass(frozen=True)
class Spawn(Call):
    """What listens on a port and runs avcheck-smtp.

    line is the spawn(8) service; None for a unit of systemd, or for inetd, where service is
    the file with the account, and connections is how many of them that lets in, 0 for any
    number; None if avcheck-smtp itself says it.
    """

    port: str
    line: Line | None = None
    connections: int | None = None
    service: str = ""

    macro: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")  # spawn(8) has none
    values: ClassVar[Mapping[str, str]] = {}
    sender: ClassVar[str] = ""
    recipient: ClassVar[str] = ""
    spelling: ClassVar[str] = "{}"
    by_smtp: ClassVar[bool] = True
    where: ClassVar[str] = "argv= in master.cf, ExecStart= of the unit, or the line of inetd"


def found(postfix: Postfix) -> tuple[Spawn, ...]:
    """The services of master.cf, and the others that this Postfix hands mail to."""
    spawns = [spawn for line in postfix.lines if (spawn := _spawn_of(line)) is not None]
    for each in postfix.sockets:
        unit = Spawn(
            each.name,
            each.argv,
            each.user,
            each.group,
            each.port,
            None,
            each.connections,
            each.service,
        )
        used = any(after_queue(postfix, unit)) or any(before_queue(postfix, unit))
        if used and not any(line.port == each.port for line in postfix.lines):
            spawns.append(unit)
    return tuple(spawns)


def avchecks(postfix: Postfix) -> tuple[Service, ...]:
    """Every avcheck of this Postfix, by a pipe or by SMTP."""
    return tuple(map(of_call, (*postfix.pipes, *found(postfix))))


def checked(postfix: Postfix) -> list[Line]:
    """The services whose mail goes to an avcheck next."""
    return [line for call in (*postfix.pipes, *found(postfix)) for line in come_to(postfix, call)]


def come_to(postfix: Postfix, call: Call | None) -> list[Line]:
    """The services whose mail comes to this avcheck."""
    if isinstance(call, Spawn):
        return [*queued_for(postfix, call), *before_queue(postfix, call)]
    return queued_for(postfix, call)


def queued_for(postfix: Postfix, call: Call | None) -> list[Line]:
    """Those whose mail comes to it from the queue."""
    if isinstance(call, Spawn):
        return [client.line for client in after_queue(postfix, call)]
    if isinstance(call, Pipe):
        return [line for line in postfix.lines if postfix.filters(line, call)]
    return []


def line_of(call: Call | None) -> Line | None:
    """The service of master.cf that runs this avcheck; None if it is no such service."""
    return call.line if isinstance(call, (Pipe, Spawn)) else None


def at_once(postfix: Postfix, spawn: Spawn, settings: Settings) -> int:
    """How many connections are served at a time; 0: any number."""
    if spawn.line is not None:
        return postfix.processes(spawn.line)
    return settings.processes if spawn.connections is None else spawn.connections


def _spawn_of(line: Line) -> Spawn | None:
    if line.command != "spawn":
        return None
    user = ""
    for number, argument in enumerate(line.arguments):
        name, equals, value = argument.partition("=")
        if name == "user" and equals:
            user = value
        elif name == "argv" and equals:
            rest = line.arguments[number + 1 :]
            argv = (value, *rest) if value else rest
            if not argv or os.path.basename(argv[0]) != BY_SMTP:
                return None
            account, _, group = user.partition(":")
            return Spawn(line.name, argv, account, group, line.port, line)
    return None


def is_at(postfix: Postfix, where: str, spawn: Spawn) -> bool:
    """Whether a next hop or a proxy, as main.cf has it, is the socket of avcheck-smtp."""
    line = spawn.line
    if line is not None and line.type == "unix":
        return where in (f"unix:private/{line.name}", f"unix:public/{line.name}")
    host, port = endpoint(where)
    if not port or port != spawn.port:
        return False
    ours = host == postfix.value("myhostname").lower()
    return ours or peer.is_here(Address(host=host.encode("ascii", "replace")))


def endpoint(where: str) -> tuple[str, str]:
    """The host and the number of the port of a next hop or a proxy; empty if it has no port.

    A proxy on this host may be a port alone.
    """
    found = re.fullmatch(r"(?:inet:)?(?:\[?([^\[\]]*)\]?:|(?=\d+$))([\w-]+)", where.strip())
    return ((found[1] or "").lower(), port_number(found[2])) if found else ("", "")


@dataclass(frozen=True)
class Client:
    """A service by whose content_filter mail comes to avcheck-smtp.

    transport is what sends it; None if it is not in master.cf.  others are the next hops that
    it tries if the first one, which is avcheck-smtp, does not take it.
    """

    line: Line
    transport: Line | None
    others: tuple[str, ...] = ()


def after_queue(postfix: Postfix, spawn: Spawn) -> Iterator[Client]:
    """The services whose mail a client of Postfix sends to the port from the queue."""
    for line in postfix.lines:
        name, _, hop = postfix.filter(line).partition(":")
        # A port may have the same name.
        named = [each for each in postfix.lines if each.name == name.strip()]
        transport = next((each for each in named if each.type != "inet"), None)
        known = transport is None or transport.command in CLIENTS
        hops = tuple(hop.replace(",", " ").split())
        if name and known and any(is_at(postfix, each, spawn) for each in hops):
            others = tuple(each for each in hops if not is_at(postfix, each, spawn))
            yield Client(line, transport, others)


def before_queue(postfix: Postfix, spawn: Spawn) -> Iterator[Line]:
    """The smtpd(8) services that hand mail to the port before they take it."""
    for line in postfix.lines:
        if is_at(postfix, postfix.proxy(line), spawn):
            yield line
