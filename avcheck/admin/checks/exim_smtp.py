"""What is wrong with an smtp transport that brings mail to avcheck-smtp."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin.checks.limits import FOREVER, ROOM
from avcheck.admin.doors import is_here
from avcheck.admin.exim_doors import seconds
from avcheck.admin.exim_options import ON, Transport, hosts_of, listed
from avcheck.admin.look import ERROR, OK, Look, Result
from avcheck.printable import printable

# The lengths of lines that are let through; Exim's own limit is 998.
LONG = 1_000_000

# What avcheck-smtp has not, by the option that wants it, and what becomes of mail then.
DEMANDS = {
    "hosts_require_tls": ("TLS", "waits"),
    "hosts_require_dane": ("DANE", "bounces"),
    "hosts_require_auth": ("AUTH", "waits"),
}


def wrong(look: Look, call: Transport) -> Iterator[Result]:
    """What is wrong with where an smtp transport sends mail, and what it does not send."""
    shown = f"transport {printable(call.name)}"
    hosts = [host for host in hosts_of(call.options) if not is_here(host)]
    if hosts:
        text = f"{shown}: mail goes to {printable(hosts[0])}, too, and is not scanned there"
        yield Result(ERROR, text, call.line("hosts", "127.0.0.1"))
    if call.options.get("fallback_hosts", ""):
        text = f"{shown}: while avcheck-smtp takes no mail, fallback_hosts get it, unscanned"
        yield Result(ERROR, text, call.line("fallback_hosts", ""))
    for name, router in look.exim.routers.items() if look.exim else ():
        if router.get("transport") == call.name and router.get("fallback_hosts", ""):
            text = f"router {printable(name)}: while avcheck-smtp takes no mail, fallback_hosts"
            remedy = f"remove fallback_hosts from the router {printable(name)}"
            yield Result(ERROR, f"{text} get it, unscanned", remedy)
    if call.options.get("allow_localhost") != ON:
        text = f"{shown} without allow_localhost: Exim does not send mail to its own host"
        yield Result(ERROR, f"{text}, and all of it waits", call.line("allow_localhost"))
    yield from _unknown(call)
    longest = call.options.get("message_linelength_limit", "998")
    if longest.isdigit() and 0 < int(longest) < LONG:
        text = f"{shown}: mail with a line of more than {longest} bytes bounces"
        yield Result(ERROR, text, call.line("message_linelength_limit", "1000000000"))


def _unknown(call: Transport) -> Iterator[Result]:
    """What it wants of avcheck-smtp that is not there."""
    shown = f"transport {printable(call.name)}"
    protocol = call.options.get("protocol", "smtp")
    if protocol == "lmtp":
        text = f"{shown}: avcheck-smtp speaks no LMTP, and all mail bounces"
        yield Result(ERROR, text, call.line("protocol", "smtp"))
    elif protocol != "smtp":
        text = f"{shown}: protocol = {printable(protocol)}: avcheck-smtp has no TLS, all mail waits"
        yield Result(ERROR, text, call.line("protocol", "smtp"))
    for option, (what, then) in DEMANDS.items():
        if any(map(is_here, listed(value := call.options.get(option, "")))) or "*" in value:
            text = f"{shown}: {option} wants {what}, which avcheck-smtp has not: all mail {then}"
            yield Result(ERROR, text, call.line(option, ""))


def waits(look: Look, call: Transport) -> Result:
    """Whether an smtp transport waits for the reply to a message."""
    text, deadline = call.options.get("final_timeout", "10m"), look.settings.deadline
    limit = seconds(text) or float("inf")
    if limit > deadline:
        return Result(OK, "avcheck-smtp gives up before Exim does")
    said = f"Exim waits {printable(text)} (final_timeout), and --deadline is {deadline:g}"
    remedy = call.line("final_timeout", f"{deadline + ROOM:.0f}s")
    if deadline == FOREVER:
        said, remedy = (
            f"avcheck-smtp never gives up, and Exim does after {printable(text)}",
            (f"deadline {limit / 2:.0f}"),
        )
    return Result(ERROR, f"{said}: mail may be delivered twice", remedy)
