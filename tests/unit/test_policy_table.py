"""What becomes of a message: the table of verdicts, written out.

test_policy.py looks at the functions; here the rule stands as a table to be compared with, and
the laws that follow from it are stated.  Messages go through the installed command in
tests/command/test_actions.py.
"""

from __future__ import annotations

import re
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import policy
from avcheck.policy import sum_up
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    FAILED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    VERDICTS,
    Answer,
    Finding,
    Verdict,
)
from tests.support.documents import POLICY_PAGE, first_column

LETTERS = {
    "I": INFECTED,
    "S": SUSPICIOUS,
    "P": POLICY,
    "F": FAILED,
    "E": ENCRYPTED,
    "U": UNSCANNABLE,
    "C": CLEAN,
}

# One scanner says what stands on the left, the other what stands above; both are needed.
BOTH_NEEDED = """
      I S P F E U C
    I I I I I I I I
    S I S S S S S S
    P I S P P P P P
    F I S P F F F F
    E I S P F E E E
    U I S P F E U U
    C I S P F E U C
"""

# The same when one answer is enough: it makes up for the scanner that failed.
ONE_NEEDED = """
      I S P F E U C
    I I I I I I I I
    S I S S S S S S
    P I S P P P P P
    F I S P F E U C
    E I S P E E E E
    U I S P U E U U
    C I S P C E U C
"""

ACTION = {
    INFECTED: "handle",
    SUSPICIOUS: "handle",
    POLICY: "handle",
    FAILED: "defer",
    ENCRYPTED: "handle",
    UNSCANNABLE: "handle",
    CLEAN: "deliver",
}


def table(text: str) -> dict[tuple[Verdict, Verdict], Verdict]:
    columns, *rows = (line.split() for line in text.strip().splitlines())
    return {
        (LETTERS[row[0]], LETTERS[column]): LETTERS[cell]
        for row in rows
        for column, cell in zip(columns, row[1:], strict=True)
    }


BOTH = table(BOTH_NEEDED)
ONE = table(ONE_NEEDED)
PAIRS = list(product(VERDICTS, repeat=2))
TRIPLES = list(product(VERDICTS, repeat=3))


def summed(verdicts: tuple[Verdict, ...], need: int) -> Verdict:
    answers = [Answer("", "", Finding(verdict)) for verdict in verdicts]
    return sum_up(answers, need).finding.verdict


def test_the_tables_have_every_pair() -> None:
    assert set(BOTH) == set(ONE) == set(PAIRS)
    assert dict(policy.DEFAULT) == ACTION


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_two_findings_sum_up_as_the_tables_say(pair: tuple[Verdict, Verdict]) -> None:
    assert summed(pair, need=2) is BOTH[pair]
    assert summed(pair, need=1) is ONE[pair]


@pytest.mark.parametrize("triple", TRIPLES, ids=repr)
def test_three_findings_sum_up_as_the_tables_say(triple: tuple[Verdict, Verdict, Verdict]) -> None:
    first, second, third = triple
    all_needed = BOTH[BOTH[first, second], third]
    one_needed = ONE[ONE[first, second], third]
    assert summed(triple, need=3) is all_needed
    assert summed(triple, need=1) is one_needed
    # Of three one may fail.
    assert summed(triple, need=2) is (one_needed if triple.count(FAILED) < 2 else all_needed)


# Laws.  A run has a finding for every scanner that it asked, so there are never fewer
# findings than --need, but for the poison brake's single one.

VERDICT = st.sampled_from(VERDICTS)
MANY = st.lists(VERDICT, min_size=1, max_size=6).map(tuple)


@given(MANY, VERDICT)
def test_as_long_as_all_are_needed_one_more_never_makes_it_better(
    verdicts: tuple[Verdict, ...], more: Verdict
) -> None:
    before = summed(verdicts, len(verdicts))
    assert summed((*verdicts, more), len(verdicts) + 1).rank <= before.rank


@given(MANY, VERDICT, st.data())
def test_with_a_fixed_need_one_more_makes_better_only_what_had_failed(
    verdicts: tuple[Verdict, ...], more: Verdict, data: st.DataObject
) -> None:
    """That is what --need N below the number of -s, and --backup, are for.

    It takes the answer that was missing, and then the worst answer decides.
    """
    need = data.draw(st.integers(1, len(verdicts)))
    before, after = summed(verdicts, need), summed((*verdicts, more), need)
    if after.rank > before.rank:
        answers = [verdict for verdict in (*verdicts, more) if verdict is not FAILED]
        assert before is FAILED
        assert more is not FAILED
        assert len(answers) == need
        assert after is min(answers, key=lambda verdict: verdict.rank)


@given(MANY, st.data())
def test_one_more_that_failed_changes_nothing_if_need_stays(
    verdicts: tuple[Verdict, ...], data: st.DataObject
) -> None:
    need = data.draw(st.integers(1, len(verdicts)))
    assert summed((*verdicts, FAILED), need) is summed(verdicts, need)


@given(MANY, st.integers(1, 7))
def test_a_larger_need_never_makes_it_better(verdicts: tuple[Verdict, ...], need: int) -> None:
    assert summed(verdicts, need + 1).rank <= summed(verdicts, need).rank


@given(MANY, st.integers(1, 7), st.sampled_from([INFECTED, SUSPICIOUS, POLICY]))
def test_what_was_found_always_wins_over_who_failed(
    verdicts: tuple[Verdict, ...], need: int, found: Verdict
) -> None:
    worst = min((*verdicts, found), key=lambda verdict: verdict.rank)
    assert summed((*verdicts, found), need) is worst
    assert summed((*verdicts, INFECTED), need) is INFECTED


@given(st.integers(0, 7))
def test_no_finding_is_failed(need: int) -> None:
    assert summed((), need) is FAILED


@given(MANY, st.integers(1, 7))
def test_clean_needs_that_many_proofs_and_no_other_answer(
    verdicts: tuple[Verdict, ...], need: int
) -> None:
    if summed(verdicts, need) is CLEAN:
        assert verdicts.count(CLEAN) >= need
        assert set(verdicts) <= {CLEAN, FAILED}


@given(MANY, st.integers(1, 7))
def test_the_order_does_not_matter(verdicts: tuple[Verdict, ...], need: int) -> None:
    some = list(permutations(verdicts))[:: max(1, len(verdicts) - 2)]
    assert {summed(each, need) for each in some} == {summed(verdicts, need)}


@given(MANY, st.integers(1, 7))
def test_all_that_was_said_with_the_worst_verdict_is_kept(
    verdicts: tuple[Verdict, ...], need: int
) -> None:
    answers = []
    for number, verdict in enumerate(verdicts):
        finding = Finding(verdict, (b"name%d" % number,), b"text%d" % number)
        answers.append(Answer(f"scanner{number}", "", finding))
    total = sum_up(answers, need)
    verdict = total.finding.verdict
    decisive = [answer for answer in answers if answer.finding.verdict is verdict]
    for each in decisive:
        assert each.finding.text in total.finding.text
        assert set(each.finding.names) <= set(total.finding.names)
        assert each.scanner in total.scanner.split(",")


# The page.


def test_the_page_has_every_verdict_with_its_action() -> None:
    assert first_column("Verdicts") == [verdict.name for verdict in VERDICTS]
    section = POLICY_PAGE.read_text().partition("\n## Verdicts\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*?\|.*?\| `(\w+)` \|", section, re.M)
    assert dict(rows) == {verdict.name: action for verdict, action in ACTION.items()}


def test_the_page_has_every_action() -> None:
    words = [word.partition(":")[0] for word in first_column("Actions")]
    assert tuple(words) == policy.ACTIONS
