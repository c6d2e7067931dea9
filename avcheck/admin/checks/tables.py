"""The check of FILTER in the tables of Postfix: a stranger's mail may choose it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from avcheck.admin import doors, spawned
from avcheck.admin.checks import front
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.places import AS_ROOT
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

# The parameters whose tables may say FILTER (access(5), header_checks(5)).
ASKED = re.compile(
    r"smtpd_(client|helo|sender|relay|recipient|data|end_of_data|etrn)_restrictions"
    r"|(milter_|mime_|nested_)?header_checks|body_checks|milter_header_checks"
)

# A table in a parameter, and the action in a table's text, or in a static: or inline: one.
INDEXED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
TABLE = re.compile(rf"\b({'|'.join(INDEXED)}|texthash|pcre|regexp|cidr):(/[^\s,{{}}]+)")
STATIC = re.compile(r"\b(?:static|inline):\{([^{}]*)\}")
ACTION = re.compile(r"\bFILTER\s+([^\s,{}]+)", re.IGNORECASE)
COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)

# Bytes of a table that are read.
SIZE_MAX = 4 * 1024 * 1024

# The programs that deliver mail, or send it elsewhere, for good.
DELIVER = ("smtp", "lmtp", "local", "virtual")


def filter_tables(look: Look) -> Iterator[Result]:
    """No table names a filter that leads past avcheck: it is for all recipients of a message."""
    postfix = look.postfix
    every = spawned.avchecks(postfix) if postfix is not None else ()
    if postfix is None or not every or look.service.call != every[0].call:
        return  # said once, and not for each avcheck
    bad = False
    for place, text in sorted(set(_texts(postfix))):
        if text is None:
            bad = True
            yield Result(SKIPPED, f"{printable(place)} cannot be read for FILTER", AS_ROOT)
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
    if line.command in DELIVER and not _to_another(postfix, target):
        said = f"{text}: a message with one such recipient goes round avcheck, unscanned"
        return Result(ERROR, said, remedy)
    said = f"{text}, and not avcheck: see that such mail comes there later"
    return Result(WARNING, said, remedy)


def _to_another(postfix: Postfix, target: str) -> bool:
    """Whether the next hop is on this host, and not our way back: another filter, as it seems."""
    host, port = spawned.endpoint(target.partition(":")[2])
    back = {line.port for line in doors.ways_back(postfix)}
    return bool(port) and doors.is_here(host) and port not in back


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
        for found in STATIC.finditer(value):
            yield parameter, found[1]
        for found in TABLE.finditer(value):
            if not os.path.exists(found[2]):
                continue  # Postfix says so, in its log
            try:
                with open(found[2], encoding="utf-8", errors="replace") as file:
                    yield found[0], file.read(SIZE_MAX)
            except PermissionError:
                yield found[0], None
            except OSError:
                continue


def _values(postfix: Postfix) -> Iterator[tuple[str, str]]:
    """The parameters that may say FILTER, those of the services, too."""
    lines: tuple[Line | None, ...] = (None, *postfix.lines)
    for line in lines:
        settings = postfix.parameters if line is None else line.overrides
        for parameter, value in settings.items():
            if ASKED.fullmatch(parameter):
                yield parameter, value
