"""Avast beyond its transcripts: what a backslash does, and replies that nobody says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import avast
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none

PATH = b"/spool/avcheck.1f"
CLEAN_LINE = b"SCAN " + PATH + b"\t[+]"
LINES = st.lists(
    st.sampled_from(
        [
            b"210 SCAN DATA",
            b"200 SCAN OK",
            b"466 License",
            CLEAN_LINE,
            CLEAN_LINE + b"0.0",
            PATH + b"|>a\\\t[+]\t[L]0.0\t0 X",
            b"SCAN " + PATH + b"\t[E]0.0\tError 1 password",
            b"SCAN /other\t[+]",
            b"",
        ]
    )
    | st.binary(max_size=30),
    max_size=5,
)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (PATH, PATH),
        (b"/a b\tc", b"/a\\ b\\\tc"),
        (b"/a\\ b", b"/a\\\\\\ b"),
    ],
)
def test_a_path_is_sent_as_one_word_and_understood_when_it_comes_back(
    path: bytes, sent: bytes
) -> None:
    assert avast.escaped(path) == sent
    lines = [b"210 SCAN DATA", b"SCAN " + sent + b"\t[+]", b"200 SCAN OK"]
    assert avast.parse(lines, path).verdict is CLEAN


@given(LINES)
def test_clean_is_said_of_our_file_and_of_no_other(lines: list[bytes]) -> None:
    finding = finding_or_none(avast.parse, lines, PATH)
    if finding and finding.verdict is CLEAN:
        about = lines[1 : lines.index(b"200 SCAN OK")]
        assert lines[0] == b"210 SCAN DATA"
        assert about
        for line in about:
            assert line.removeprefix(b"SCAN ").startswith((PATH + b"\t[+]", PATH + b"|>"))


@given(LINES)
def test_a_virus_is_found_until_the_end(lines: list[bytes]) -> None:
    before = [line for line in lines if not line[:1].isdigit()]
    infected = b"SCAN " + PATH + b"\t[L]0.0\t0 EICAR"
    finding = avast.parse([b"210 SCAN DATA", *before, infected, b"200 SCAN OK"], PATH)
    assert finding.verdict is INFECTED
    assert "EICAR" in finding.names
