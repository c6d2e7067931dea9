"""Whether an address can be one, before a message is released to it.

Only what no mail system can deliver to is refused: the rest is for the server to judge.
"""

from __future__ import annotations

import ipaddress
import re

import click

# RFC 5321 4.5.3.1: octets.
LOCAL_MAX = 64
DOMAIN_MAX = 255

# A label of a domain (RFC 1035 2.3.1), in UTF-8 or with an underscore as Postfix has it, too
# (valid_hostname.c): no dash at its ends.
LABEL = re.compile(r"(?!-)[A-Za-z0-9_\u0080-\U0010ffff-]{1,63}(?<!-)")

# Of a local part that is not quoted: no space, no control character, none of RFC 5321's
# specials.
LOCAL = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;@\\,\"]+")
QUOTED = re.compile(r"\"(?:[^\x00-\x1f\x7f\"\\]|\\[\x20-\x7e])*\"")

# Nobody's, for ever (RFC 6761 6.4).
INVALID = "invalid"


def parameter(
    context: click.Context, parameter: click.Parameter, addresses: tuple[str, ...]
) -> tuple[str, ...]:
    """The addresses of an option of click; raises click.BadParameter if one is not valid."""
    for address in addresses:
        if reason := error(address):
            raise click.BadParameter(f"{address!a} is no address: {reason}")
    return addresses


def error(address: str) -> str:
    """Why nobody can have the address; empty if somebody can.

    One without a domain is an account of this host.
    """
    local, at, domain = address.rpartition("@")
    if not at:
        local = address
    if not (LOCAL.fullmatch(local) or QUOTED.fullmatch(local)):
        return "there is nothing before the @" if not local else "what is before the @"
    if len(local.encode("utf-8", "surrogateescape")) > LOCAL_MAX:
        return f"more than {LOCAL_MAX} octets before the @"
    return _domain_error(domain) if at else ""


def _domain_error(domain: str) -> str:
    if domain.startswith("["):
        return "" if _is_literal(domain) else "no IP address in the brackets"
    if not domain:
        return "there is nothing after the @"
    if len(domain.encode("utf-8", "surrogateescape")) > DOMAIN_MAX:
        return f"more than {DOMAIN_MAX} octets after the @"
    labels = domain.split(".")
    for label in labels:
        if not LABEL.fullmatch(label):
            return f"{label!a} in the domain" if label else "an empty label in the domain"
    if labels[-1].lower() == INVALID:
        return f"there is no domain in .{INVALID}"
    return ""


def _is_literal(domain: str) -> bool:
    """Whether it is an address literal (RFC 5321 4.1.3): [192.0.2.1], [IPv6:2001:db8::1]."""
    inside = domain[1:-1] if domain.endswith("]") else ""
    try:
        if inside.lower().startswith("ipv6:"):
            ipaddress.IPv6Address(inside[5:])
        else:
            ipaddress.IPv4Address(inside)
    except ValueError:
        return False
    return True
