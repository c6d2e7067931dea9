"""The seven verdicts, and the door that a scanner's words come in by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avcheck import verdict
from avcheck.exits import EXPIRED, SYSTEM
from avcheck.verdict import CLEAN, FAILED, INFECTED, NAME_MAX, VERDICTS, Answer, Finding


def test_the_verdicts_are_these_worst_first() -> None:
    assert [each.name for each in VERDICTS] == [
        "infected",
        "suspicious",
        "policy",
        "failed",
        "encrypted",
        "unscannable",
        "clean",
    ]
    assert [each.rank for each in VERDICTS] == list(range(7))
    assert [getattr(verdict, each.name.upper()) for each in VERDICTS] == list(VERDICTS)


def test_a_verdict_shows_its_name() -> None:
    assert repr(INFECTED) == "INFECTED"


@given(st.lists(st.binary(max_size=200), max_size=6), st.one_of(st.binary(), st.text()))
def test_names_and_text_are_printable_and_short(names: list[bytes], text: bytes | str) -> None:
    finding = Finding(INFECTED, tuple(names), text)
    for words in (*finding.names, finding.text):
        assert all(" " <= letter <= "~" for letter in words)
    assert all(len(name) <= NAME_MAX for name in finding.names)


def test_names_keep_their_order_and_lose_their_doubles() -> None:
    assert Finding(INFECTED, (b"b", b"a", b"b", b"c", b"a")).names == ("b", "a", "c")


def test_a_finding_has_a_code_to_defer_with() -> None:
    assert Finding(FAILED).code == SYSTEM
    assert Finding(FAILED, (), "", EXPIRED).code == EXPIRED


def test_an_answer_is_one_to_the_message_unless_something_else_is_said() -> None:
    answer = Answer("clamd", "/run/clamd", Finding(CLEAN))
    assert (answer.asked, answer.tested, answer.seconds) == (True, False, 0.0)
