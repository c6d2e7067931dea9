"""What an Exim says of itself: its configuration, and where it sends mail that comes in where.

Everything comes from exim(8) itself (`-bP`, `-bt`, `-be`, `-brt`, `-bh`); no file of it is parsed.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from avcheck.admin import asking, exim_program, inetd, places
from avcheck.admin.calls import BY_SMTP
from avcheck.admin.doors import PUBLIC, is_here
from avcheck.admin.exim_doors import Door, doors_of, size_of
from avcheck.admin.exim_options import (
    Options,
    Transport,
    blocks,
    options,
    smtp_transport_of,
    transport_of,
)
from avcheck.admin.exim_program import Said, ask
from avcheck.admin.exim_session import MESSAGES, Session, dialogue, session
from avcheck.admin.master_cf import port_number
from avcheck.admin.services import of_call

# Whom mail is for when it is asked where it goes: this host, and elsewhere.
ADDRESSES = ("postmaster", "postmaster@example.net")

# Where mail of this host comes from, which no port takes.
LOCAL = "0"

ROUTED = re.compile(r"^ +router = (\S+?)(?:, transport = (\S+))?$", re.MULTILINE)


@dataclass(frozen=True)
class Hop:
    """Where a router sends mail; the transport is empty where it has none."""

    router: str
    transport: str = ""


@dataclass(frozen=True)
class Exim:
    """An instance: its options, routers in their order, and the transports that run avcheck.

    hops are where mail goes that comes in at a port (LOCAL: from this host), by port; where
    Exim did not say it in time, None.  sizes are the largest message by port, 0 for any.
    sessions are what becomes of each of MESSAGES at a port that mail comes back to,
    where that is known.
    """

    main: Options
    routers: Mapping[str, Options]
    transports: Mapping[str, Options]
    calls: tuple[Transport, ...]
    configuration: str = ""
    doors: tuple[Door, ...] = ()
    hops: Mapping[str, tuple[Hop, ...] | None] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[tuple[str, str], Session] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The transports that run avcheck."""
        return {call.name for call in self.calls}

    @property
    def backs(self) -> set[str]:
        """The ports that mail comes back to, of each avcheck, but for those of others."""
        return {port for call in self.calls if self.is_way_back(port := back_of(call))}

    @property
    def fronts(self) -> list[str]:
        """The ports of all other mail, and what is in place of one for that of this host."""
        return [*sorted({door.port for door in self.doors} - self.backs), LOCAL]

    def is_way_back(self, port: str) -> bool:
        """Whether the port is there for mail that comes back, and for nothing else.

        Only this host reaches it, and the main section treats it otherwise than the others.
        """
        hosts = [door.host for door in self.doors if door.port == port]
        own = f"{{$received_port}}{{{port}}}"
        private = bool(hosts) and all(map(is_here, hosts)) and port not in PUBLIC
        return private and any(own in value for value in self.main.values())

    @property
    def size(self) -> int:
        """The largest message that is taken from elsewhere; 0: any, or not known."""
        front = [size for port, size in self.sizes.items() if not self.is_way_back(port)]
        return max(front) if front and 0 not in front else 0


def calls_of(transports: Mapping[str, Options]) -> tuple[Transport, ...]:
    """Those of the transports that run avcheck, or send mail to it."""
    sockets = inetd.listeners(BY_SMTP)
    found = (
        transport_of(name, each) or smtp_transport_of(name, each, sockets)
        for name, each in transports.items()
    )
    return tuple(each for each in found if each is not None)


def back_of(call: Transport) -> str:
    """The port that the call hands clean mail back to; empty if it is to a program."""
    settings = of_call(call).settings
    if settings is None or settings.program or settings.no_inject or settings.server.path:
        return ""
    return port_number(settings.server.port.decode("ascii", "replace"))


def read(configuration: str = "") -> Exim:
    """The instance with that configuration file, or the usual one; raises Trouble."""
    if configuration:
        files = [os.path.dirname(os.path.abspath(configuration)), configuration]
        places.refuse_strangers(files, "Exim", "name its file: --exim=/etc/exim4/exim4.conf")
    path = ask(configuration, "-bP", "configure_file").strip()
    main = options(ask(configuration, "-bP"))
    routers = blocks(ask(configuration, "-bP", "routers"))
    transports = blocks(ask(configuration, "-bP", "transports"))
    calls = calls_of(transports)
    found = doors_of(main)
    backs = {port for call in calls if (port := back_of(call))}
    ports = dict.fromkeys([*(door.port for door in found), *sorted(backs), LOCAL])
    ours = sorted(backs & {door.port for door in found})
    said = _answers(configuration, main, list(ports), ours, _protocol(calls))
    hops = {port: _hops([said["route", port, address] for address in ADDRESSES]) for port in ports}
    sizes = {door.port: size_of(said["size", door.port, ""].text) for door in found}
    retries = {address: said["retry", "", address].text for address in ADDRESSES}
    sessions = {
        (port, name): session(each.text, each.errors)
        for port in ours
        for name in MESSAGES
        if not (each := said["session", port, name]).late
    }
    return Exim(main, routers, transports, calls, path, found, hops, sizes, retries, sessions)


def _answers(
    configuration: str, main: Options, ports: list[str], backs: list[str], protocol: str
) -> dict[tuple[str, str, str], Said]:
    """Where mail goes, how large it may be, when it is tried again, and what is said to some.

    All of it is asked side by side.
    """
    words: dict[tuple[str, str, str], list[str]] = {}
    given = {}
    for port in ports:
        for address in ADDRESSES:
            words["route", port, address] = [*_from(port, protocol), "-bt", address]
        limit = main.get("message_size_limit", "50M")
        words["size", port, ""] = [*_from(port, ""), "-be", limit]
    for address in ADDRESSES:
        full = address if "@" in address else f"{address}@{main.get('qualify_domain', '')}"
        words["retry", "", address] = ["-brt", full]
    for port in backs:
        for name, message in MESSAGES.items():
            words["session", port, name] = ["-oMi", f"127.0.0.1.{port}", "-bh", "127.0.0.1"]
            given["session", port, name] = dialogue(message)
    questions: dict[tuple[str, str, str], Callable[[], object]] = {
        key: functools.partial(exim_program.said, configuration, each, given.get(key, b""))
        for key, each in words.items()
    }
    answers = asking.side_by_side(questions)
    return {key: each.get() for key, each in answers.items()}  # type: ignore[misc] # Said


def _from(port: str, protocol: str) -> list[str]:
    """The options that say where a message came in, as for `exim -bs` (-oMa, -oMi).

    Nobody has authenticated there (-oMai), as whoever runs exim has.
    """
    if port == LOCAL:
        return ["-oMr", protocol] if protocol else []
    return ["-oMa", "127.0.0.1.1025", "-oMi", f"127.0.0.1.{port}", "-oMai", ""]


def _protocol(calls: tuple[Transport, ...]) -> str:
    """The protocol that a program of -S names, by which a router may know what comes back."""
    for call in calls:
        settings = of_call(call).settings
        words = list(map(os.fsdecode, settings.program or ())) if settings is not None else []
        if "-oMr" in words[:-1]:
            return words[words.index("-oMr") + 1]
    return ""


def _hops(said: list[Said]) -> tuple[Hop, ...] | None:
    """Where the mail goes, for each of the addresses, each hop once; None if one is not known."""
    if any(each.late for each in said):
        return None
    found = [Hop(one[1], one[2] or "") for each in said for one in ROUTED.finditer(each.text)]
    return tuple(dict.fromkeys(found))
