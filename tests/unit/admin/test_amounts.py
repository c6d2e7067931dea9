"""Numbers, times and sizes as a person reads and writes them."""

from __future__ import annotations

import click
import pytest

from avcheck.admin import amounts


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)]
)
def test_a_length_of_time_has_a_unit(text: str, seconds: float) -> None:
    assert amounts.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1.5h", "-1", "10 m", "9" * 20])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s"):
        amounts.duration(text)


def test_a_size_has_a_unit() -> None:
    assert amounts.number_of_bytes("25M") == 25_000_000
    assert amounts.number_of_bytes(7) == 7
    with pytest.raises(click.BadParameter, match="write 500000"):
        amounts.number_of_bytes("many")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e6, "23 days")],
)
def test_ages_are_for_people(seconds: float, words: str) -> None:
    assert amounts.age(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(5, "5 B"), (25_000, "25 kB"), (2.5e7, "25.0 MB"), (3e9, "3.0 GB")]
)
def test_sizes_are_for_people(number: float, words: str) -> None:
    assert amounts.size(number) == words
