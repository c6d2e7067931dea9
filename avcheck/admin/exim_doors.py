"""Where an Exim takes mail, and its lists, sizes and times as it writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from avcheck.admin import amounts
from avcheck.admin.exim_options import Options, listed
from avcheck.admin.master_cf import port_number


@dataclass(frozen=True)
class Door:
    """An address and a port that Exim takes mail at."""

    host: str
    port: str

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


# Exim's own local_interfaces.
EVERYWHERE = "<; ::0 ; 0.0.0.0"

# An address, and after it a port in one of two ways.
BRACKETED = re.compile(r"\[([^]]*)\](?::(\d+))?")
DOTTED = re.compile(r"(\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*?)(?:\.(\d+))?")


def doors_of(main: Options) -> tuple[Door, ...]:
    """Where Exim takes mail: local_interfaces, with daemon_smtp_ports where those have no port."""
    usual = [port_number(each) for each in listed(main.get("daemon_smtp_ports", "smtp"))]
    found: list[Door] = []
    for text in listed(main.get("local_interfaces", EVERYWHERE)):
        if match := BRACKETED.fullmatch(text) or DOTTED.fullmatch(text):
            found += [Door(match[1], port) for port in ([match[2]] if match[2] else usual)]
    return tuple(dict.fromkeys(found))


def size_of(text: str) -> int:
    """A number of bytes as Exim has it: 50M, 100K; 0 if it is none, or no limit."""
    found = re.fullmatch(r"\s*(\d{1,15})([KMG]?)\s*", text.upper())
    powers = {"": 0, "K": 1, "M": 2, "G": 3}
    return int(found[1]) * 1024 ** powers[found[2]] if found else 0


def seconds(text: str) -> float:
    """A time as Exim has it: 10m, 1h30m; 0 if it is none, or no limit."""
    found: list[tuple[str, str]] = re.findall(r"(\d+)([smhdw])", text)
    return float(sum(int(number[:9]) * amounts.SECONDS[unit] for number, unit in found))
