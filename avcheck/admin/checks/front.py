"""Checks of the ways in: whatever comes from elsewhere goes through avcheck."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin import doors
from avcheck.admin.doors import Door
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable


def filter_used(look: Look) -> Iterator[Result]:
    """Mail goes through this service at all."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    users = [line.name for line in postfix.lines if postfix.filters(line, pipe)]
    others = [each for each in postfix.pipes if each != pipe]
    used = any(postfix.filters(line, each) for line in postfix.lines for each in others)
    text = f"no mail goes through {pipe.name} by content_filter"
    if users:
        yield Result(OK, f"mail from {', '.join(users)} goes through {pipe.name}")
    elif used or doors.by_transport(postfix):
        text += " (access tables may say FILTER, and transport tables its name)"
        yield Result(WARNING, text, f"grep -rn {printable(pipe.name)}: /etc/postfix")
    else:
        yield Result(ERROR, text, _in_main_cf(postfix, pipe.name))


def front_doors(look: Look) -> Iterator[Result]:
    """Each service that takes mail from outside hands it to avcheck; but for the way back."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None or pipe != postfix.pipes[0]:
        return  # said once, and not for each avcheck
    found = [_beside(postfix, pipe.name, door) for door in doors.doors(postfix)]
    bad = [each for each in [*found, _local(look, postfix, pipe.name)] if each is not None]
    yield from bad
    if not bad:
        yield Result(OK, "all mail from outside goes through avcheck")


def _beside(postfix: Postfix, avcheck: str, door: Door) -> Result | None:
    """What is wrong with the service if its mail goes round avcheck."""
    name, own = printable(door.line.name), f"{door.option}content_filter={avcheck}:dummy"
    if door.filter in {pipe.name for pipe in postfix.pipes} or doors.by_transport(postfix):
        return None
    if door.proxy:
        text = f"mail from {name} goes to the proxy {printable(door.proxy)}, and on from there"
        return Result(WARNING, f"{text}: see that it comes to avcheck", "avcheckctl setup postfix")
    remedy = own if door.own else _in_main_cf(postfix, avcheck, door)
    if not door.filter:
        here = all(doors.is_here(each) for each in doors.listens_at(postfix, door.line))
        if here and _other_filters(postfix):
            text = f"mail from {name}, which only this host reaches, goes round avcheck"
            return Result(WARNING, f"{text}: is it another filter's way back?", remedy)
        return Result(ERROR, f"mail from {name} goes round avcheck, unscanned", remedy)
    if postfix.service(door.filter) is None:
        text = f"content_filter of {name} names {printable(door.filter)}, which is not in master.cf"
        return Result(ERROR, f"{text}: its mail waits", remedy)
    text = f"mail from {name} goes to {printable(door.filter)}, and not to avcheck"
    return Result(WARNING, f"{text}: see that it comes there later", remedy)


def _other_filters(postfix: Postfix) -> bool:
    """Whether this Postfix has a filter or a proxy that is not avcheck."""
    avchecks = {pipe.name for pipe in postfix.pipes}
    return any(
        door.proxy
        or (
            door.filter and door.filter not in avchecks and postfix.service(door.filter) is not None
        )
        for door in doors.doors(postfix)
    )


def _local(look: Look, postfix: Postfix, avcheck: str) -> Result | None:
    """What to say of mail of this host that goes round avcheck."""
    line = postfix.service("pickup")
    if line is None or look.settings.program or doors.by_transport(postfix):
        return None  # what sendmail(1) hands back comes that way
    name = doors.service_of(postfix.value(doors.FILTER, line))
    if name in {pipe.name for pipe in postfix.pipes}:
        return None
    if name and postfix.service(name) is None:
        text = f"content_filter of pickup names {printable(name)}, which is not in master.cf"
        return Result(ERROR, f"{text}: mail of this host waits", _own(line.type, avcheck))
    text = "mail of this host (sendmail(1), cron(8)) goes round avcheck, unscanned"
    return Result(WARNING, text, _own(line.type, avcheck))


def _own(type_: str, avcheck: str) -> str:
    return f"pickup {type_} ... pickup\n    -o content_filter={avcheck}:dummy"


def _in_main_cf(postfix: Postfix, avcheck: str, door: Door | None = None) -> str:
    """The line that has mail filtered, where the way back goes on taking mail unfiltered.

    In main.cf if each way back has a filter of its own, for all the doors; else below them.
    """
    back = doors.ways_back(postfix)
    if back and all(doors.FILTER in line.overrides for line in back):
        return f"content_filter = {avcheck}:dummy"
    every = [door] if door is not None else list(doors.doors(postfix))
    return "\n".join(f"{each.option}content_filter={avcheck}:dummy" for each in every)
