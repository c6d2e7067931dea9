"""aveserver beyond its transcripts: replies that nobody says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import aveserver
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, SUSPICIOUS, UNSCANNABLE, Verdict
from tests.support.parsing import finding_or_none

LINES = st.lists(
    st.sampled_from(
        [b"220 clean", b"220-clean", b"2200", b"321-x", b"322-A /x", b"230 x", b"500 x", b"", b"3"]
    )
    | st.binary(max_size=20),
    max_size=5,
)


# And every other code is no verdict.
KNOWN: dict[int, Verdict] = {
    220: CLEAN,
    221: INFECTED,
    230: INFECTED,
    231: INFECTED,
    232: SUSPICIOUS,
    233: SUSPICIOUS,
    234: UNSCANNABLE,
    240: ENCRYPTED,
    322: INFECTED,  # and then silence
}


def test_a_code_by_itself() -> None:
    for code in range(1000):
        finding = finding_or_none(aveserver.parse, [b"%03d words" % code])
        assert (finding.verdict if finding else None) is KNOWN.get(code), code


@given(LINES)
def test_clean_is_220_before_any_other_result(lines: list[bytes]) -> None:
    finding = finding_or_none(aveserver.parse, lines)
    if finding and finding.verdict is CLEAN:
        results = [line for line in lines if not line.startswith(b"3")]
        assert results[0][:4] in (b"220 ", b"220-", b"220")
        assert not any(line.startswith(b"322") for line in lines[: lines.index(results[0])])
