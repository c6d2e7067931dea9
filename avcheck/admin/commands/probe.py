"""avcheckctl probe: what this scanner really lets through."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from avcheck.admin import cells, output, sites
from avcheck.admin.progress import Progress
from avcheck.admin.samples import SAMPLES
from avcheck.verdict import FAILED

if TYPE_CHECKING:
    pass

from avcheck.admin.trials import PASSES, SKIPPED, STOPPED, WAITS, Tried, tries

COLOURS = {
    STOPPED: cells.GOOD,
    PASSES: cells.BAD,
    WAITS: cells.DOUBTFUL,
    SKIPPED: cells.FAINT,
}


@click.command()
@output.json_option
@sites.clamd_conf_option
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([sample.name for sample in SAMPLES]),
    metavar="NAME",
    help="Only this mail.  May be given again.",
)
@click.option("--no-limits", is_flag=True, help="Not those that go beyond a limit: they take long.")
@sites.takes(*sites.SCANNERS, "spool", need=("scanners", "spool"))
def command(
    site: sites.Site, as_json: bool, clamd_conf: str, only: tuple[str, ...], no_limits: bool
) -> None:
    """Send harmless tests, and say what gets past the scanner.

    Each is the EICAR test file, which is no virus but is found as one, packed in another
    way.  They go to the scanner as mail does, and nowhere else.

    Exit status: 0 nothing gets past that should not, 1 something does, 2 it could not be
    found out.

    \b
    avcheckctl probe -s clamd -d /var/spool/avcheck
    avcheckctl probe --postfix --no-limits
    """
    chosen = [sample for sample in SAMPLES if not only or sample.name in only]
    found: list[Tried] = []
    for service in site.services:
        with Progress("probing") as progress:
            found += tries(service, clamd_conf, chosen, not no_limits, progress)
    if as_json:
        output.as_json([asdict(each) for each in found])
    else:
        _show(found)
    if any(each.unexpected for each in found):
        raise SystemExit(1)
    if found and all(each.verdict == FAILED.name for each in found if each.outcome != SKIPPED):
        raise SystemExit(2)


def _show(found: list[Tried]) -> None:
    silent = {each.scanner: each for each in found if each.outcome == WAITS and not each.sent}
    asked = [each for each in found if each.scanner not in silent or each.sent]
    rows: list[list[str | cells.Styled]] = []
    for each in asked:
        good = not each.unexpected and each.outcome == PASSES
        colour = cells.GOOD if good else COLOURS[each.outcome]
        outcome = cells.Styled("passes" if good else each.outcome, colour)
        rows.append([each.scanner, each.sample, outcome, each.verdict or "-", each.said])
    output.table(rows, ("SCANNER", "TEST", "MAIL", "VERDICT", "IT SAID"))
    for each in silent.values():
        sent = "no more" if any(one.scanner == each.scanner for one in asked) else "nothing"
        output.say(f"{each.scanner} does not answer: {each.said}; {sent} was sent")
    unexpected = [each for each in found if each.unexpected]
    if unexpected:
        output.say()
    for each in unexpected:
        how = "The test virus gets past" if each.outcome == PASSES else "Good mail is stopped by"
        output.say(f"{how} {each.scanner}: {each.what}.")
        output.say(f"    {each.setting}")
    waiting = [each.sample for each in asked if each.outcome == WAITS]
    if waiting:
        output.say()
        output.say(f"No verdict, so such mail waits: {', '.join(waiting)}.")
