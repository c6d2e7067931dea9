"""What a scanner says to each of the mails of probe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avcheck.admin import amounts, asking, known_answer
from avcheck.admin.account import account
from avcheck.admin.clamdconf import DEFAULTS, Conf
from avcheck.admin.look import Look
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.progress import Progress
from avcheck.admin.samples import LARGE, Limits, Sample
from avcheck.admin.services import Service
from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.scanners.rows import STREAM
from avcheck.verdict import CLEAN, FAILED

if TYPE_CHECKING:
    from avcheck.settings import Scanner

# Seconds for one mail, unless -t says less: clamd takes up to MaxScanTime.
PATIENCE = 180.0

# Of limits that are no sizes the largest that are tried: the file may be anybody's, and the
# mail is made in memory.
MOST = {"MaxRecursion": 200, "MaxFiles": 50_000}

STOPPED = "stopped"
PASSES = "PASSES"
WAITS = "waits"
SKIPPED = "skipped"


@dataclass(frozen=True)
class Tried:
    """What came back: verdict and the scanner's own text; outcome is what becomes of the mail.

    unexpected tells that it should be otherwise; setting is what changes it.  sent
    tells that the mail went to the scanner: to one that does not answer none is sent.
    """

    scanner: str
    sample: str
    what: str
    outcome: str
    verdict: str
    said: str
    unexpected: bool
    setting: str
    sent: bool = True


def limits_of(conf: Conf | None) -> Limits:
    """clamd's limits as it has them, or its defaults."""
    conf = conf or Conf("", {})
    return {name: conf.number(name) for name in DEFAULTS}


def tries(
    service: Service,
    clamd_conf: str,
    chosen: list[Sample],
    large: bool,
    progress: Progress,
) -> Iterator[Tried]:
    """What each scanner says to each mail."""
    settings = service.require_settings
    _unless_unusable(service)
    limits = limits_of(Look(service, None, clamd_conf).conf)
    for scanner in (*settings.scanners, *settings.backups):
        silent = ""
        for sample in chosen:
            reason = _skip(scanner, sample, limits, large)
            if reason:
                why = (SKIPPED, "", reason, False, "", False)
                yield Tried(scanner.type, sample.name, sample.what, *why)
                continue
            progress.now(
                f"{sample.name}: is {scanner.type} there?", min(settings.timeout, asking.PATIENCE)
            )
            silent = silent or _silent(service, scanner)
            if silent:  # as each mail would have to find out, one after the other
                yield _waits(scanner, sample, silent)
                continue
            progress.now(f"{sample.name}: asking {scanner.type}", min(settings.timeout, PATIENCE))
            yield attempt(service, scanner, sample, limits)


def _unless_unusable(service: Service) -> None:
    """Raise Trouble if the spool directory is none to work in: no mail could be sent then."""
    with account(*service.runs_as):
        try:
            with Directory(service.require_settings.spool):
                return
        except Defer as why:
            raise trouble(why) from why


def trouble(why: Defer) -> Trouble:
    """What avcheck says, with the next step for whoever reads it here."""
    if os.geteuid() != 0:
        return Trouble(why.text, AS_ROOT)
    return Trouble(why.text, "avcheckctl doctor says more")


def _silent(service: Service, scanner: Scanner) -> str:
    """Why no place of the scanner answers; empty if one does."""
    reasons = []
    with account(*service.runs_as):
        for target in scanner.targets:
            answer = asking.ask(scanner, target, service.require_settings)
            if not answer.error:
                return ""
            if answer.hidden:
                raise Trouble(answer.error, AS_ROOT)
            reasons.append(answer.error)
    return "; ".join(reasons)


def _waits(scanner: Scanner, sample: Sample, why: str) -> Tried:
    facts = (sample.name, sample.what, WAITS, FAILED.name, why)
    return Tried(scanner.type, *facts, False, sample.setting, False)


def _skip(scanner: Scanner, sample: Sample, limits: Limits, large: bool) -> str:
    """Why it is not tried, or nothing."""
    if sample.stream and all(target.way != STREAM for target in scanner.targets):
        return "not asked by stream"
    if not sample.limit:
        return ""
    if scanner.type != "clamd":
        return f"{sample.limit} is clamd's"
    if not large:
        return "--no-limits"
    if not limits[sample.limit]:
        return f"{sample.limit} 0: no limit"
    limit = limits[sample.limit]
    if limit > MOST.get(sample.limit, LARGE):
        told = str(limit) if sample.limit in MOST else amounts.size(limit)
        return f"{sample.limit} is {told}: too large to try"
    return ""


def attempt(service: Service, scanner: Scanner, sample: Sample, limits: Limits) -> Tried:
    """What the scanner says to the mail."""
    mail = sample.make(limits)
    with account(*service.runs_as):
        try:
            answer = known_answer.asked(scanner, service.require_settings, mail, PATIENCE)
        except Defer as why:
            raise trouble(why) from why
    finding = answer.finding
    if finding.verdict is FAILED:
        outcome = WAITS
    else:
        outcome = PASSES if finding.verdict is CLEAN else STOPPED
    return Tried(
        scanner.type,
        sample.name,
        sample.what,
        outcome,
        finding.verdict.name,
        finding.text,
        outcome != (STOPPED if sample.virus else PASSES) and outcome != WAITS,
        sample.setting,
    )
