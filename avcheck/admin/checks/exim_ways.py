"""Checks of the ways of mail through an Exim: to avcheck, and back without coming round again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.admin.doors import PUBLIC, is_here
from avcheck.admin.exim_doors import EVERYWHERE, Door
from avcheck.admin.exim_instance import LOCAL, Exim, back_of
from avcheck.admin.exim_options import ON, Transport
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.printable import printable

# The port of the documents.
BACK = "10026"

# The commands of a filter that deliver without a router, the options without which Exim
# refuses them, and its comments.
SAVES = re.compile(r"\b(save|pipe)\b")
FILTERED = (
    "system_filter_file_transport",
    "system_filter_pipe_transport",
    "system_filter_directory_transport",
)
COMMENT = re.compile(r"#.*")
FILTER_MAX = 1024 * 1024


def looks(look: Look) -> tuple[Exim, Transport] | None:
    """The Exim, and its avcheck that is looked at."""
    call = look.service.call
    return (look.exim, call) if look.exim is not None and isinstance(call, Transport) else None


def exim_system_filter(look: Look) -> Iterator[Result]:
    """The filter that comes before all routers saves no mail, and hands none to a program."""
    looked = looks(look)
    if looked is None or looked[1] != looked[0].calls[0] or not looked[0].main.get("system_filter"):
        return
    main = looked[0].main
    path = main["system_filter"]
    ways = [name for name in FILTERED if main.get(name)]
    if ways and (command := _saves(path)):
        text = f"system_filter {printable(path)} may {command} mail ({ways[0]}), unscanned"
        yield Result(WARNING, text, f"grep -nwE 'save|pipe' {printable(path)}")
    else:
        yield Result(OK, f"system_filter {printable(path)} leaves mail to the routers")


def _saves(path: str) -> str:
    """The command by which the filter delivers mail itself, or may; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = SAVES.search(COMMENT.sub("", file.read(FILTER_MAX)))
    except OSError:
        return "save"  # the name may have variables in it
    return found[0] if found else ""


def exim_routes(look: Look) -> Iterator[Result]:
    """Mail from every way in goes to avcheck, as Exim itself says (exim -bt)."""
    looked = looks(look)
    if looked is None or looked[1] != looked[0].calls[0]:
        return  # said once, and not for each avcheck
    exim, call = looked
    bad = False
    for port in exim.fronts:
        where = f"mail that comes in at port {port}" if port != LOCAL else "mail of this host"
        hops = exim.hops.get(port)
        round_ = [hop for hop in hops or () if hop.transport not in exim.names]
        if hops is None or not _is_told(exim):
            bad = True
            yield Result(SKIPPED, f"where {where} goes is not known", "exim -bt postmaster")
        elif round_ or not hops:
            bad = True
            to = f"to router {printable(round_[0].router)}" if round_ else "nowhere"
            level = ERROR if port != LOCAL else WARNING  # as for Postfix: it is nobody else's
            yield Result(level, f"{where} goes {to}, round avcheck, unscanned", router(exim, call))
    if not bad:
        yield Result(OK, "mail from every way in goes to avcheck")


def _is_told(exim: Exim) -> bool:
    """Whether -bt tells of the routers that send mail to avcheck."""
    mine = [each for each in exim.routers.values() if each.get("transport") in exim.names]
    return all(each.get("address_test", ON) == ON for each in mine)


def exim_loop(look: Look) -> Iterator[Result]:
    """What comes back is not sent to avcheck again."""
    looked = looks(look)
    if looked is None or look.settings.no_inject:
        return
    exim, call = looked
    port = LOCAL if look.settings.program else back_of(call)
    way = "the program of -S" if look.settings.program else str(look.settings.server)
    if not look.settings.program and not _is_mine(look, exim, port):
        text = f"{way} is no port of this Exim; make sure that it does not lead back here"
        yield Result(WARNING, text, f"-S 127.0.0.1:{_ready(exim)}")
        return
    hops = exim.hops.get(port)
    if hops is None:  # then it is not avcheck's router, which looks nothing up
        yield Result(OK, f"{way} does not lead back to avcheck")
    elif any(hop.transport in exim.names for hop in hops):
        text = f"{way} leads back to avcheck: mail goes round, and bounces in the end"
        yield Result(ERROR, text, _other_way(exim, call, port))
    else:
        yield Result(OK, f"{way} does not lead back to avcheck")


def _is_mine(look: Look, exim: Exim, port: str) -> bool:
    host = look.settings.server.host.decode("ascii", "replace")
    return is_here(host) and any(door.port == port for door in exim.doors)


def _ready(exim: Exim) -> str:
    """A port of this host that mail comes back to without coming round; else the documented one."""
    made = [door.port for door in exim.doors if exim.is_way_back(door.port)]
    ready = [
        port
        for port in made
        if not any(hop.transport in exim.names for hop in exim.hops.get(port) or ())
    ]
    return next(iter([*ready, *made]), BACK)


def _other_way(exim: Exim, call: Transport, port: str) -> str:
    """How mail comes back without coming round; no port of others is told to go unfiltered."""
    if exim.is_way_back(port):
        return router(exim, call)
    return f"-S 127.0.0.1:{_ready(exim)}"


def router(exim: Exim, call: Transport) -> str:
    """avcheck's router as it has to be."""
    back = back_of(call)
    port = back if exim.is_way_back(back) else _ready(exim)
    return (
        f"{call.name}:  # begin routers, the first, in place of one of this name\n"
        "  driver = accept\n"
        f"  condition = ${{if !eq{{$received_port}}{{{port}}}}}\n"
        "  no_verify\n"
        "  no_expn\n"
        f"  transport = {call.name}"
    )


def exim_private(look: Look) -> Iterator[Result]:
    """Only this host can reach the port that mail comes back to: nobody scans what comes there."""
    looked = looks(look)
    if looked is None or look.settings.program or look.settings.no_inject:
        return
    exim, call = looked
    port = back_of(call)
    open_ = [door for door in exim.doors if door.port == port and not is_here(door.host)]
    hops = exim.hops.get(port) or ()
    if any(hop.transport in exim.names for hop in hops) or port in PUBLIC:
        return  # exim_loop says so
    if not any(door.port == port for door in exim.doors):
        text = f"nothing in local_interfaces has port {printable(port)}, which mail comes back to"
        yield Result(WARNING, text, _interfaces(exim, port))
    elif open_:
        text = f"{open_[0]} can be reached from elsewhere, and mail that comes there is not scanned"
        yield Result(ERROR, text, _interfaces(exim, port))
    else:
        yield Result(OK, f"port {port} can be reached from this host only")


def _interfaces(exim: Exim, port: str) -> str:
    """local_interfaces with that port for this host only, and with the others as they are."""
    others = [door for door in exim.doors if door.port != port]
    front = [_written(door) for door in others] or EVERYWHERE.removeprefix("<; ").split(" ; ")
    return f"local_interfaces = <; {' ; '.join([*front, f'127.0.0.1.{port}'])}"


def _written(door: Door) -> str:
    return f"[{door.host}]:{door.port}" if ":" in door.host else f"{door.host}.{door.port}"
