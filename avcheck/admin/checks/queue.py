"""Checks of Postfix's queue: how long mail may wait there, and whether it waits for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin import amounts, spawned
from avcheck.admin.checks.limits import seconds
from avcheck.admin.doors import is_here, names, service_of
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

DAY = 86400.0

# How long mail waits, and what is bounced or thrown away then.
LIFETIMES = {
    "maximal_queue_lifetime": "mail that waits for the scanner bounces",
    "bounce_queue_lifetime": "a bounce that waits for the scanner is lost",
}


# Limits for each client in a minute, which this host needs to be excepted from.
LIMITS = (
    "smtpd_client_connection_rate_limit",
    "smtpd_client_message_rate_limit",
    "smtpd_client_recipient_rate_limit",
)


def queue_lifetime(look: Look) -> Iterator[Result]:
    """What waits for the scanner is tried again for some days."""
    postfix = look.postfix
    if postfix is None or not spawned.queued_for(postfix, look.service.call):
        return
    bad = False
    manager = postfix.service("qmgr")
    for name, what in LIFETIMES.items():
        text = postfix.value(name, manager, default="5d").strip()
        # The unit is a day where there is none.
        time = seconds(f"{text}d" if text.isdigit() else text)
        if time < DAY:
            bad = True
            when = f"after {amounts.age(time)}" if time else "at once"
            level = WARNING if time else ERROR
            said = f"{name} is {printable(text)}: {what} {when}"
            own = manager is not None and name in manager.overrides
            line = f"qmgr {manager.type} ... {manager.command}\n    -o " if manager and own else ""
            yield Result(level, said, f"{line}{name}=5d" if line else f"{name} = 5d")
    if not bad:
        yield Result(OK, "mail that waits is tried again for a day or longer")


def queue_runs(look: Look) -> Iterator[Result]:
    """No service that mail takes to avcheck and back is deferred, or switched off."""
    postfix, call = look.postfix, look.service.call
    if postfix is None or call is None:
        return
    bad = False
    deferred = names(postfix.value("defer_transports"))
    queued = spawned.queued_for(postfix, call)
    for name in sorted({service_of(postfix.filter(line)) for line in queued} & set(deferred)):
        bad = True
        others = ", ".join(each for each in deferred if each != name)
        text = f"defer_transports has {printable(name)}: mail to avcheck waits for `postqueue -f`"
        yield Result(ERROR, text, f"defer_transports = {printable(others)}".rstrip())
    for name in sorted({service_of(postfix.filter(line)) for line in queued}):
        for parameter in (f"{name}_transport_rate_delay", f"{name}_destination_rate_delay"):
            delay = seconds(postfix.value(parameter, default="0s"))
            if delay:
                bad = True
                text = f"{printable(parameter)}: one message in {amounts.age(delay)} is checked"
                yield Result(WARNING, text, f"{printable(parameter)} = 0s")
    for line in _used(look, postfix):
        if pattern := _switched_off(postfix, line):
            bad = True
            text = f"master_service_disable switches {printable(line.name)} off: all mail waits"
            rest = [
                each for each in names(postfix.value("master_service_disable")) if each != pattern
            ]
            remedy = f"master_service_disable = {printable(' '.join(rest))}".rstrip()
            yield Result(ERROR, text, remedy)
    for parameter in _few(look, postfix):
        bad = True
        text = f"{parameter} holds for what comes back from avcheck as well: mail waits"
        remedy = "smtpd_client_event_limit_exceptions = $mynetworks"
        yield Result(WARNING, text, remedy)
    if not bad:
        yield Result(OK, "nothing on the way to avcheck and back is switched off")


def _few(look: Look, postfix: Postfix) -> Iterator[str]:
    """The limits for each client that hold for this host on the way back."""
    settings = look.settings
    line = None if settings.program else postfix.listener(settings.server)
    if line is None or line.command != "smtpd":
        return
    exceptions = names(postfix.value("smtpd_client_event_limit_exceptions", line))
    if any(map(is_here, exceptions)):
        return
    for parameter in LIMITS:
        if postfix.number(parameter, line):
            yield parameter


def _used(look: Look, postfix: Postfix) -> Iterator[Line]:
    """The services of master.cf that mail needs on its way to this avcheck, and back."""
    call, settings = look.service.call, look.settings
    lines = [spawned.line_of(call)]
    for each in spawned.queued_for(postfix, call):
        lines.append(postfix.service(service_of(postfix.filter(each))))
    if not settings.program and not settings.no_inject:
        lines.append(postfix.listener(settings.server))
    yield from {id(line): line for line in lines if line is not None}.values()


def _switched_off(postfix: Postfix, line: Line) -> str:
    """The item of master_service_disable that is the service, by name and type or by type.

    The first one counts, and one with a ! leaves the service on.
    """
    kinds = (line.type, f"{line.name}/{line.type}", f"{line.name}.{line.type}")
    items = names(postfix.value("master_service_disable"))
    found = next((each for each in items if each.removeprefix("!") in kinds), "")
    return "" if found.startswith("!") else found
