"""avcheckctl stats: the totals of --metrics, for a person, a program or Prometheus."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from time import sleep, time
from typing import TYPE_CHECKING

import click

from avcheck.admin import amounts, cells, output, places, sites
from avcheck.admin.output import Trouble
from avcheck.admin.progress import Progress
from avcheck.printable import printable
from avcheck.state import metrics

if TYPE_CHECKING:
    from avcheck.admin.commands.ping import Answer

KEY = re.compile(r"(\w+)(?:\{(.*)\})?")
LABEL = re.compile(r'(\w+)="([^"]*)"')

QUANTILES = (0.5, 0.9, 0.99)
BAR = 40  # characters of the longest bar

SIGNATURES = "avcheck_signatures_timestamp_seconds"


@dataclass(frozen=True)
class Latency:
    """How long a scanner takes: count, mean, quantiles (estimated), and the buckets.

    buckets has for each upper end (a text, in seconds) how many answers are in it, and
    not below it.
    """

    count: float = 0.0
    mean: float = 0.0
    quantiles: Mapping[str, float] = field(default_factory=dict)
    buckets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stats:
    """The totals; ages are in seconds, None where nothing is known."""

    messages: float
    verdicts: Mapping[str, float]
    actions: Mapping[str, float]
    scanners: Mapping[str, Mapping[str, float]]
    latency: Mapping[str, Latency]
    last_clean_age_seconds: float | None = None
    last_canary_age_seconds: Mapping[str, float] = field(default_factory=dict)


def summed(values: Mapping[str, float], now: float) -> Stats:
    """What the values of the metrics file come to."""
    verdicts: dict[str, float] = {}
    actions: dict[str, float] = {}
    scanners: dict[str, dict[str, float]] = {}
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


def _add(totals: dict[str, float], name: str, more: float) -> None:
    totals[name] = totals.get(name, 0.0) + more


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
    return Latency(count, total / count, quantiles, buckets)


def quantile(share: float, ends: list[str], cumulative: Mapping[str, float]) -> float:
    """The time within which this share of the answers came, as histogram_quantile() has it.

    That is by a straight line within the bucket; beyond the last end it is that end.
    """
    wanted = share * cumulative[ends[-1]]
    low, below = 0.0, 0.0
    for end in ends:
        if cumulative[end] >= wanted:
            if float(end) == float("inf"):
                return low
            inside = cumulative[end] - below
            return low + (float(end) - low) * ((wanted - below) / inside if inside else 1.0)
        low, below = float(end), cumulative[end]
    return low


@click.command()
@output.json_option
@click.option("--prometheus", is_flag=True, help="Print Prometheus' text format.")
@click.option(
    "--watch",
    is_flag=False,
    flag_value="2s",
    type=amounts.duration,
    metavar="[TIME]",
    help="Show it again every so often, with what was added.",
)
@sites.takes("metrics", *sites.SCANNERS, need=("metrics",))
def command(site: sites.Site, as_json: bool, prometheus: bool, watch: float | None) -> None:
    """Show the totals of --metrics: messages, verdicts, scanners, and how long they take.

    With -s or --postfix the scanners are asked for the age of their signatures, too.

    Exit status: 0 done, 2 there are no metrics.

    \b
    avcheckctl stats --metrics /var/spool/avcheck/metrics.prom
    avcheckctl stats --postfix --watch
    """
    if watch is not None and (as_json or prometheus):
        raise click.UsageError("--watch is for a person: without --json and --prometheus")
    files = sites.unique(
        [
            service.require_settings.metrics
            for service in site.services
            if service.require_settings.metrics
        ]
    )
    if not files:
        raise Trouble("no service counts anything", "add --metrics FILE to its arguments")
    values = gather(files)
    answers = _ages(site)
    if prometheus:
        for line in metrics.render(values).decode("ascii").splitlines():
            output.say(line)
        _signatures(answers)
    elif as_json:
        ages = {f"{each.scanner} {each.where}": each.age_days for each in answers}
        output.as_json({**asdict(summed(values, time())), "signature_age_days": ages})
    elif watch is None:
        show(summed(values, time()), answers, {})
    else:
        _watch(files, values, answers, watch)


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


def _ages(site: sites.Site) -> list[Answer]:
    """What the scanners say of their signatures, where scanners are named."""
    if not any(service.require_settings.scanners for service in site.services):
        return []
    from avcheck.admin.commands import ping

    with Progress("asking") as progress:
        return list(ping.every(site, progress))


def _signatures(answers: list[Answer]) -> None:
    known = [each for each in answers if each.age_days is not None]
    if known:
        output.say(f"# HELP {SIGNATURES} When the signatures of a scanner were made.")
        output.say(f"# TYPE {SIGNATURES} gauge")
    for each in known:
        when = time() - (each.age_days or 0.0) * 86400
        output.say(f'{SIGNATURES}{{scanner="{each.scanner}",where="{each.where}"}} {when:.0f}')


def _watch(
    files: list[bytes], values: dict[str, float], answers: list[Answer], seconds: float
) -> None:
    before: Mapping[str, float] = {}
    with output.live() as draw:
        while True:
            draw(functools.partial(show, summed(values, time()), answers, before))
            before = values
            sleep(max(seconds, 0.1))
            values = gather(files)


def show(stats: Stats, answers: list[Answer], before: Mapping[str, float]) -> None:
    """The totals in tables, with what was added since."""
    earlier = summed(before, 0.0)
    since = f"  (+{stats.messages - earlier.messages:.0f})" if before else ""
    output.say(f"Messages  {stats.messages:.0f}{since}")
    for title, totals, old in (
        ("VERDICT", stats.verdicts, earlier.verdicts),
        ("ACTION", stats.actions, earlier.actions),
    ):
        output.say()
        output.table(_shares(totals, old if before else None), (title, "MESSAGES", "SHARE"))
    for name, latency in stats.latency.items():
        output.say()
        _scanner(name, stats.scanners.get(name, {}), latency)
    rows: list[list[str | cells.Styled]] = []
    if stats.last_clean_age_seconds is not None:
        rows.append(["Last clean message", f"{amounts.age(stats.last_clean_age_seconds)} ago"])
    for name, age in stats.last_canary_age_seconds.items():
        rows.append([f"Last test of {name}", f"{amounts.age(age)} ago"])
    for each in answers:
        text: str | cells.Styled = amounts.age((each.age_days or 0.0) * 86400)
        if each.age_days is None:
            text = cells.Styled(each.wrong or "does not say", cells.DOUBTFUL)
        rows.append([f"Signatures of {each.scanner} {each.where}", text])
    if rows:
        output.say()
        output.table(rows)


def _shares(
    totals: Mapping[str, float], before: Mapping[str, float] | None
) -> list[list[str | cells.Styled]]:
    whole = sum(totals.values()) or 1.0
    rows: list[list[str | cells.Styled]] = []
    for name, number in sorted(totals.items(), key=lambda each: -each[1]):
        row: list[str | cells.Styled] = [
            printable(name), f"{number:.0f}", f"{number / whole:.1%}"
        ]  # fmt: skip
        if before is not None:
            row.append(f"+{number - before.get(name, 0.0):.0f}")
        rows.append(row)
    return rows


def _scanner(name: str, verdicts: Mapping[str, float], latency: Latency) -> None:
    words = ", ".join(f"{verdict} {number:.0f}" for verdict, number in verdicts.items())
    output.say(f"Scanner {printable(name)}: {words}")
    quantiles = ", ".join(
        f"{float(share):.0%} within {_time(value)}" for share, value in latency.quantiles.items()
    )
    output.say(f"  mean {_time(latency.mean)}, {quantiles}")
    most = max(latency.buckets.values(), default=0.0)
    for end, number in latency.buckets.items():
        if number > 0:
            bar = "#" * max(1, round(number / most * BAR))
            edge = "more" if end == "+Inf" else f"<= {_time(float(end))}"
            output.say(f"  {edge:>10}  {bar} {number:.0f}")


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
