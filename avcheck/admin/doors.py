"""The ways into a Postfix, where mail goes from each, and the way back from avcheck."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from avcheck.admin import spawned
from avcheck.admin.master_cf import Line
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import FILTER, Postfix, lookup
from avcheck.printable import printable

# Ports that the world sends mail to: no way back is there.
PUBLIC = ("25", "465", "587", "2525")

# Where mail goes for the domains of a parameter, by the name of that (ADDRESS_CLASS_README).
CLASSES = {
    "local_transport": "mydestination",
    "virtual_transport": "virtual_mailbox_domains",
    "relay_transport": "relay_domains",
}

RESTRICTIONS = "smtpd_recipient_restrictions"


@dataclass(frozen=True)
class Door:
    """A service that takes mail from elsewhere; filter is the service that mail goes to next.

    own tells that the filter is in a -o of the service, and not in main.cf.  proxy is
    where smtpd(8) hands mail to before it has taken it.  checked tells that either is avcheck.
    """

    line: Line
    filter: str
    own: bool
    proxy: str
    checked: bool

    @property
    def option(self) -> str:
        """The beginning of the lines that give it an option."""
        return f"{printable(self.line.name)} {self.line.type} ... {self.line.command}\n    -o "


def service_of(text: str) -> str:
    """The service in a transport:nexthop."""
    return text.partition(":")[0].strip()


def doors(postfix: Postfix) -> Iterator[Door]:
    """Every way in but pickup(8), which takes the mail of this host, and the ways back."""
    back, checked = ([id(line) for line in each(postfix)] for each in (ways_back, spawned.checked))
    for line in postfix.lines:
        if line.command in ("smtpd", "qmqpd") and id(line) not in back:
            name, proxy = service_of(postfix.filter(line)), postfix.proxy(line)
            yield Door(line, name, FILTER in line.overrides, proxy, id(line) in checked)


def ways_back(postfix: Postfix) -> list[Line]:
    """The services that take checked mail back, of each avcheck of this Postfix.

    One that is in master.cf twice is here twice: with a filter it would be a loop.
    """
    found = []
    for service in spawned.avchecks(postfix):
        settings = service.settings
        if settings is None or settings.program or settings.no_inject:
            continue
        line = postfix.listener(settings.server)
        if line is not None and line.port not in PUBLIC:
            found += [each for each in postfix.lines if each.name == line.name]
    return found


def listens_at(postfix: Postfix, line: Line) -> list[str]:
    """The addresses of an inet service, as they are written there or in inet_interfaces."""
    host = line.name.rpartition(":")[0]
    return [host] if host else names(postfix.value("inet_interfaces", line, default="all"))


def is_here(name: str) -> bool:
    """Whether an address, or a network, is this host's alone."""
    plain = name.strip("[]").replace("[", "").replace("]", "")
    return plain in ("localhost", "loopback-only") or plain.startswith(
        ("127.", "::1", "::ffff:127.")
    )


def names(value: str) -> list[str]:
    """The items of a list in main.cf."""
    return value.replace(",", " ").split()


def made_for_the_way_back(postfix: Postfix, line: Line) -> bool:
    """Whether the service is a reinjection listener and nothing else.

    Only this host reaches it, at no port of the world's, and it has restrictions of its own.
    """
    return (
        line.command == "smtpd"
        and line.type == "inet"
        and line.port not in PUBLIC
        and RESTRICTIONS in line.overrides
        and all(is_here(name) for name in listens_at(postfix, line))
    )


def by_transport(postfix: Postfix) -> str:
    """The parameter by which this instance sends mail to avcheck, in place of a content_filter.

    Empty if there is none.
    """
    if _for_everybody(postfix):
        return "transport_maps"
    name = "default_transport"
    return name if leads_to_avcheck(postfix, postfix.value(name)) else ""


def _for_everybody(postfix: Postfix) -> bool:
    """Whether the transport map sends all mail to avcheck that it has no other transport for."""
    for table in names(postfix.value("transport_maps")):
        with suppress(Trouble):
            if leads_to_avcheck(postfix, lookup(postfix.directory, table, "*")):
                return True
    return False


def leads_to_avcheck(postfix: Postfix, transport: str) -> bool:
    """Whether transport:nexthop is an avcheck."""
    name, _, hop = transport.partition(":")
    if name.strip() in {pipe.name for pipe in postfix.pipes}:
        return True
    return any(spawned.is_at(postfix, hop.strip(), spawn) for spawn in spawned.found(postfix))


def other_transports(postfix: Postfix) -> Iterator[tuple[str, str]]:
    """Each parameter by which mail goes past the avcheck of default_transport, and for whom."""
    if _for_everybody(postfix):
        return
    for transport, domains in CLASSES.items():
        whose = names(postfix.value(domains))
        if whose and not leads_to_avcheck(postfix, postfix.value(transport)):
            yield transport, domains
