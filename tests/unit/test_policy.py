"""The findings become one action: every combination has exactly one, and never a better one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import policy
from avcheck.policy import DEFAULT, has_quorum, sum_up
from avcheck.verdict import CLEAN, FAILED, INFECTED, VERDICTS, Finding, Verdict

COMBINATIONS = [each for size in (1, 2, 3) for each in product(VERDICTS, repeat=size)]
FINDINGS = st.lists(st.sampled_from(VERDICTS).map(Finding), max_size=6)


def worst(verdicts: tuple[Verdict, ...]) -> Verdict:
    return min(verdicts, key=lambda verdict: verdict.rank)


def said(verdict: Verdict, name: bytes, scanner: str, seconds: float = 0.0) -> Finding:
    finding = Finding(verdict, (name,), b"text of " + name)
    finding.scanner = scanner
    finding.where = "/run/" + scanner
    finding.seconds = seconds
    return finding


def test_there_is_an_action_for_every_verdict() -> None:
    handled = dict.fromkeys(VERDICTS, policy.HANDLE)
    assert {**handled, FAILED: policy.DEFER, CLEAN: policy.DELIVER} == DEFAULT


@pytest.mark.parametrize("verdicts", COMBINATIONS)
def test_the_worst_finding_decides_when_everybody_is_needed(verdicts: tuple[Verdict, ...]) -> None:
    finding = sum_up([Finding(verdict) for verdict in verdicts], need=len(verdicts))
    assert finding.verdict is worst(verdicts)


@pytest.mark.parametrize("verdicts", COMBINATIONS)
def test_who_failed_is_made_up_for_by_enough_others(verdicts: tuple[Verdict, ...]) -> None:
    answers = tuple(verdict for verdict in verdicts if verdict is not FAILED)
    for need in range(1, len(verdicts) + 1):
        finding = sum_up([Finding(verdict) for verdict in verdicts], need)
        if len(answers) >= need:
            assert finding.verdict is worst(answers)
        else:
            assert finding.verdict is worst(verdicts)
        assert has_quorum([Finding(verdict) for verdict in verdicts], need) == (
            len(answers) >= need
        )


def test_nobody_asked_means_nobody_answered() -> None:
    for need in (0, 1, 2):
        assert sum_up([], need).verdict is FAILED


@given(FINDINGS, st.integers(0, 7))
def test_clean_takes_as_many_proofs_as_are_needed(findings: list[Finding], need: int) -> None:
    finding = sum_up(findings, need)
    clean = [each for each in findings if each.verdict is CLEAN]
    assert finding.verdict is not CLEAN or len(clean) >= max(need, 1)


@given(FINDINGS, st.integers(0, 7))
def test_infected_wins_over_everything(findings: list[Finding], need: int) -> None:
    infected = any(each.verdict is INFECTED for each in findings)
    assert (sum_up(findings, need).verdict is INFECTED) == infected


@given(FINDINGS, st.sampled_from(VERDICTS))
def test_one_more_finding_never_makes_the_verdict_better(
    findings: list[Finding], more: Verdict
) -> None:
    need = len(findings)
    before = sum_up(findings, need).verdict
    after = sum_up([*findings, Finding(more)], need + 1).verdict
    assert not findings or after.rank <= before.rank


def test_a_finding_alone_is_the_sum() -> None:
    finding = said(INFECTED, b"a", "clamd")
    assert sum_up([Finding(CLEAN), finding, Finding(FAILED)], 3) is finding


def test_findings_that_agree_are_added_up() -> None:
    total = sum_up(
        [
            said(INFECTED, b"a", "clamd", 1.0),
            said(CLEAN, b"", "other"),
            said(INFECTED, b"b", "avast", 3.0),
            said(INFECTED, b"a", "clamd", 2.0),
        ],
        4,
    )
    assert total.verdict is INFECTED
    assert total.names == ("a", "b")
    assert total.text == "text of a; text of b; text of a"
    assert total.scanner == "clamd,avast"
    assert total.where == "/run/clamd,/run/avast,/run/clamd"
    assert total.seconds == 3.0
