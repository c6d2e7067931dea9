"""Checks of the routers of an Exim: what goes past avcheck's, and what that changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.admin.checks.exim_ways import looks, router
from avcheck.admin.exim_conditions import certain
from avcheck.admin.exim_instance import Exim
from avcheck.admin.exim_options import OFF, ON, Options, Transport
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.printable import printable

# The options of a router by which mail goes past it, and what they are unless it does.
NARROW = {
    "driver": "accept",
    "check_local_user": OFF,
    "domains": "",
    "ignore_target_hosts": "",
    "local_part_prefix": "",
    "local_part_suffix": "",
    "local_parts": "",
    "require_files": "",
    "senders": "",
    "unseen": OFF,
    "verify_only": OFF,
}

# Those whose value is expanded, and where that may fail, so that the router is passed over.
FAILING = ("address_data", "set")
FAIL = re.compile(r"[\s}]fail\s*}")

# Those by which a redirect router delivers mail itself.
DELIVERING = ("file_transport", "pipe_transport", "directory_transport")

# Those that change what avcheck gets.
CHANGE = {
    "errors_to": "changes the sender, to whom bounces go",
    "headers_add": "adds header lines, before the message is scanned",
    "headers_remove": "removes header lines, before the message is scanned",
}


def exim_router(look: Look) -> Iterator[Result]:
    """A router sends all mail to this transport, and no other comes before it."""
    looked = looks(look)
    if looked is None:
        return
    exim, call = looked
    mine = [name for name, each in exim.routers.items() if each.get("transport") == call.name]
    if not mine:
        text = f"no router has the transport {printable(call.name)}: no mail goes to avcheck"
        yield Result(ERROR, text, router(exim, call))
        return
    bad = list(_past(exim, call, mine))
    for name in mine:
        bad += _changes(name, exim.routers[name])
    yield from bad
    if not bad:
        yield Result(OK, f"router {printable(mine[0])} is the first, and sends all mail to avcheck")


def _past(exim: Exim, call: Transport, mine: list[str]) -> Iterator[Result]:
    """What goes past avcheck's routers, or comes before them."""
    remedy = router(exim, call)
    # One for some mail is all right where another takes the rest.
    last = each if (each := _last(exim)) in mine else ""
    for name in _before(exim, last or mine[0]):
        text = f"router {printable(name)} comes before {printable(last or mine[0])}"
        yield Result(ERROR, f"{text}, and what it takes goes round avcheck, unscanned", remedy)
    for option in _narrow(exim, exim.routers[last]) if last else ():
        text = f"router {printable(last)}: with {option} not all mail goes to avcheck"
        yield Result(ERROR, text, remedy)
    for name in mine:
        if name != last and exim.routers[name].get("unseen", OFF) != OFF:
            text = f"router {printable(name)}: with unseen mail goes on, too, and arrives twice"
            yield Result(ERROR, text, f"remove unseen from the router {printable(name)}")
    if exim.routers[mine[-1]].get("verify_recipient") != OFF:
        text = f"router {printable(mine[-1])} without no_verify: every address exists, for callers"
        yield Result(WARNING, text, remedy)


def _last(exim: Exim) -> str:
    """The router that takes all mail that comes so far: the first of that kind, or the last."""
    avchecks = [name for name, each in exim.routers.items() if each.get("transport") in exim.names]
    whole = [name for name in avchecks if not any(_narrow(exim, exim.routers[name]))]
    return (whole or avchecks[-1:])[0]


def _before(exim: Exim, mine: str) -> Iterator[str]:
    """The routers that take mail before avcheck's does, to something else."""
    names = list(exim.routers)
    for name in names[: names.index(mine)]:
        each = exim.routers[name]
        avchecks = each.get("transport") in exim.names
        verifies = ON in (each.get("verify_only"), each.get("expn_only"))
        # What an alias stands for begins with the first router again, unless another is named.
        expands = each.get("driver") == "redirect" and not any(map(each.get, DELIVERING))
        expands &= each.get("redirect_router", "") in ("", *names[: names.index(mine) + 1])
        if not (avchecks or verifies or expands or _is_for_what_came_back(exim, each)):
            yield name


def _is_for_what_came_back(exim: Exim, each: Options) -> bool:
    condition = each.get("condition", "")
    return bool(condition) and all(certain(condition, port) is False for port in exim.fronts)


def _narrow(exim: Exim, each: Options) -> Iterator[str]:
    """The options of avcheck's router by which mail goes past it."""
    for option, value in NARROW.items():
        if each.get(option, value) != value:
            yield f"{option} = {printable(each[option], 80)}"
    for option in FAILING:
        if FAIL.search(each.get(option, "")):
            yield f"{option} = {printable(each[option], 80)}"
    condition = each.get("condition", "")
    # Where it is a no, exim -bt says where mail goes.
    if condition and any(certain(condition, port) is None for port in exim.fronts):
        yield f"condition = {printable(condition, 200)}"


def _changes(name: str, each: Options) -> Iterator[Result]:
    """What a router of avcheck's does to the message, or to its envelope."""
    for option, what in CHANGE.items():
        if each.get(option, ""):
            text = f"router {printable(name)}: {option} {what}"
            yield Result(ERROR, text, f"remove {option} from the router {printable(name)}")
