"""The answers become one action: every combination has exactly one, and never a better one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import policy
from avcheck.policy import DEFAULT, has_quorum, sum_up
from avcheck.verdict import CLEAN, FAILED, INFECTED, VERDICTS, Answer, Finding, Verdict

COMBINATIONS = [each for size in (1, 2, 3) for each in product(VERDICTS, repeat=size)]


def answer(verdict: Verdict) -> Answer:
    return Answer("", "", Finding(verdict))


ANSWERS = st.lists(st.sampled_from(VERDICTS).map(answer), max_size=6)


def worst(verdicts: tuple[Verdict, ...]) -> Verdict:
    return min(verdicts, key=lambda verdict: verdict.rank)


def said(verdict: Verdict, name: bytes, scanner: str, seconds: float = 0.0) -> Answer:
    finding = Finding(verdict, (name,), b"text of " + name)
    return Answer(scanner, "/run/" + scanner, finding, seconds)


def test_there_is_an_action_for_every_verdict() -> None:
    handled = dict.fromkeys(VERDICTS, policy.HANDLE)
    assert {**handled, FAILED: policy.DEFER, CLEAN: policy.DELIVER} == DEFAULT


@pytest.mark.parametrize("verdicts", COMBINATIONS)
def test_the_worst_finding_decides_when_everybody_is_needed(verdicts: tuple[Verdict, ...]) -> None:
    finding = sum_up([answer(verdict) for verdict in verdicts], len(verdicts)).finding
    assert finding.verdict is worst(verdicts)


@pytest.mark.parametrize("verdicts", COMBINATIONS)
def test_who_failed_is_made_up_for_by_enough_others(verdicts: tuple[Verdict, ...]) -> None:
    answers = tuple(verdict for verdict in verdicts if verdict is not FAILED)
    for need in range(1, len(verdicts) + 1):
        finding = sum_up([answer(verdict) for verdict in verdicts], need).finding
        if len(answers) >= need:
            assert finding.verdict is worst(answers)
        else:
            assert finding.verdict is worst(verdicts)
        assert has_quorum([answer(verdict) for verdict in verdicts], need) == (len(answers) >= need)


def test_nobody_asked_means_nobody_answered() -> None:
    for need in (0, 1, 2):
        assert sum_up([], need).finding.verdict is FAILED


@given(ANSWERS, st.integers(0, 7))
def test_clean_takes_as_many_proofs_as_are_needed(answers: list[Answer], need: int) -> None:
    finding = sum_up(answers, need).finding
    clean = [each for each in answers if each.finding.verdict is CLEAN]
    assert finding.verdict is not CLEAN or len(clean) >= max(need, 1)


@given(ANSWERS, st.integers(0, 7))
def test_infected_wins_over_everything(answers: list[Answer], need: int) -> None:
    infected = any(each.finding.verdict is INFECTED for each in answers)
    assert (sum_up(answers, need).finding.verdict is INFECTED) == infected


@given(ANSWERS, st.sampled_from(VERDICTS))
def test_one_more_finding_never_makes_the_verdict_better(
    answers: list[Answer], more: Verdict
) -> None:
    need = len(answers)
    before = sum_up(answers, need).finding.verdict
    after = sum_up([*answers, answer(more)], need + 1).finding.verdict
    assert not answers or after.rank <= before.rank


def test_an_answer_alone_is_the_sum() -> None:
    infected = said(INFECTED, b"a", "clamd")
    assert sum_up([answer(CLEAN), infected, answer(FAILED)], 3) is infected


def test_answers_that_agree_are_added_up() -> None:
    total = sum_up(
        [
            said(INFECTED, b"a", "clamd", 1.0),
            said(CLEAN, b"", "other"),
            said(INFECTED, b"b", "avast", 3.0),
            said(INFECTED, b"a", "clamd", 2.0),
        ],
        4,
    )
    assert total.finding.verdict is INFECTED
    assert total.finding.names == ("a", "b")
    assert total.finding.text == "text of a; text of b; text of a"
    assert total.scanner == "clamd,avast"
    assert total.where == "/run/clamd,/run/avast,/run/clamd"
    assert total.seconds == 3.0
