"""avcheckctl status: held back or not, who answers, what is in flight, and what waits."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from avcheck.admin import amounts, deferred, flight, output, sites, state
from avcheck.admin.asking import Answer
from avcheck.admin.cells import BAD, DOUBTFUL, GOOD, Styled
from avcheck.admin.progress import Progress
from avcheck.admin.state import State


@click.command()
@output.json_option
@sites.takes("waitfile", "spool", *sites.SCANNERS, "slots", "canary", "attempts")
def command(site: sites.Site, as_json: bool) -> None:
    """Show whether mail is held back and why, whether the scanners answer, and what waits.

    What an option has left in the spool directory is shown if that option is given.

    Exit status: 0 mail is checked, and none waits; 1 it is held back, a scanner does not
    answer, has failed its last known-answer test, or messages wait in Postfix's queue because
    of avcheck; 2 it could not be found out.
    """
    if not any(
        each.require_settings.waitfile or each.require_settings.spool for each in site.services
    ):
        raise click.UsageError("-w or --waitfile or -d or --spool is needed, or --postfix")
    with Progress("asking the scanners", state.PATIENCE) as progress:
        asked = state.asking(site)
        states = [state.state(service, asked) for service in site.services]
        if site.postfix is not None:
            progress.now("reading the queue", deferred.PATIENCE)
            states = state.with_queue(states, site.directory)
    if as_json:
        output.as_json([asdict(each) for each in states])
    else:
        _show(states, site.directory)
    if not all(each.well for each in states):
        raise SystemExit(1)
    if any(each.unknown for each in states):
        raise SystemExit(2)


def _show(states: list[State], directory: str) -> None:
    queue: Row = ("Deferred", _deferred(states[0]))  # of all services together
    for each in states:
        if len(states) == 1:
            output.table([*rows(each), queue])
        else:
            output.table(rows(each))
            output.say()
    if len(states) > 1:
        output.table([queue])
    if any(each.deferred for each in states) and all(each.checked for each in states):
        output.note(f"To have them tried again at once: {deferred.flush(directory)}")


Row = tuple[str, str | Styled]


def rows(each: State) -> list[Row]:
    """The state for a person."""
    found: list[Row] = [("Service", each.service)]
    if each.paused:
        found += _pause(each)
    elif not each.checked:
        found.append(("Mail", Styled("waits: no verdict without the scanner", BAD)))
    elif each.waitfile or each.scanners:
        found.append(("Mail", Styled("checked", GOOD)))
    for answer in each.scanners:
        found.append(("Scanner", _scanner(answer)))
    if each.spool:
        found += _spool(each)
    if each.unknown:
        found.append(("Not known", Styled(each.unknown, DOUBTFUL)))
    return found


def _pause(each: State) -> list[Row]:
    found: list[Row] = [("Mail", Styled(f"held back by {each.waitfile}", BAD))]
    if each.reason:
        found.append(("Reason", each.reason))
    if each.until:
        until = amounts.local(each.until)
        late = Styled(f"{until}, which is over", DOUBTFUL)
        found.append(("Until", late if each.overdue else until))
    who, since, when = each.by.rpartition(" since ")
    found.append(("By", f"{who}{since}{amounts.local(when)}" or "unknown"))
    held = amounts.counted(each.held, "attempt") if each.held >= 0 else "not counted"
    return [*found, ("Held back", held)]


def _scanner(answer: Answer) -> Styled:
    who = f"{answer.scanner} {answer.where}"
    if answer.hidden:
        return Styled(f"{who} may not be asked by this account", DOUBTFUL)
    if answer.error:
        reason = answer.error.removeprefix(f"{answer.where}: ")
        return Styled(f"{who} does not answer: {reason}", BAD)
    # Only clamd is asked something; of others the port takes a connection, or the program exists.
    return Styled(f"{who} {'answers' if answer.version else 'is there'}", GOOD)


def _spool(each: State) -> list[Row]:
    flights = f" ({flight.listed(each.in_flight)})" if each.in_flight else ""
    found: list[Row] = [("In flight", f"{len(each.in_flight)}{flights}")]
    if each.slots:
        found.append(("Slots", f"{each.slots_taken} of {each.slots} taken"))
    if each.counted_messages:
        messages = amounts.counted(each.counted_messages, "message")
        found.append(("Scanned in vain", f"{messages} (--attempts)"))
    for test in each.canaries:
        word = "knows the test virus" if test.good else "DOES NOT KNOW THE TEST VIRUS"
        text = f"{test.scanner} {test.where} {word}, {amounts.age(test.age_seconds)} ago"
        found.append(("Canary", Styled(text, GOOD if test.good else BAD)))
    if each.left_over:
        options, files = ", ".join(each.left_over), " ".join(each.left_over_files)
        found.append(("Left over", f"files of options that are not given ({options}): rm {files}"))
    return found


def _deferred(each: State) -> str | Styled:
    if each.deferred is None and each.unknown:
        return Styled("not known", DOUBTFUL)
    if each.deferred is None:
        return "known with --postfix only; see mailq"
    if not each.deferred:
        return Styled("none", GOOD)
    since = datetime.fromisoformat(each.oldest)
    ago = amounts.age((datetime.now(UTC) - since).total_seconds())
    messages = amounts.counted(each.deferred, "message")
    return Styled(f"{messages}, the oldest since {amounts.local(each.oldest)} ({ago})", BAD)
