"""Checks of the ways in: whatever comes from elsewhere goes through avcheck."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin import doors, spawned
from avcheck.admin.doors import Door
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.postfix import FILTER, PROXY, Postfix
from avcheck.printable import printable

# The programs that deliver mail, or send it elsewhere, for good.
DELIVER = ("smtp", "lmtp", "local", "virtual")


def filter_used(look: Look) -> Iterator[Result]:
    """Mail goes through this service at all."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    users = [line.name for line in postfix.lines if postfix.filters(line, pipe)]
    text = f"no mail goes through {pipe.name} by content_filter"
    if users:
        yield Result(OK, f"mail from {', '.join(users)} goes through {pipe.name}")
    elif spawned.checked(postfix) or doors.by_transport(postfix):
        text += " (access tables may say FILTER, and transport tables its name)"
        yield Result(WARNING, text, f"grep -rn {printable(pipe.name)}: /etc/postfix")
    else:
        yield Result(ERROR, text, in_main_cf(postfix, f"{FILTER}={pipe.name}:dummy"))


def front_doors(look: Look) -> Iterator[Result]:
    """Each service that takes mail from outside hands it to avcheck; but for the way back."""
    postfix, call = look.postfix, look.service.call
    if postfix is None or call is None:
        return
    every = spawned.avchecks(postfix)
    if call != every[0].call:
        return  # said once, and not for each avcheck
    to, found = way(postfix), list(doors.doors(postfix))
    bad = [each for door in found if (each := _beside(postfix, to, door)) is not None]
    if doors.by_transport(postfix) and not all(door.checked for door in found):
        bad += _by_others(postfix)
    by_program = any(each.settings and each.settings.program for each in every)
    if not by_program and (local := _local(postfix, to)):  # what is handed back comes that way
        bad.append(local)
    yield from bad
    if not bad:
        yield Result(OK, "all mail from outside goes through avcheck")


def way(postfix: Postfix) -> str:
    """The setting that sends mail to avcheck: of its pipe, else as another service has it."""
    for pipe in postfix.pipes:
        return f"{FILTER}={pipe.name}:dummy"
    for spawn in spawned.found(postfix):
        for client in spawned.after_queue(postfix, spawn):
            return f"{FILTER}={printable(postfix.filter(client.line))}"
        for line in spawned.before_queue(postfix, spawn):
            return f"{PROXY}={printable(postfix.proxy(line))}"
        if postfix.service("scan") is None:
            return f"{PROXY}=127.0.0.1:{spawn.port}"
        return f"{FILTER}=scan:[127.0.0.1]:{spawn.port}"
    return ""


def _beside(postfix: Postfix, way: str, door: Door) -> Result | None:
    """What is wrong with the service if its mail goes round avcheck."""
    name = printable(door.line.name)
    if door.checked:
        return None
    if door.proxy:
        return _proxied(postfix, way, door)
    if doors.by_transport(postfix):
        return None
    remedy = _of_door(door, way) if door.own else in_main_cf(postfix, way, door)
    if not door.filter and doors.made_for_the_way_back(postfix, door.line) and _led_away(postfix):
        text = f"{name} is made for mail that comes back, and -S is no service of this Postfix"
        place = door.line.name if door.line.host else f"127.0.0.1:{door.line.port}"
        return Result(WARNING, text, f"-S {printable(place)}")
    if not door.filter:
        if _of_this_host(postfix, door) and _other_filters(postfix):
            text = f"mail from {name}, which only this host reaches, goes round avcheck"
            return Result(WARNING, f"{text}: is it another filter's way back?", remedy)
        return Result(ERROR, f"mail from {name} goes round avcheck, unscanned", remedy)
    if postfix.service(door.filter) is None:
        text = f"content_filter of {name} names {printable(door.filter)}, which is not in master.cf"
        return Result(ERROR, f"{text}: its mail waits", remedy)
    text = f"mail from {name} goes to {printable(door.filter)}, and not to avcheck"
    line = next((each for each in postfix.lines if each.name == door.filter), door.line)
    if goes_out(postfix, line, postfix.filter(door.line)):
        return Result(ERROR, f"{text}, unscanned", remedy)
    return Result(WARNING, f"{text}: see that it comes there later", remedy)


def _led_away(postfix: Postfix) -> bool:
    """Whether an avcheck hands mail to a server that is none of this Postfix."""
    every = [each.settings for each in spawned.avchecks(postfix)]
    return any(
        each and not each.program and not each.no_inject and postfix.listener(each.server) is None
        for each in every
    )


def goes_out(postfix: Postfix, line: Line, target: str) -> bool:
    """Whether what the transport sends to that next hop is delivered, and scanned by nobody.

    What is sent to a port of this host may come back, to a door that only this host reaches.
    """
    host, port = spawned.endpoint(target.partition(":")[2])
    if line.command not in DELIVER:
        return False
    if not port:
        return not target.partition(":")[2].strip()
    if not doors.is_here(host):
        return False
    back = {each.port for each in doors.ways_back(postfix)}
    others = any(_of_this_host(postfix, each) for each in doors.doors(postfix))
    return port in back or not others


def _of_door(door: Door, way: str) -> str:
    """The lines that send its mail there; a proxy would come before a content_filter."""
    without = f"\n    -o {PROXY}=" if door.proxy and not way.startswith(PROXY) else ""
    return f"{door.option}{way}{without}"


def _proxied(postfix: Postfix, way: str, door: Door) -> Result | None:
    """What to say of a service with a proxy that is not avcheck: it has no content_filter then."""
    name, proxy = printable(door.line.name), printable(door.proxy)
    back = {line.port for line in doors.ways_back(postfix)}
    if spawned.endpoint(door.proxy)[1] in back:
        text = f"mail from {name} goes to {proxy}, where checked mail comes back: unscanned"
        return Result(ERROR, text, _of_door(door, way))
    others = [each for each in doors.doors(postfix) if _of_this_host(postfix, each)]
    if others and all(each.checked for each in others):
        return None  # where its mail comes back from the proxy
    text = f"mail from {name} goes to the proxy {proxy}, and on from there"
    return Result(WARNING, f"{text}: see that it comes to avcheck", "avcheckctl setup postfix")


def _of_this_host(postfix: Postfix, door: Door) -> bool:
    """Whether only this host reaches the service."""
    return all(doors.is_here(each) for each in doors.listens_at(postfix, door.line))


def _other_filters(postfix: Postfix) -> bool:
    """Whether this Postfix has a filter or a proxy that is not avcheck."""
    return any(
        door.proxy or (door.filter and postfix.service(door.filter) is not None)
        for door in doors.doors(postfix)
        if not door.checked
    )


def _by_others(postfix: Postfix) -> Iterator[Result]:
    """The transports by which mail for some domains goes past that of default_transport."""
    avcheck = printable(postfix.value("default_transport"))
    for transport, domains in doors.other_transports(postfix):
        to = printable(postfix.value(transport), 80)
        text = f"mail for {domains} goes to {to} ({transport}), round avcheck, unscanned"
        yield Result(ERROR, text, f"{transport} = {avcheck}")


def _local(postfix: Postfix, way: str) -> Result | None:
    """What to say of mail of this host that goes round avcheck."""
    line = postfix.service("pickup")
    if line is None or doors.by_transport(postfix) or line in spawned.checked(postfix):
        return None
    own = f"pickup {line.type} ... pickup\n    -o {way}"
    if way.startswith(PROXY):  # which pickup(8) has none of
        own = "avcheckctl setup postfix --way pipe"
    name = doors.service_of(postfix.filter(line))
    if name and postfix.service(name) is None:
        text = f"content_filter of pickup names {printable(name)}, which is not in master.cf"
        return Result(ERROR, f"{text}: mail of this host waits", own)
    text = "mail of this host (sendmail(1), cron(8)) goes round avcheck, unscanned"
    return Result(WARNING, text, own)


def in_main_cf(postfix: Postfix, way: str, door: Door | None = None) -> str:
    """The line that has mail filtered, where the way back goes on taking mail unfiltered.

    In main.cf if each way back has a filter of its own, for all the doors; else below them.
    """
    parameter, _, value = way.partition("=")
    back = doors.ways_back(postfix)
    if back and all(parameter in line.overrides for line in back) and parameter == FILTER:
        return f"{parameter} = {value}"
    every = [door] if door is not None else doors.doors(postfix)
    lines = [_of_door(each, way) for each in every if not each.proxy]
    return "\n".join(lines) or "avcheckctl setup postfix"
