"""Words of others come out as one short line of printable ASCII, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.printable import TEXT_MAX, printable

WORDS = st.one_of(st.binary(max_size=1000), st.text(max_size=1000))


@given(WORDS, st.integers(3, 500))
def test_what_comes_out_is_short_and_printable_ascii_on_one_line(
    words: bytes | str, limit: int
) -> None:
    text = printable(words, limit)
    assert len(text) <= limit
    assert all(" " <= letter <= "~" for letter in text)
    assert text == text.strip()


@given(WORDS)
def test_what_has_passed_once_passes_unchanged(words: bytes | str) -> None:
    text = printable(words)
    assert printable(text) == text
    assert printable(text.encode()) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (b"Eicar-Test FOUND", "Eicar-Test FOUND"),
        (b"a\r\nb\tc\vd\fe", "a  b c d e"),
        (b"\x1b[31mred\x07", "?[31mred?"),
        (b"a\0b\x7f", "a?b?"),
        (b" \r\n", ""),
        (b"", ""),
        ("gr\u00fcn", "gr??n"),
        ("\udcff", "?"),
        ("a\u2028b", "a???b"),
    ],
)
def test_each_byte_that_is_not_printable_is_a_blank_or_a_question_mark(
    words: bytes | str, text: str
) -> None:
    assert printable(words) == text


def test_a_cut_is_marked_and_only_a_cut() -> None:
    assert printable(b"x" * TEXT_MAX) == "x" * TEXT_MAX
    assert printable(b"x" * (TEXT_MAX + 1)) == "x" * (TEXT_MAX - 3) + "..."
