"""How Exim is configured here: by a file of one's own, or in one of Debian's two ways."""

from __future__ import annotations

import re
from pathlib import Path

ETC = Path("/etc/exim4")

# Which blocks of docs/exim.md are configuration, and where they go.
OWN = {
    "main": "the main section, before the first `begin`",
    "acl": "after `begin acl`",
    "router": "first after `begin routers`",
    "transport": "after `begin transports`",
}
SPLIT = {
    "interfaces": "/etc/exim4/update-exim4.conf.conf: in place of its dc_local_interfaces",
    "localmacros": "/etc/exim4/conf.d/main/000_avcheck: the whole file",
    "acl": "/etc/exim4/conf.d/acl/10_avcheck: the whole file",
    "router": "/etc/exim4/conf.d/router/010_avcheck: the whole file",
    "transport": "/etc/exim4/conf.d/transport/40_avcheck: the whole file",
}
ONE_FILE = {
    "interfaces": SPLIT["interfaces"],
    **{
        part: f"/etc/exim4/avcheck/{part}: the whole file; section 2 includes it"
        for part in ("localmacros", "acl", "router", "transport")
    },
}

# The commands of docs/exim.md that are for Debian's configuration, and for one of its ways.
DEBIAN_ONLY = ("debian-split", "debian-one-file", "debian-interfaces", "debian-on")

# The list of addresses in the block "interfaces", which is Debian's but for the last.
INTERFACES = "127.0.0.1 ; ::1 ; 127.0.0.1.10026"

# What an empty list means, and the one that Exim has without any.
EVERYWHERE = "0.0.0.0 ; ::0"

# Debian's file is read by its shell: the last one counts.
SETTING = re.compile(r"""^(dc_\w+)=(["']?)(.*?)\2\s*$""", re.MULTILINE)


def files(etc: Path) -> dict[str, str]:
    """The blocks that this machine's Exim needs, and where each goes."""
    settings = _settings(etc)
    if settings is None:
        return OWN
    return SPLIT if settings.get("dc_use_split_config", "").lower() == "true" else ONE_FILE


def commands_elsewhere(etc: Path) -> tuple[str, ...]:
    """The blocks of commands that are for another way than this machine's."""
    here = files(etc)
    if here is OWN:
        return DEBIAN_ONLY
    return ("debian-one-file",) if here is SPLIT else ("debian-split",)


def interfaces(port: str, etc: Path) -> str:
    """The addresses that Exim listens on here, as Debian spells them, and the second port."""
    second = f"127.0.0.1.{port}"
    listed = (_settings(etc) or {}).get("dc_local_interfaces", "").strip().rstrip("; ")
    listed = listed or EVERYWHERE
    # As update-exim4.conf(8) and Exim take the list apart.
    separator = listed[1] if listed.startswith("<") else ";" if ";" in listed else ":"
    if second in map(str.strip, listed.split(separator)):
        return listed
    return f"{listed} {separator} {second}"


def _settings(etc: Path) -> dict[str, str] | None:
    """Debian's answers, or None where the configuration is not made of them."""
    if (etc / "exim4.conf").exists():  # then update-exim4.conf does nothing
        return None
    try:
        text = (etc / "update-exim4.conf.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return {name: value for name, _, value in SETTING.findall(text)}
