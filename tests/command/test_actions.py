"""What becomes of a message: the table of verdicts and every action in real runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from avcheck import policy
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    FAILED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    VERDICTS,
    Verdict,
)
from tests.support.fakes import FakeClamd
from tests.support.mta import MAIL, TEMPFAIL, Ended, Site
from tests.unit.test_policy_table import ACTION, BOTH, ONE

# What clamd says for each.
SAYS = {
    INFECTED: b"Eicar-Test-Signature FOUND",
    SUSPICIOUS: b"Heuristics.Phishing.Email.SpoofedDomain FOUND",
    POLICY: b"PUA.Win.Packer.Upx FOUND",
    FAILED: b"Can't allocate memory ERROR",
    ENCRYPTED: b"Heuristics.Encrypted.Zip FOUND",
    UNSCANNABLE: b"Heuristics.Limits.Exceeded.MaxScanSize FOUND",
    CLEAN: b"OK",
}


def scanners(site: Site) -> dict[Verdict, FakeClamd]:
    """A clamd for each verdict."""
    return {verdict: site.clamd(says=says) for verdict, says in SAYS.items()}


def test_the_tables_hold_in_real_runs(site: Site) -> None:
    there = scanners(site)
    site.handler('rm "$1"; echo "$AVCHECK_VERDICT"')
    for (one, other), verdict in BOTH.items():
        places = [f"clamd:{there[each].where}" for each in (one, other)]
        ended = site.deliver("-n", scanners=places)
        assert outcome(ended) == (verdict.name, ACTION[verdict]), (one, other)
    for (one, other), verdict in ONE.items():
        places = [f"clamd:{there[each].where}" for each in (one, other)]
        ended = site.deliver("-n", "--need", "1", scanners=places)
        assert outcome(ended) == (verdict.name, ACTION[verdict]), (one, other)
    assert site.left == []


def outcome(ended: Ended) -> tuple[str, str]:
    """The verdict and the action that the line tells."""
    if ended.status == TEMPFAIL:
        return "failed", "defer"
    verdict, _, rest = ended.output.decode().partition(":")
    if "not handed on" in rest:
        return verdict, "deliver"
    assert rest.rstrip().endswith(f" {verdict}"), ended  # the handler's own word
    return verdict, "handle"


SOURCES = ("command line", "configuration file")


def set_on(site: Site, source: str, *words: str) -> list[str]:
    """The options that set these actions."""
    if source == "command line":
        return [option for word in words for option in ("--on", word)]
    file = site.directory / "avcheck.conf"
    file.write_text("".join(f"on {word}\n" for word in words))
    return ["--config", str(file)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("action", policy.ACTIONS)
@pytest.mark.parametrize("verdict", VERDICTS, ids=repr)
def test_every_action_for_every_verdict(
    site: Site, verdict: Verdict, action: str, source: str
) -> None:
    site.clamd(says=SAYS[verdict])
    handler = site.handler()
    quarantine = site.directory / "quarantine"
    word = f"{action}:{quarantine}" if action == "quarantine" else action
    ended = site.deliver("-h", "here", *set_on(site, source, f"{verdict.name}={word}"))
    words = ended.output.decode()

    headers = [message.partition(b"\r\n")[0].decode() for message in site.delivered]
    stored = [path.read_bytes() for path in quarantine.glob("*/message")]
    assert len(headers) == (action == "deliver")
    assert handler.calls == (action == "handle")
    assert stored == ([MAIL] if action == "quarantine" else [])
    assert site.left == []
    if action == "defer":
        assert ended.status == TEMPFAIL
        assert re.match(r"4\.\d\.\d avcheck: clamd ", words), words
    elif action == "reject":
        assert ended.status == 77
        assert words.startswith(f"5.7.1 avcheck: message refused: {verdict.name}: "), words
    else:
        assert ended.status == 0
        assert words.startswith(f"{verdict.name}: "), words
    if action == "handle":
        assert handler.note("message") == MAIL
        assert handler.environment[b"AVCHECK_VERDICT"].decode() == verdict.name
    if action == "deliver" and verdict is CLEAN:
        assert re.fullmatch(r"X-AV-Checked: \w{3}, \d\d .* here", headers[0])
    elif action == "deliver":
        # What was not proved to be clean does not say so, but what is known of it.
        found = SAYS[verdict].decode().removesuffix(" FOUND")
        assert re.fullmatch(r"X-AV-Unchecked: \w{3}, \d\d .* here \(.*\)", headers[0])
        assert f" here ({verdict.name}: " in headers[0]
        assert found in headers[0]
        assert b"X-AV-Checked" not in site.delivered[0]


@pytest.mark.parametrize("verdict", [each for each in VERDICTS if each != CLEAN], ids=repr)
def test_without_a_header_text_nothing_is_added_to_what_is_delivered(
    site: Site, verdict: Verdict
) -> None:
    site.clamd(says=SAYS[verdict])
    assert site.deliver("--on", f"{verdict.name}=deliver").status == 0
    assert site.delivered == [MAIL.replace(b"\n", b"\r\n")]


def test_the_header_of_what_was_not_proved_is_one_line_whatever_the_scanner_said(
    site: Site,
) -> None:
    hostile = b"A\r\nX-AV-Checked: forged\n\x1b[31m\xff(comment) " + b"long" * 200
    site.clamd(says=hostile + b" FOUND")
    assert site.deliver("-h", "here", "--on", "infected=deliver").status == 0
    first, rest = site.delivered[0].split(b"\r\n", 1)
    assert first.startswith(b"X-AV-Unchecked: ")
    assert len(first) < 998
    assert first.isascii()
    assert first.decode().isprintable()
    assert rest == MAIL.replace(b"\n", b"\r\n")


def test_a_scanner_that_is_not_there_is_no_proof_either(site: Site) -> None:
    """failed=deliver is fail-open: the mail flows, and says so."""
    words = ("-h", "here", "--on", "failed=deliver")
    assert site.deliver(*words, scanners=["clamd:/nonexistent"]).status == 0
    assert site.delivered[0].startswith(b"X-AV-Unchecked: ")
    assert b" here (failed: /nonexistent: connect: " in site.delivered[0]


def test_what_is_delivered_unproved_has_the_status_of_good_mail(site: Site) -> None:
    """With -n -g N that status is what makes the mail system go on with the delivery."""
    site.clamd(says=SAYS[ENCRYPTED])
    words = ("-n", "-g", "99", "--on", "encrypted=deliver")
    assert site.deliver(*words) == Ended(99, b"")
    for action in ("discard", f"quarantine:{site.directory}/quarantine"):
        assert site.deliver("-n", "-g", "99", "--on", f"encrypted={action}").status == 0


# Wrong words.

WRONG = {
    "infected": "an action is one of",
    "infected=": "an action is one of deliver, handle, defer, reject, discard, quarantine",
    "infected=drop": "an action is one of",
    "Infected=defer": "VERDICT is one of infected, suspicious, policy, failed",
    "virus=defer": "VERDICT is one of",
    "=defer": "VERDICT is one of",
    "infected=deliver:/tmp": "only quarantine has a directory",
    "infected=quarantine": "quarantine:/DIRECTORY",
    "infected=quarantine:": "quarantine:/DIRECTORY",
    "infected=quarantine:relative": "quarantine:/DIRECTORY",
    "infected=deliver,defer": "an action is one of",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_action_keeps_the_message_and_tells_a_person(site: Site, word: str) -> None:
    for source in SOURCES:
        options = set_on(site, source, word)
        site.assert_kept(site.deliver(*options), "4.3.5", "on: ", WRONG[word])
        person = site.at_a_terminal(site.words(*options))
        assert person.status == 64
        assert WRONG[word].split()[0].encode() in person.output
    assert site.scanner.questions == []


@pytest.mark.parametrize(
    "words",
    [
        ("infected=defer", "infected=discard"),
        ("infected=discard", "clean=deliver", "infected=defer"),
        ("infected=quarantine:/a", "infected=quarantine:/b"),
    ],
)
def test_two_actions_for_one_verdict_are_wrong(site: Site, words: tuple[str, ...]) -> None:
    for source in SOURCES:
        ended = site.deliver(*set_on(site, source, *words))
        site.assert_kept(ended, "4.3.5", "two actions for infected")
        assert site.at_a_terminal(site.words(*set_on(site, source, *words))).status == 64


def test_the_same_action_twice_is_not_wrong(site: Site) -> None:
    for source in SOURCES:
        words = set_on(site, source, "infected=defer", "infected=defer")
        assert site.deliver(*words).status == 0


def test_the_command_line_overrules_the_file_verdict_by_verdict(site: Site) -> None:
    there = scanners(site)
    file = set_on(site, "configuration file", "infected=reject", "encrypted=reject")
    words = [*file, "--on", "infected=discard", "--on", "policy=defer"]
    statuses = {INFECTED: 0, ENCRYPTED: 77, POLICY: TEMPFAIL, CLEAN: 0, FAILED: TEMPFAIL}
    for verdict, status in statuses.items():
        ended = site.deliver(*words, scanners=[f"clamd:{there[verdict].where}"])
        assert ended.status == status, (verdict, ended)


def test_what_is_discarded_is_gone_and_said_to_be(site: Site) -> None:
    site.clamd(says=SAYS[INFECTED])
    ended = site.deliver("--on", "infected=discard")
    assert ended == Ended(0, b"infected: Eicar-Test-Signature; discarded\n")


def test_a_refusal_begins_with_its_code_even_with_verbose(site: Site) -> None:
    site.clamd(says=SAYS[INFECTED])
    ended = site.deliver("-v", "-g", "1", "--on", "infected=reject")
    assert ended.status == 77
    assert ended.output.startswith(
        b"5.7.1 avcheck: message refused: infected: Eicar-Test-Signature\n"
    )


def test_the_sidecar_of_a_quarantined_message_names_the_verdict(site: Site) -> None:
    for verdict, scanner in scanners(site).items():
        quarantine = Path(site.directory, verdict.name)
        words = ("--on", f"{verdict.name}=quarantine:{quarantine}")
        assert site.deliver(*words, scanners=[f"clamd:{scanner.where}"]).status == 0
        (about,) = quarantine.glob("*/about.json")
        assert json.loads(about.read_text())["verdict"] == verdict.name
