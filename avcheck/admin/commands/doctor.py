"""avcheckctl doctor: everything that can be wrong with a set-up, each with its correction."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import monotonic

import click

from avcheck.admin import amounts, asking, cells, checks, output, sites
from avcheck.admin.look import ERROR, LEVELS, OK, SKIPPED, WARNING, Look, Skip
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.progress import Progress

# How many checks that say the same are named; --json has them all.
NAMES_MAX = 5

COLOURS = {OK: cells.GOOD, SKIPPED: cells.FAINT, WARNING: cells.DOUBTFUL, ERROR: cells.BAD}


@dataclass(frozen=True)
class Found:
    """A result, with the service and the check that it comes from."""

    service: str
    check: str
    level: str
    text: str
    remedy: str = ""


def examine(site: sites.Site, clamd_conf: str) -> Iterator[Found]:
    """What every check finds at every service; each scanner is asked once.

    All that is asked has one limit of time, which the services share.
    """
    asked = asking.Asked()
    until = monotonic() + asking.LIMIT
    for number, service in enumerate(site.services):
        if service.settings is None:
            text = f"avcheck cannot run with these options: {service.error}"
            yield Found(service.name, "options", *_unless_root(text, site))
            continue
        ours = asking.left(until) / (len(site.services) - number)
        asked.patience = ours
        look = Look(
            service,
            site.postfix,
            clamd_conf,
            asked,
            until=monotonic() + ours,
            exim=site.exim,
            sendmail=site.sendmail,
        )
        with contextlib.suppress(Skip, Trouble):  # as each check will say
            look.confs  # noqa: B018 - before the scanners take the time that there is
        with contextlib.suppress(Skip, Trouble):
            look.ask_all(checks.questions(look))
        for check in checks.CHECKS:
            for result in checks.results(check, look):
                yield Found(service.name, check.__name__, result.level, result.text, result.remedy)


def _unless_root(text: str, site: sites.Site) -> tuple[str, str, str]:
    """Level, text and remedy of an error that only another account may have."""
    if os.geteuid() != 0 and os.strerror(errno.EACCES) in text:
        return SKIPPED, text, AS_ROOT
    system = "exim" if site.exim else "sendmail" if site.sendmail else "postfix"
    return ERROR, text, f"avcheckctl setup {system}"


@click.command()
@output.json_option
@sites.clamd_conf_option
@click.option("--all", "everything", is_flag=True, help="Show what is in order, too.")
@sites.takes(
    "scanners", "backups", "spool", "program", "infected", "waitfile", "on", "deadline",
    need=("scanners", "spool"), systems=True,
)  # fmt: skip
@click.argument("recipients", nargs=-1, metavar="[RECIPIENT]...")
def command(
    site: sites.Site,
    as_json: bool,
    clamd_conf: str,
    everything: bool,
    recipients: tuple[str, ...],
) -> None:
    """Check a set-up, and say what to correct.

    Takes a whole command line of avcheck, or looks for avcheck in the configuration of the
    mail system.  Run it as
    root, to see what the accounts of avcheck and of the scanner can do.

    Exit status: 0 nothing is wrong (there may be warnings, and checks that were skipped),
    1 something is, 2 it could not be found out: only root can.

    \b
    avcheckctl doctor --postfix
    avcheckctl doctor --exim
    avcheckctl doctor --sendmail-cf
    avcheckctl doctor -s clamd -d /var/spool/avcheck -S 127.0.0.1:10026
    """
    with Progress("checking", asking.LIMIT):
        found = list(examine(site, clamd_conf))
    if as_json:
        output.as_json([asdict(each) for each in found])
    else:
        _show(found, everything)
    if any(each.level == ERROR for each in found):
        raise SystemExit(1)
    if any(each.level == SKIPPED and each.remedy == AS_ROOT for each in found):
        raise SystemExit(2)


def _show(found: list[Found], everything: bool) -> None:
    for service in sites.unique([each.service for each in found]):
        ours = [each for each in found if each.service == service]
        output.heading(f"{service}:")
        for level, text, remedy, names in _together(ours):
            if everything or level != OK:
                label = cells.Styled(f"  {level.ljust(7)}", COLOURS[level])
                where = ", ".join(names) if len(names) <= NAMES_MAX else f"{len(names)} checks"
                output.table([[label, f"{text}  [{where}]"]])
                for line in remedy.splitlines():
                    output.say(f"             {line}")
        counts = [sum(each.level == level for each in ours) for level in LEVELS]
        good, skipped, doubtful, bad = counts
        counted = (amounts.counted(doubtful, "warning"), amounts.counted(bad, "error"))
        output.say(f"  {good} in order, {skipped} skipped, {', '.join(counted)}")


def _together(found: list[Found]) -> list[tuple[str, str, str, list[str]]]:
    """What was found, each once, with the checks that say the same."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        names.setdefault((each.level, each.text, each.remedy), []).append(each.check)
    return [(*key, checks) for key, checks in names.items()]
