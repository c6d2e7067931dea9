"""SSSP beyond its transcripts: paths, what is not sent, and replies that nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import ask
from avcheck.exits import Defer
from avcheck.scanners import sssp
from avcheck.scanners.rows import PATH, STREAM
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, spooled

WORDS = st.sampled_from(
    [b"DONE", b"OK", b"FAIL", b"VIRUS", b"EVENT", b"0000", b"0203", b"0212", b"0210", b"x", b""]
)
LINES = st.lists(st.lists(WORDS, max_size=4).map(b" ".join) | st.binary(max_size=30), max_size=5)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (b"/spool/avcheck.1f", b"/spool/avcheck.1f"),
        (b"/a b/100%", b"/a%20b/100%25"),
        (b"/a\tb\r\x7f\xff", b"/a%09b%0D%7F%FF"),
        (b"/\xc3\xa9", b"/\xc3\xa9"),
    ],
)
def test_a_path_is_sent_so_that_it_ends_no_command(path: bytes, sent: bytes) -> None:
    assert sssp.encoded(path) == sent


@given(LINES)
def test_clean_is_done_ok_0000_and_nothing_against_it(lines: list[bytes]) -> None:
    finding = finding_or_none(sssp.parse, lines)
    if finding and finding.verdict is CLEAN:
        assert lines[-1].split(b" ")[:3] == [b"DONE", b"OK", b"0000"]
        assert not any(b"VIRUS" in line.split(b" ")[:2] for line in lines)
        assert not any(line.startswith(b"FAIL") for line in lines)


@given(LINES)
def test_a_virus_is_never_lost_among_other_lines(lines: list[bytes]) -> None:
    finding = sssp.parse([*lines, b"VIRUS EICAR-AV-Test /x", b"DONE OK 0203"])
    assert finding.verdict is INFECTED
    assert "EICAR-AV-Test" in finding.names


def test_the_message_is_not_sent_to_a_daemon_that_does_not_want_it(tmp_path: Path) -> None:
    reply = b"OK SSSP/1.0\r\nACC 1/1\r\nREJ 5\r\n"
    with spooled(tmp_path) as message, Wire(reply, stays=True) as wire:
        with pytest.raises(Defer, match=r"savdid\.conf"):
            ask.dialogue(sssp, wire.conn, message, Target(None, STREAM))
        size = message.seen
        assert wire.heard() == b"SSSP/1.0\nSCANDATA %d\n" % size


def test_a_daemon_that_hung_up_over_the_message_has_not_seen_it(tmp_path: Path) -> None:
    reply = b"OK SSSP/1.0\r\nACC 1/1\r\nACC 1/2\r\nDONE OK 0000\r\n\r\n"
    with spooled(tmp_path) as message, Wire(reply) as wire:
        wire.conn.gone = BrokenPipeError()
        with pytest.raises(Defer):
            ask.dialogue(sssp, wire.conn, message, Target(None, STREAM))


def test_a_reply_may_be_long(tmp_path: Path) -> None:
    lines = b"".join(b"OK 0000 /tmp/savid/%d\r\n" % number for number in range(2000))
    reply = b"OK SSSP/1.0\r\nACC 1/1\r\nACC 1/2\r\n" + lines + b"DONE OK 0000\r\n\r\n"
    with spooled(tmp_path, named=True) as message, Wire(reply) as wire:
        assert sssp.scan(wire.conn, message, Target(None, PATH)).verdict is CLEAN
