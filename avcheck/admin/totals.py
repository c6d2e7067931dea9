"""What the files of --metrics come to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avcheck.admin import places
from avcheck.admin.output import Trouble
from avcheck.printable import printable
from avcheck.state import metrics

if TYPE_CHECKING:
    pass

from math import isfinite

KEY = re.compile(r"(\w+)(?:\{(.*)\})?")
LABEL = re.compile(r'(\w+)="([^"]*)"')

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Latency:
    """How long a scanner takes: count, mean, quantiles, and the buckets.

    buckets has for each upper end (a text, in seconds) how many answers are in it, and
    not below it.  A quantile is the end of its bucket, None beyond the last one.
    """

    count: int = 0
    mean: float = 0.0
    quantiles: Mapping[str, float | None] = field(default_factory=dict)
    buckets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stats:
    """The totals; ages are in seconds, None where nothing is known."""

    messages: int
    verdicts: Mapping[str, int]
    actions: Mapping[str, int]
    scanners: Mapping[str, Mapping[str, int]]
    latency: Mapping[str, Latency]
    last_clean_age_seconds: float | None = None
    last_canary_age_seconds: Mapping[str, float] = field(default_factory=dict)


def summed(values: Mapping[str, float], now: float) -> Stats:
    """What the values of the metrics file come to."""
    verdicts: dict[str, int] = {}
    actions: dict[str, int] = {}
    scanners: dict[str, dict[str, int]] = {}
    buckets: dict[str, dict[str, float]] = {}
    sums: dict[str, float] = {}
    clean: float | None = None
    canaries: dict[str, float] = {}
    for key, value in values.items():
        name, labels = split(key)
        scanner = labels.get("scanner", "")
        if name == "avcheck_messages_total":
            _add(verdicts, labels.get("verdict", "none"), value)
            _add(actions, labels.get("action", "none"), value)
        elif name == "avcheck_scans_total":
            _add(scanners.setdefault(scanner, {}), labels.get("verdict", "none"), value)
        elif name == "avcheck_scan_seconds_bucket":
            if (end := labels.get("le")) in metrics.BUCKETS:
                buckets.setdefault(scanner, {})[end] = value
        elif name == "avcheck_scan_seconds_sum":
            sums[scanner] = value
        elif name == "avcheck_last_clean_timestamp_seconds":
            clean = now - value
        elif name == "avcheck_last_canary_timestamp_seconds":
            canaries[scanner] = now - value
    latency = {name: latencies(found, sums.get(name, 0.0)) for name, found in buckets.items()}
    total = sum(verdicts.values())
    return Stats(total, verdicts, actions, scanners, latency, clean, canaries)


def _add(totals: dict[str, int], name: str, more: float) -> None:
    totals[name] = totals.get(name, 0) + whole(more)


def whole(number: float) -> int:
    """A count, which is one; 0 for what cannot be one."""
    return round(number) if isfinite(number) else 0


def split(key: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a value."""
    found = KEY.match(key)
    name, labels = found.groups() if found else (key, "")
    return name, dict(LABEL.findall(labels or ""))


def latencies(cumulative: Mapping[str, float], total: float) -> Latency:
    """The latency in buckets that each hold what the ones before it hold, as Prometheus has it."""
    ends = sorted(cumulative, key=float)
    count = cumulative[ends[-1]] if ends else 0.0
    if not count:
        return Latency()
    before = 0.0
    buckets = {}
    for end in ends:
        buckets[end] = cumulative[end] - before
        before = cumulative[end]
    quantiles = {f"{each:g}": quantile(each, ends, cumulative) for each in QUANTILES}
    whole_buckets = {end: whole(number) for end, number in buckets.items()}
    return Latency(whole(count), total / count, quantiles, whole_buckets)


def quantile(share: float, ends: list[str], cumulative: Mapping[str, float]) -> float | None:
    """The end of the bucket that this share of the answers is within; None beyond the last.

    How they are spread in the bucket is not known.
    """
    wanted = share * cumulative[ends[-1]]
    end = next((float(each) for each in ends if cumulative[each] >= wanted), float("inf"))
    return end if isfinite(end) else None


def gather(files: list[bytes]) -> dict[str, float]:
    """The values of the files; counters add up, and of times the latest counts."""
    total: dict[str, float] = {}
    for file in files:
        try:
            values = metrics.parse(_read(file))
        except OSError as why:
            raise Trouble(f"{printable(file)}: {why.strerror}", places.as_root(why)) from why
        if not values:
            raise Trouble(
                f"{printable(file)}: nothing has been counted",
                "it is made with the first message; is --metrics in avcheck's arguments?",
            )
        for key, value in values.items():
            if "_timestamp_" in key:
                total[key] = max(total.get(key, 0.0), value)
            else:
                total[key] = total.get(key, 0.0) + value
    return total


def _read(file: bytes) -> bytes:
    try:
        return places.read(file, metrics.SIZE_MAX)
    except FileNotFoundError:
        return b""
