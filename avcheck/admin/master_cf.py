"""The services of Postfix's master.cf, and of pipe(8) those that run avcheck.

As postconf(1) takes the file apart; only a command's arguments are split here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from avcheck.admin.calls import Call, runs_avcheck

# The macros of pipe(8), and what they may stand for; all others: nothing.
MACROS = {
    "sender": "sender@example.org",
    "recipient": "recipient@example.org",
    "original_recipient": "recipient@example.org",
    "user": "recipient",
    "mailbox": "recipient",
    "domain": "example.org",
    "nexthop": "example.org",
    "queue_id": "4AVCHECKCTL",
    "size": "1000",
    "client_address": "192.0.2.1",
    "client_port": "25",
    "client_protocol": "ESMTP",
}
MACRO = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")

# An argument of a command in master.cf: in braces, or without blanks.
ARGUMENT = re.compile(r"\{([^{}]*)\}|(\S+)")

# The ports that have a name, as a service of master.cf may be called.
PORTS = {"smtp": "25", "smtps": "465", "submissions": "465", "submission": "587"}


@dataclass(frozen=True)
class Line:
    """A service of master.cf: how many processes it may have, its command, and the -o options.

    arguments are those of the command, as they stand in master.cf, and so are the columns
    unprivileged and chroot.
    """

    name: str
    type: str
    limit: str
    command: str
    overrides: Mapping[str, str]
    arguments: tuple[str, ...]
    unprivileged: str = "-"
    chroot: str = "-"

    @property
    def host(self) -> str:
        """The address that an inet service listens on; empty where none is named."""
        return self.name.rpartition(":")[0].strip("[]").lower() if self.type == "inet" else ""

    @property
    def port(self) -> str:
        """The number of the port that an inet service listens on; empty for others."""
        return port_number(self.name.rpartition(":")[2]) if self.type == "inet" else ""


@dataclass(frozen=True)
class Pipe(Call):
    """A pipe(8) service that runs avcheck.

    attributes are what stands before argv= (flags, user, null_sender, ...), argv the command
    after it as it stands in master.cf.
    """

    line: Line
    attributes: Mapping[str, str]

    macro: ClassVar[re.Pattern[str]] = MACRO
    values: ClassVar[Mapping[str, str]] = MACROS
    sender: ClassVar[str] = "sender"
    recipient: ClassVar[str] = "recipient"
    spelling: ClassVar[str] = "${{{}}}"
    where: ClassVar[str] = "argv= in master.cf"


def port_number(port: str) -> str:
    return PORTS.get(port, port)


def services(fields: str, overrides: str) -> tuple[Line, ...]:
    """The services in the output of `postconf -F`, with their options in that of `postconf -P`.

    A service that is in master.cf twice is here twice.
    """
    options: dict[tuple[str, str], dict[str, str]] = {}
    for name, type_, parameter, value in _settings(overrides):
        options.setdefault((name, type_), {})[parameter] = value
    found: list[dict[str, str]] = []
    for _, _, field_, value in _settings(fields):
        if field_ == "service":  # the first of the eight
            found.append({})
        found[-1][field_] = value
    return tuple(_line(each, options.get((each["service"], each["type"]), {})) for each in found)


def _settings(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Service, type, name and value in lines such as smtp/inet/command = smtpd."""
    for line in text.splitlines():
        name, value = setting(line)
        service, type_, last = name.rsplit("/", 2)
        yield service, type_, last, value


def setting(line: str) -> tuple[str, str]:
    """Name and value of a line that postconf(1) has written."""
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def _line(fields: Mapping[str, str], overrides: Mapping[str, str]) -> Line:
    command, *arguments = [
        found[1].strip() if found[1] is not None else found[2]
        for found in ARGUMENT.finditer(fields["command"])
    ]
    while arguments[:1] == ["-o"]:
        del arguments[:2]
    name, type_, limit = fields["service"], fields["type"], fields["process_limit"]
    columns = fields["unprivileged"], fields["chroot"]
    return Line(name, type_, limit, command, overrides, tuple(arguments), *columns)


def pipe_of(line: Line) -> Pipe | None:
    """The service as a pipe that runs avcheck, or None if it is another service."""
    if line.command != "pipe":
        return None
    attributes: dict[str, str] = {}
    for number, argument in enumerate(line.arguments):
        name, equals, value = argument.partition("=")
        if name == "argv" and equals:
            rest = line.arguments[number + 1 :]
            argv = (value, *rest) if value else rest
            user, _, group = attributes.get("user", "").partition(":")
            call = Pipe(line.name, argv, user, group, line, attributes)
            return call if runs_avcheck(argv) else None
        attributes[name] = value
    return None
