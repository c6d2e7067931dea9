"""Checks of a service that runs avcheck-smtp, after the queue or before it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck import policy, run
from avcheck.address import Address
from avcheck.admin import doors, inetd, peer, spawned
from avcheck.admin.checks import limits
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line, port_number
from avcheck.admin.postfix import FILTER, PROXY, Postfix
from avcheck.admin.spawned import Spawn
from avcheck.printable import printable
from avcheck.smtpd import hop, session
from avcheck.verdict import ENCRYPTED, INFECTED, UNSCANNABLE

# What Postfix has where main.cf does not say another time.
PROXY_TIMEOUT, SERVER_TIMEOUT, DONE_TIMEOUT, SPAWN_TIMEOUT = 100.0, 300.0, 600.0, 1000.0

# What a session may take beyond --session and --deadline.
BEYOND = session.TRANSACTION_MAX + hop.RESET_MAX + run.GRACE

# A shorter session is not worth its Python.
SHORT = 60.0

# What becomes of mail that comes back, by the parameter that brings it.
GOES_ROUND = {
    FILTER: "mail goes round until it bounces",
    PROXY: "a message takes one connection after the other, and is not accepted",
}

# The verdicts that are to be refused before the queue.
REFUSED = (INFECTED, ENCRYPTED, UNSCANNABLE)


def of(look: Look) -> tuple[Postfix, Spawn] | None:
    call = look.service.call
    return (look.postfix, call) if look.postfix and isinstance(call, Spawn) else None


def behind_of(look: Look, postfix: Postfix) -> Line | None:
    """The smtpd(8) of this Postfix that the mail is passed on to."""
    settings = look.settings
    line = None if settings.program else postfix.listener(settings.server)
    return line if line is not None and line.command == "smtpd" else None


def shown(line: Line) -> str:
    """The first line of the service, for a line with an option below."""
    return f"{printable(line.name)} {line.type} ... {line.command}\n    -o "


def smtp_used(look: Look) -> Iterator[Result]:
    """Mail comes to it, from the queue or before that."""
    if (found := of(look)) is None:
        return
    postfix, spawn = found
    clients = list(spawned.after_queue(postfix, spawn))
    proxied = [line.name for line in spawned.before_queue(postfix, spawn)]
    for client in clients:
        if client.transport is None:
            name = printable(postfix.value(FILTER, client.line).partition(":")[0])
            text = f"content_filter of {client.line.name} names {name}, which is not in master.cf"
            yield Result(ERROR, f"{text}: its mail waits", "avcheckctl setup postfix --way smtp")
            return
    if names := [*(each.line.name for each in clients), *proxied]:
        yield Result(OK, f"mail from {', '.join(names)} goes through {spawn.name}")
    else:
        text = f"no mail comes to {spawn.name}: neither content_filter nor {PROXY} names it"
        yield Result(ERROR, text, _to_it(postfix, spawn))


def _to_it(postfix: Postfix, spawn: Spawn) -> str:
    """How mail comes there: as it was meant to."""
    proxied = [door for door in doors.doors(postfix) if door.proxy and not door.checked]
    if proxied:
        return "\n".join(f"{door.option}{PROXY}=127.0.0.1:{spawn.port}" for door in proxied)
    if postfix.service("scan") is None:
        return "avcheckctl setup postfix --way smtp"
    return f"content_filter = scan:[127.0.0.1]:{spawn.port}"


def smtp_loop(look: Look) -> Iterator[Result]:
    """What is passed on does not come back to it."""
    if (found := of(look)) is None:
        return
    postfix, spawn = found
    settings = look.settings
    if settings.program:
        line = postfix.service("pickup")
        if line is None or os.path.basename(settings.program[0]) != b"sendmail":
            return
    else:
        line = postfix.listener(settings.server)
    way = "sendmail" if settings.program else str(settings.server)
    if not settings.program and _is_itself(spawn, settings.server, line):
        text = f"the next hop {way} is avcheck-smtp itself: each connection makes another one"
        yield Result(ERROR, text, "sendmail 127.0.0.1:10026")
    elif line is None:
        text = f"{way} is no service of this Postfix; make sure that it does not lead back here"
        yield Result(WARNING, text, "avcheckctl setup postfix --way smtp")
    elif back := _leads_back(postfix, spawn, line):
        text = f"{back} of {line.name} leads back to avcheck-smtp: {GOES_ROUND[back]}"
        made = doors.made_for_the_way_back(postfix, line)
        remedy = f"{shown(line)}{back}=" if made else "sendmail 127.0.0.1:10026"
        yield Result(ERROR, text, remedy)
    else:
        yield Result(OK, f"{way} does not lead back to avcheck-smtp")


def _is_itself(spawn: Spawn, server: Address, line: Line | None) -> bool:
    """Whether the server is the socket that avcheck-smtp is started by; line is there, if any."""
    if spawn.line is not None:
        return line is spawn.line
    port = server.port.decode("ascii", "replace")
    return not server.path and peer.is_here(server) and port_number(port) == spawn.port


def _leads_back(postfix: Postfix, spawn: Spawn, line: Line) -> str:
    """The parameter by which mail that the service takes comes to avcheck-smtp again."""
    if any(each.line is line for each in spawned.after_queue(postfix, spawn)):
        return FILTER
    return PROXY if any(each is line for each in spawned.before_queue(postfix, spawn)) else ""


def smtp_times(look: Look) -> Iterator[Result]:
    """It gives up before those on both sides do, and before spawn(8) kills it."""
    if (found := of(look)) is None:
        return
    postfix, spawn = found
    bad = False
    for result in _too_short(look, postfix, spawn):
        bad = True
        yield result
    if not bad:
        yield Result(OK, f"it gives up after {look.settings.deadline:g} s, before the others do")


def _too_short(look: Look, postfix: Postfix, spawn: Spawn) -> Iterator[Result]:
    deadline = look.settings.deadline
    for line in spawned.before_queue(postfix, spawn):
        limit = _seconds(postfix, "smtpd_proxy_timeout", line, PROXY_TIMEOUT)
        if limit <= deadline:
            text = f"{line.name} waits {limit:g} s (smtpd_proxy_timeout), and --deadline is"
            said = f"{text} {deadline:g}: it may refuse for now what has been delivered"
            yield Result(ERROR, said, f"deadline {_below(limit)}")
            break
    for client in spawned.after_queue(postfix, spawn):
        if client.transport is None:
            continue
        limit = _seconds(postfix, "smtp_data_done_timeout", client.transport, DONE_TIMEOUT)
        if limit <= deadline:
            text = f"{client.transport.name} waits {limit:g} s (smtp_data_done_timeout), and"
            said = f"{text} --deadline is {deadline:g}: mail may be delivered twice"
            yield Result(ERROR, said, f"deadline {_below(limit)}")
        break
    behind = behind_of(look, postfix)
    if behind is not None:
        limit = _seconds(postfix, "smtpd_timeout", behind, SERVER_TIMEOUT)
        if limit <= deadline:
            text = f"{behind.name} waits {limit:g} s (smtpd_timeout), and --deadline is"
            said = f"{text} {deadline:g}: a scan that takes longer is in vain"
            yield Result(WARNING, said, f"{shown(behind)}smtpd_timeout={deadline + 50:.0f}s")
    yield from _killed(look, postfix, spawn)


def _killed(look: Look, postfix: Postfix, spawn: Spawn) -> Iterator[Result]:
    """Whether a session may last until spawn(8) ends it."""
    if spawn.line is None:
        return  # systemd kills nobody for that
    text, name = limits.limit_of(postfix, spawn.line)
    limit = limits.seconds(text) or SPAWN_TIMEOUT
    settings = look.settings
    needs = settings.session + settings.deadline + BEYOND
    if needs < limit:
        return
    text = f"spawn(8) kills it after {limit:g} s ({name}), in the middle of a message: a session"
    said = f"{text} takes up to --session {settings.session:g} + --deadline {settings.deadline:g}"
    left = limit - BEYOND - settings.deadline
    longer = "3600s" if needs == limits.FOREVER else f"{needs + limits.ROOM:.0f}s"
    remedy = f"session {left - left % 10:.0f}" if left >= SHORT else f"{name} = {longer}"
    yield Result(ERROR, f"{said} + {BEYOND:.0f} s", remedy)


def _below(limit: float) -> str:
    return f"{limit * 0.9:.0f}"


def _seconds(postfix: Postfix, name: str, line: Line, usual: float) -> float:
    """A time of Postfix; what is usual where it is none, as a default that has a condition."""
    return limits.seconds(postfix.value(name, line)) or usual


def smtp_processes(look: Look) -> Iterator[Result]:
    """There is a limit for connections at a time, and the next hop takes as many."""
    if (found := of(look)) is None:
        return
    postfix, spawn = found
    at_once = spawned.at_once(postfix, spawn, look.settings)
    if not at_once or at_once > 100:
        text = f"{at_once or 'any number of'} messages may be checked at a time"
        fewer = f"{printable(spawn.name)} inet n  n  n  -  10  spawn"
        if spawn.line is None:
            fewer = _fewer(spawn)
        yield Result(WARNING, text, fewer)
        return
    behind = behind_of(look, postfix)
    back = postfix.processes(behind) if behind is not None else 0
    if behind is not None and back and back < at_once:
        text = f"{behind.name} takes {back} connections, and {at_once} come"
        remedy = f"{printable(behind.name)} inet n  -  n  -  {2 * at_once}  smtpd"
        yield Result(ERROR, text, remedy)
    else:
        yield Result(OK, f"{at_once} connections are served at a time")


def _fewer(spawn: Spawn) -> str:
    """How those are limited that are not Postfix's."""
    if spawn.connections is None:
        return "processes 10"
    if spawn.service == inetd.INETD:  # which knows no limit at a time
        return (
            f"{spawn.name.partition(' ')[0]} stream tcp wait ...   # inetd.conf; and: processes 10"
        )
    return "instances = 10" if spawn.name.endswith("of xinetd") else "MaxConnections=10"


def smtp_refuses(look: Look) -> Iterator[Result]:
    """Before the queue what is infected is refused, and not taken."""
    if (found := of(look)) is None or not any(spawned.before_queue(*found)):
        return
    on = look.settings.on
    taken = [each.name for each in REFUSED if on[each][0] in (policy.HANDLE, policy.QUARANTINE)]
    if taken:
        text = f"before the queue {', '.join(taken)} mail could be refused, and is taken"
        lines = "\n".join(f"on {name}=reject" for name in taken)
        yield Result(WARNING, f"{text}: its sender hears nothing", lines)
    else:
        yield Result(OK, "what is infected is not taken")
