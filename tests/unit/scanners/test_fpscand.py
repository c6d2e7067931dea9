"""fpscand beyond its transcripts: every sum of its bits, and lines that nobody says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import fpscand
from avcheck.scanners.rows import SCANNERS
from avcheck.verdict import CLEAN, INFECTED, SUSPICIOUS, UNSCANNABLE, Verdict
from tests.support.parsing import finding_or_none


def expected(bits: int) -> Verdict | None:
    if bits == 0:
        return CLEAN
    if bits & (1 | 128):
        return INFECTED
    if bits & 2:
        return SUSPICIOUS
    return None if bits & (4 | 16 | 32) else UNSCANNABLE


def test_a_sum_with_the_word_clean() -> None:
    for bits in range(256):
        finding = finding_or_none(fpscand.parse, b"%d <clean> avcheck\n" % bits, b"avcheck")
        assert (finding.verdict if finding else None) is expected(bits), bits


@given(
    st.integers(0, 300),
    st.sampled_from(["clean", "infected: x", "clean> avcheck", "", "<clean", "encrypted"]),
    st.sampled_from(["avcheck", "avcheck->x", "/etc/passwd", "", "avchecker"]),
    st.sampled_from(["{} <{}> {}", "{} {} {}", "{}<{}>{}", " {} <{}> {}"]),
)
def test_clean_is_nought_the_word_and_our_object(
    bits: int, words: str, about: str, shape: str
) -> None:
    line = shape.format(bits, words, about).encode()
    finding = finding_or_none(fpscand.parse, line + b"\n", b"avcheck")
    if finding and finding.verdict is CLEAN:
        assert line == b"0 <clean> avcheck"


@given(st.binary(max_size=40))
def test_garbage_is_not_clean(line: bytes) -> None:
    finding = finding_or_none(fpscand.parse, line, b"avcheck")
    assert finding is None or finding.verdict is not CLEAN


def test_exims_name_is_the_same_scanner() -> None:
    assert SCANNERS["f-prot6d"].module == SCANNERS["fpscand"].module
    assert SCANNERS["f-prot6d"].parameters == SCANNERS["fpscand"].parameters
