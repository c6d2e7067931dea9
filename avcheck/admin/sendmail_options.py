"""What `sendmail -d37.8 -bt` prints of a configuration, and of its mailers those that run avcheck.

As sendmail takes it apart: =M has the mailers, the flag of the debugger the options.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from avcheck.admin.calls import Call, runs_avcheck
from avcheck.admin.master_cf import port_number

# The equates of a mailer by their letter: P, S, R, U, F, L, E, M, T, A.
Equates = Mapping[str, str]

MAILER = re.compile(r"^(?:> )*mailer \d+ \((\S+)\): (P=.*)$")
EQUATE = re.compile(r"\b([PSRMUFLETr])=(\S*) (?=[PSRMUFLETrA]=)")
DEFINED = re.compile(r"M([^\s,]+),(.*)")
UNTOLD = re.compile(r"(?:^|[,\s])([W/])=([^,\s]+)")
OPTION = re.compile(r"^setoption (\w+) \(.*?\)((?:\.[\w-]+)*)=(.*)$")
PARSED = re.compile(r"^(?:> )*mailer (\S+), (?:host (\S*), )?user ")
TRIED = re.compile(r"^Rcode = \d+, addr = ?(.*)$", re.MULTILINE)
COMPLAINT = re.compile(r"^(?:> )*\S+: line \d+: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Mailer(Call):
    """A mailer that runs avcheck, with its equates."""

    equates: Equates

    macro: ClassVar[re.Pattern[str]] = re.compile(r"\$(?:\{(\w+)\}|(\w))")
    values: ClassVar[Mapping[str, str]] = {
        "g": "sender@example.org",
        "u": "recipient@example.org",
        "i": "6ALAD9S8013968",
    }
    sender: ClassVar[str] = "g"
    recipient: ClassVar[str] = "u"
    spelling: ClassVar[str] = "${}"
    where: ClassVar[str] = "P= and A= of the mailer"

    @property
    def flags(self) -> str:
        return self.equates.get("F", "")


@dataclass(frozen=True)
class Door:
    """An address and a port that sendmail takes mail at; the address is empty for each."""

    host: str
    port: str


def mailers(text: str) -> dict[str, dict[str, str]]:
    """The equates of each mailer, by its name."""
    found = {}
    for line in text.splitlines():
        if match := MAILER.match(line):
            head, _, argv = match[2].partition(" A=")
            equates = {one[1]: one[2] for one in EQUATE.finditer(f"{head} A=")}
            found[match[1]] = equates | {"A": argv}
    return found


def untold(configuration: str) -> dict[str, dict[str, str]]:
    """W= and /= of each mailer, by its name: what no sendmail tells, its file does."""
    whole = re.sub(r"\n[ \t]+", " ", configuration)
    found = (match for line in whole.splitlines() if (match := DEFINED.match(line)))
    heads = {match[1]: re.split(r"[,\s]A=", match[2])[0] for match in found}
    return {name: dict(UNTOLD.findall(head)) for name, head in heads.items()}


def mailer_of(name: str, equates: Equates) -> Mailer | None:
    """The mailer if it runs avcheck, else None."""
    argv = (equates.get("P", ""), *equates.get("A", "").split()[1:])  # the first is its name
    if not runs_avcheck(argv):
        return None
    user, _, group = equates.get("U", "").partition(":")
    return Mailer(name, argv, _user(user), _group(group), equates)


def _user(number: str) -> str:
    """The account of that number; empty if it is none (-1)."""
    try:
        return pwd.getpwuid(int(number)).pw_name
    except (ValueError, KeyError, OverflowError):
        return ""


def _group(number: str) -> str:
    try:
        return grp.getgrgid(int(number)).gr_name
    except (ValueError, KeyError, OverflowError):
        return ""


def options(text: str) -> dict[str, str]:
    """The last value of each option; a part of one (Timeout.queuereturn) has its own name."""
    return {
        f"{match[1]}{match[2] or ''}": match[3].strip()
        for line in text.splitlines()
        if (match := OPTION.match(line))
    }


def doors(text: str) -> tuple[Door, ...]:
    """Where it takes mail: an option that may be there several times."""
    found = []
    for line in text.splitlines():
        match = OPTION.match(line)
        if match is None or match[1] != "DaemonPortOptions":
            continue
        parts = dict(_part(each) for each in match[3].split(","))
        found.append(Door(parts.get("A", ""), port_number(parts.get("P", "smtp"))))
    return tuple(found)


def _part(text: str) -> tuple[str, str]:
    """Name and value of a part; the name by its first letter, as sendmail takes it."""
    name, _, value = text.partition("=")
    return name.strip()[:1].upper(), value.strip()


def parsed(text: str) -> Iterator[tuple[str, str]]:
    """Mailer and host of each address that /parse was asked about."""
    for line in text.splitlines():
        if match := PARSED.match(line):
            yield match[1], match[2] or ""
