"""drwebd beyond its transcripts: every bit of its code, and sizes that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.exits import Defer
from avcheck.scanners import drweb
from avcheck.scanners.rows import STREAM
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Verdict
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, spooled

IS_CLEAN = 1 << 20

# drweb.h of the client sources 4.33.
BITS: dict[int, Verdict | None] = {
    0: None,  # READ_ERR
    1: None,  # WRITE_ERR
    2: None,  # NOMEMORY
    3: UNSCANNABLE,  # CRC_ERROR
    4: None,  # READSOCKET
    5: INFECTED,  # KNOWN_VIRUS
    6: SUSPICIOUS,  # UNKNOWN_VIRUS
    7: INFECTED,  # VIRUS_MODIFICATION
    8: INFECTED,  # HAVE_CURED
    9: None,  # TIMEOUT
    10: UNSCANNABLE,  # SYMLINK
    11: UNSCANNABLE,  # NO_REGFILE
    12: UNSCANNABLE,  # SKIPPED
    13: UNSCANNABLE,  # TOO_BIG
    14: UNSCANNABLE,  # TOO_COMPRESSED
    15: None,  # BAD_CALL
    16: None,  # EVAL_KEY, which says nothing about the message
    17: POLICY,  # FILTER_REJECT
    18: UNSCANNABLE,  # ARCHIVE_LEVEL
    19: INFECTED,  # HAVE_DELETED
    20: CLEAN,  # IS_CLEAN
    21: None,  # LICENSE_ERROR
    22: POLICY,  # ADWARE
    23: POLICY,  # DIALER
    24: POLICY,  # JOKE
    25: POLICY,  # RISKWARE
    26: POLICY,  # HACKTOOL
    27: None,  # no such bit
    28: None,  # the clients' own
    29: None,
    30: None,
    31: None,
}


@pytest.mark.parametrize(("bit", "verdict"), BITS.items())
def test_a_bit_alone(bit: int, verdict: Verdict | None) -> None:
    finding = finding_or_none(drweb.parse, 1 << bit, [])
    assert (finding.verdict if finding else None) is verdict


@pytest.mark.parametrize(("bit", "verdict"), BITS.items())
def test_a_bit_beside_clean(bit: int, verdict: Verdict | None) -> None:
    finding = finding_or_none(drweb.parse, 1 << bit | IS_CLEAN, [])
    assert (finding.verdict if finding else None) is (CLEAN if bit == 16 else verdict)


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.binary(max_size=40), max_size=3))
def test_clean_is_one_bit_and_no_string(code: int, strings: list[bytes]) -> None:
    finding = finding_or_none(drweb.parse, code, strings)
    if finding and finding.verdict is CLEAN:
        assert code in (IS_CLEAN, IS_CLEAN | 1 << 16)
        assert not strings


@given(st.integers(0, 0xFFFFFFFF))
def test_zero_is_clean_only_by_itself(code: int) -> None:
    finding = finding_or_none(drweb.parse, code, [], True)
    if finding and finding.verdict is CLEAN:
        assert code & ~(1 << 16) in (0, IS_CLEAN)


def test_a_message_that_is_too_large_for_the_protocol_is_not_sent(tmp_path: Path) -> None:
    with spooled(tmp_path) as message, Wire(b"", stays=True) as wire:
        message.seen = 1 << 32
        finding = drweb.scan(wire.conn, message, Target(None, STREAM))
        assert finding.verdict is UNSCANNABLE
        assert wire.heard() == b""


@pytest.mark.parametrize(
    "reply",
    [
        b"\0\0\0\x20\xff\xff\xff\xff",
        b"\0\0\0\x20\0\0\0\x01\x7f\xff\xff\xff",
        b"\0\0\0\x20\0\0\0\x02\0\0\0\x01A\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_sizes_that_cannot_be_are_not_waited_for(reply: bytes, tmp_path: Path) -> None:
    with (
        spooled(tmp_path) as message,
        Wire(reply, stays=True) as wire,
        pytest.raises(Defer, match="unexpected"),
    ):
        drweb.scan(wire.conn, message, Target(None, STREAM))
