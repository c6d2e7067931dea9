"""avcheckctl stats: the totals of --metrics, for a person, a program or Prometheus."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from time import sleep, time
from typing import TYPE_CHECKING

import click

from avcheck.admin import amounts, cells, output, sites
from avcheck.admin.output import Trouble
from avcheck.admin.progress import Progress
from avcheck.admin.totals import Latency, Stats, gather, summed
from avcheck.printable import printable
from avcheck.state import metrics

if TYPE_CHECKING:
    from avcheck.admin.asking import Answer

BAR = 40  # characters of the longest bar

SIGNATURES = "avcheck_signatures_timestamp_seconds"


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
    since = f"  (+{stats.messages - earlier.messages})" if before else ""
    output.say(f"Messages  {stats.messages}{since}")
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
            text = cells.Styled(each.error or "does not say", cells.DOUBTFUL)
        rows.append([f"Signatures of {each.scanner} {each.where}", text])
    if rows:
        output.say()
        output.table(rows)


def _shares(
    totals: Mapping[str, int], before: Mapping[str, int] | None
) -> list[list[str | cells.Styled]]:
    whole = sum(totals.values()) or 1
    rows: list[list[str | cells.Styled]] = []
    for name, number in sorted(totals.items(), key=lambda each: -each[1]):
        row: list[str | cells.Styled] = [printable(name), str(number), f"{number / whole:.1%}"]
        if before is not None:
            row.append(f"+{number - before.get(name, 0)}")
        rows.append(row)
    return rows


def _scanner(name: str, verdicts: Mapping[str, int], latency: Latency) -> None:
    counts = ", ".join(f"{verdict} {number}" for verdict, number in verdicts.items())
    output.say(f"Scanner {printable(name)}: {counts}")
    output.say(f"  mean {_time(latency.mean)}, {_within(latency)}")
    most = max(latency.buckets.values(), default=0)
    for end, number in latency.buckets.items():
        if number > 0:
            bar = "#" * max(1, round(number / most * BAR))
            edge = "more" if end == "+Inf" else f"<= {_time(float(end))}"
            output.say(f"  {edge:>10}  {bar} {number}")


def _within(latency: Latency) -> str:
    """How long the answers took, by the ends of the buckets that they are in."""
    filled = [end for end, number in latency.buckets.items() if number > 0]
    if len(filled) == 1 and filled[0] != "+Inf":
        return f"all within {_time(float(filled[0]))}"
    longest = max((float(end) for end in latency.buckets if end != "+Inf"), default=0.0)
    return ", ".join(
        f"{float(share):.0%} within {_time(end)}"
        if end is not None
        else f"{float(share):.0%} beyond {_time(longest)}"
        for share, end in latency.quantiles.items()
    )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
