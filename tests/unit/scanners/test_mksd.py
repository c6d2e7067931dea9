"""mksd beyond its transcripts: lines that nobody says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import mksd
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none

PATH = b"/spool/x"


@given(
    st.lists(st.sampled_from([b"OK", b"VIR", b"ERR", b"ok", b"A", b"x", b"", PATH])).map(b" ".join)
    | st.binary(max_size=20)
)
def test_clean_is_ok_and_infected_has_a_name(line: bytes) -> None:
    finding = finding_or_none(mksd.parse, line, PATH)
    if finding and finding.verdict is CLEAN:
        assert line in (b"OK", b"OK " + PATH)
    elif finding:
        assert finding.verdict is INFECTED
        assert finding.names
        assert not line.startswith((b"OK", b"ERR", b"A"))
