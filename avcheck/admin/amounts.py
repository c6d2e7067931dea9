"""Numbers, times and sizes as a person reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things, in words: 1 attempt, 2 attempts."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def moment(seconds: float) -> datetime:
    """The time of a file, which may be in a year that no calendar here has: then the last."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        limit = datetime.max if seconds > 0 else datetime.min
        return limit.replace(tzinfo=UTC, microsecond=0)


def local(stamp: str) -> str:
    """A time in UTC, as JSON and our files have it, as the clock on the wall shows it.

    As mailq(1) and the log do; a text that is no time stays as it is.
    """
    try:
        when = datetime.fromisoformat(stamp)
        if when.tzinfo is None:
            return stamp
        return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):
        return stamp


def age(seconds: float) -> str:
    """A length of time for a person: 5 s, 12 min, 3 h, 2 days."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def size(number: float) -> str:
    """A number of bytes for a person: 900 B, 4 kB, 25.0 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number / 1000:.0f} kB" if number >= 10**4 else f"{number:.0f} B"


def binary(number: int) -> str:
    """A number of bytes as clamd counts and spells them: 5M are 5 * 1024 * 1024."""
    for unit, name in ((1024**3, "G"), (1024**2, "M"), (1024, "K")):
        if number >= unit:
            return f"{number / unit:.1f}".removesuffix(".0") + name
    return str(number)


def duration(value: str | float) -> float:
    """A length of time as an option has it: 90, 90s, 10m, 2h, 7d.  A type for click."""
    return float(_number(value, SECONDS, "time; write 90s, 10m, 2h or 7d"))


def number_of_bytes(value: str | int) -> int:
    """A number of bytes as an option has it: 500000, 10k, 25M, 2G.  A type for click."""
    return int(_number(value, _BYTES, "size; write 500000, 10k, 25M or 2G"))


SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def _number(value: str | float, units: Mapping[str, int], what: str) -> float:
    if not isinstance(value, str):
        return value
    number, unit = (value[:-1], units[value[-1]]) if value[-1:] in units else (value, 1)
    if not (number.isascii() and number.isdigit() and len(number) < 13):
        raise click.BadParameter(f"{value!r} is no {what}")
    return int(number) * unit
