"""kavdaemon beyond its transcripts."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from avcheck.scanners import avp
from avcheck.scanners.rows import PATH, SCANNERS
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, settings, spooled

REPORTS = st.lists(
    st.sampled_from([b"/m infected: A", b"/m suspicion: B", b" infected: ", b"ok", b"\xff"])
).map(b"\r\n".join)


def test_the_request_is_that_of_the_vendors_library(tmp_path: Path) -> None:
    with spooled(tmp_path, named=True) as message, Wire(b"0\0") as wire:
        assert avp.scan(wire.conn, message, Target(None, PATH)).verdict is CLEAN
        date = rb"<0>[A-Z][a-z]{2} [ 1-3][0-9] \d\d:\d\d:\d\d:"
        assert re.fullmatch(date + re.escape(message.path), wire.heard())


@given(st.integers(0, 255), REPORTS)
def test_clean_is_one_byte_and_nothing_in_the_report(result: int, report: bytes) -> None:
    finding = finding_or_none(avp.parse, result, report)
    if finding and finding.verdict is CLEAN:
        assert result == 0x30
        assert b" infected: " not in report
        assert b" suspicion: " not in report


@given(st.integers(0, 255), st.binary(max_size=200))
def test_no_report_raises_what_is_not_declared(result: int, report: bytes) -> None:
    finding_or_none(avp.parse, result, report)


def test_what_is_infected_is_so_whatever_else_is_wrong() -> None:
    for high in (0x30, 0x40, 0x70, 0xB0):
        assert avp.parse(high + 4, b"").verdict is INFECTED


def test_both_names_work_without_a_place() -> None:
    for name in (b"avp", b"avp:", b"kavdaemon", b"kavdaemon:"):
        scanner = settings(b"-s", name).scanners[-1]
        assert scanner.row.module == "avp"
        assert str(scanner.targets[0].address) == "/var/run/AvpCtl"
        assert scanner.targets[0].way == PATH
    assert SCANNERS["kavdaemon"].where == SCANNERS["avp"].where
