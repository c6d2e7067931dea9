"""fsavd beyond its transcripts: replies that nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.exits import Defer
from avcheck.scanners import fsecure
from avcheck.scanners.rows import PATH
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, spooled

FILE = b"/spool/avcheck.1f"
END = b"OK\tScan ok."
LINES = st.lists(
    st.sampled_from(
        [
            END,
            b"OK\tx",
            b"CLEAN\t" + FILE,
            b"CLEAN\t/other",
            b"INFECTED\t" + FILE + b"\tX\tAVP",
            b"SCAN_FAILURE\t" + FILE + b"\t0x1\tx",
            b"ERROR\tx",
            b"",
        ]
    )
    | st.binary(max_size=20),
    max_size=5,
)


@given(LINES)
def test_clean_is_said_of_our_file_and_ended(lines: list[bytes]) -> None:
    finding = finding_or_none(fsecure.parse, lines, FILE)
    if finding and finding.verdict is CLEAN:
        said = lines[: lines.index(END)]
        assert b"CLEAN\t" + FILE in said
        assert all(line.startswith((b"CLEAN\t", b"OPEN_", b"CLOSE_")) for line in said)


@given(LINES)
def test_a_virus_is_found_until_the_end(lines: list[bytes]) -> None:
    before = [line for line in lines if not line.startswith((b"OK", b"ERROR"))]
    finding = fsecure.parse([*before, b"MIME_INFECTED\t[x]y\tEICAR\tAVP", END], FILE)
    assert finding.verdict is INFECTED
    assert "EICAR" in finding.names


def test_a_tab_in_the_path_would_be_another_field(tmp_path: Path) -> None:
    directory = tmp_path / "a\tb"
    directory.mkdir(mode=0o700)
    with spooled(directory, named=True) as message, Wire(b"", stays=True) as wire:
        with pytest.raises(Defer, match="tab"):
            fsecure.scan(wire.conn, message, Target(None, PATH))
        assert wire.heard() == b""
