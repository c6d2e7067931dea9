"""SAVAPI beyond its transcripts: what follows an error, and replies that nobody says."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import savapi
from avcheck.scanners.rows import PATH
from avcheck.settings import Target
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, spooled

LINES = st.lists(
    st.sampled_from(
        [
            *(b"200", b"200 x", b"210 x", b"310 A ; virus ; x", b"319", b"350 encrypted"),
            *(b"350 x", b"421 x", b"422 x", b"499 x", b"2000", b"444", b""),
        ]
    )
    | st.binary(max_size=20),
    max_size=5,
)


@given(LINES)
def test_clean_is_200_or_210_after_nothing_bad(lines: list[bytes]) -> None:
    finding = finding_or_none(savapi.parse, lines)
    if finding and finding.verdict is CLEAN:
        codes = [line[:3] for line in lines]
        end = min(codes.index(code) for code in (b"200", b"210") if code in codes)
        assert set(codes[:end]) <= {b"401", b"420", b"421", b"430", b"440", b"450", b"499"}


@given(st.lists(st.sampled_from([b"350 x", b"350 encrypted", b"499 x", b"444 x", b""])))
def test_an_alert_is_never_lost_among_other_lines(lines: list[bytes]) -> None:
    finding = savapi.parse([*lines, b"310 EICAR ; virus ; x", b"200"])
    assert (finding.verdict, finding.names) == (INFECTED, ("EICAR",))


def test_an_error_may_be_the_last_line(tmp_path: Path) -> None:
    reply = b"100 SAVAPI:4.0\n100 x\n350 12 encrypted\n"
    target = Target(None, PATH, parameters={"product": b"1", "set": b""})
    with spooled(tmp_path, named=True) as message, Wire(reply, stays=True) as wire:
        assert savapi.scan(wire.conn, message, target).verdict is ENCRYPTED
