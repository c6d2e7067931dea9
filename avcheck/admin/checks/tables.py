"""The check of FILTER in the tables of Postfix: a stranger's mail may choose it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from avcheck.admin import doors, spawned
from avcheck.admin.checks import front
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

# The parameters whose tables may say FILTER (access(5), header_checks(5)).
ASKED = re.compile(
    r"smtpd_(client|helo|sender|relay|recipient|data|end_of_data|etrn)_restrictions"
    r"|(milter_|mime_|nested_)?header_checks|body_checks|milter_header_checks"
)

# A table in a parameter: a file, or one that only a lookup says something about.
INDEXED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
TABLE = re.compile(rf"\b({'|'.join(INDEXED)}|texthash|pcre|regexp|cidr):(/[^\s,{{}}]+)")
ACTION = re.compile(r"\bFILTER\s+([^\s,{}]+)", re.IGNORECASE)
OPAQUE = re.compile(
    r"\b(?:ldap|lmtp|memcache|mongodb|mysql|nis|nisplus|pgsql|socketmap|sqlite|tcp):[^\s,{}]+"
)

# The action, in the text of a table, or in a parameter that has the whole table in it.
COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)

# Bytes of a table that are read.
SIZE_MAX = 4 * 1024 * 1024


def filter_tables(look: Look) -> Iterator[Result]:
    """No table names a filter that leads past avcheck: it is for all recipients of a message."""
    postfix = look.postfix
    every = spawned.avchecks(postfix) if postfix is not None else ()
    if postfix is None or not every or look.service.call != every[0].call:
        return  # said once, and not for each avcheck
    bad = False
    for place, text in dict.fromkeys(_texts(postfix)):
        if text is None:
            bad = True
            said = f"{printable(place)} may have FILTER, and cannot be read for that"
            yield Result(SKIPPED, said, f"postmap -q KEY {printable(place)}")
            continue
        for target in sorted(set(ACTION.findall(COMMENT.sub("", text)))):
            if result := _judged(postfix, place, target):
                bad = True
                yield result
    if not bad:
        yield Result(OK, "no table that could be read has a FILTER past avcheck")


def _judged(postfix: Postfix, place: str, target: str) -> Result | None:
    """What to say of a filter that a table names, as transport:nexthop."""
    if doors.leads_to_avcheck(postfix, target):
        return None
    name = doors.service_of(target)
    line = next((each for each in postfix.lines if each.name == name and each.type != "inet"), None)
    text = f"{printable(place)} has FILTER {printable(target, 80)}"
    remedy = _corrected(place, target, front.way(postfix).partition("=")[2])
    if line is None:
        said = f"{text}, and {printable(name)} is not in master.cf: that mail waits"
        return Result(ERROR, said, remedy)
    remote = not doors.is_here(spawned.endpoint(target.partition(":")[2])[0])
    if front.goes_out(postfix, line, target) or (line.command in front.DELIVER and remote):
        said = f"{text}: a message with one such recipient goes round avcheck, unscanned"
        return Result(ERROR, said, remedy)
    said = f"{text}, and not avcheck: see that such mail comes there later"
    return Result(WARNING, said, remedy)


def _corrected(place: str, target: str, avcheck: str) -> str:
    """The commands that name avcheck in the place of the other filter."""
    kind, _, path = place.partition(":/")
    if not path:
        return f"in {printable(place)}: FILTER {avcheck}"
    change = f"sed -i '/FILTER/Is|{printable(target)}|{avcheck}|' /{printable(path)}"
    return f"{change} && postmap {printable(place)}" if kind in INDEXED else change


def _texts(postfix: Postfix) -> Iterator[tuple[str, str | None]]:
    """Each table of the parameters that may say FILTER, and its text; None if it is closed to us.

    The source of an indexed one.
    """
    for parameter, value in _values(postfix):
        yield parameter, value
        for opaque in OPAQUE.finditer(value):
            yield opaque[0], None
        for found in TABLE.finditer(value):
            try:
                fd = os.open(found[2], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                with open(fd, encoding="utf-8", errors="replace") as file:
                    yield found[0], file.read(SIZE_MAX)
            except OSError:
                yield found[0], None


def _values(postfix: Postfix) -> Iterator[tuple[str, str]]:
    """The parameters that may say FILTER, those of the services, too."""
    classes = doors.names(postfix.value("smtpd_restriction_classes"))
    seen = set()  # mime_header_checks are header_checks, unless they are others
    for settings in (postfix.parameters, *(line.overrides for line in postfix.lines)):
        for parameter, value in sorted(settings.items()):
            if (ASKED.fullmatch(parameter) or parameter in classes) and value not in seen:
                seen.add(value)
                yield parameter, value
