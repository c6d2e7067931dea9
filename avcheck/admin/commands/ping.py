"""avcheckctl ping: each scanner, each of its places: is it there, and how old is it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from avcheck.admin import amounts, cells, output, sites
from avcheck.admin.asking import OLD, PATIENCE, Answer, Asked, place
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.progress import Progress


def every(site: sites.Site, progress: Progress | None = None) -> Iterator[Answer]:
    """One answer for each place of each scanner."""
    asked = Asked()
    seen = set()
    for service in site.services:
        settings = service.require_settings
        for scanner in (*settings.scanners, *settings.backups):
            for target in scanner.targets:
                if progress:
                    limit = min(settings.timeout, PATIENCE)
                    progress.now(f"asking {scanner.type} {place(target)}", limit)
                answer = asked.answer(service, scanner, target)
                if id(answer) not in seen:
                    seen.add(id(answer))
                    yield answer


@click.command()
@output.json_option
@sites.takes(*sites.SCANNERS, need=("scanners",))
def command(site: sites.Site, as_json: bool) -> None:
    """Ask each scanner, at each of its places, whether it is there, and how old it is.

    Exit status: 0 all of them answer, 1 one does not, 2 it could not be found out.

    \b
    avcheckctl ping -s clamd:/run/clamav/clamd.ctl,192.0.2.7
    avcheckctl ping --postfix
    """
    with Progress("asking") as progress:
        answers = list(every(site, progress))
    if as_json:
        output.as_json([asdict(answer) for answer in answers])
    else:
        output.table([_row(answer) for answer in answers], HEADER)
    if any(answer.error and not answer.hidden for answer in answers):
        raise SystemExit(1)
    if any(answer.hidden for answer in answers):
        raise Trouble("not every scanner may be asked by this account", AS_ROOT)


HEADER = ("SCANNER", "WHERE", "ANSWER", "VERSION", "SIGNATURES", "AGE")


def _row(answer: Answer) -> list[str | cells.Styled]:
    where: list[str | cells.Styled] = [answer.scanner, answer.where]
    if answer.error:
        reason = answer.error.removeprefix(f"{answer.where}: ")
        if answer.hidden:
            return [*where, cells.Styled(f"not known: {reason}", cells.DOUBTFUL)]
        return [*where, cells.Styled(f"no: {reason}", cells.BAD)]
    row = [*where, cells.Styled(f"{answer.seconds * 1000:.1f} ms", cells.GOOD)]
    row += [answer.version or "-", answer.signatures or "-"]
    if answer.age_days is None:
        return [*row, "-"]
    colour = cells.GOOD if answer.age_days <= OLD else cells.DOUBTFUL
    return [*row, cells.Styled(amounts.age(answer.age_days * 86400), colour)]
