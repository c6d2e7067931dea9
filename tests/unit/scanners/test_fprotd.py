"""f-protd beyond its transcripts: paths that cannot be sent, and replies that nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.exits import Defer
from avcheck.scanners import fprotd
from avcheck.scanners.rows import PATH
from avcheck.settings import Target
from avcheck.verdict import CLEAN
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, settings, spooled

PIECES = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 500 No\r\n",
            b"\r\n",
            b'<summary code="9">clean</summary>',
            b'<summary code="11">infected</summary>',
            b'<summary code="9">',
            b"<detected><name>X</name></detected>",
            b"<name>",
            b"</fprot-results>",
            b"x",
        ]
    ),
    max_size=8,
).map(b"".join)


@given(PIECES | st.binary(max_size=80))
def test_clean_is_one_summary_and_an_end(reply: bytes) -> None:
    finding = finding_or_none(fprotd.parse, reply)
    if finding and finding.verdict is CLEAN:
        assert reply.startswith(b"HTTP/1.0 200 ")
        assert reply.count(b'<summary code="9">clean</summary>') == 1
        assert reply.count(b"<summary ") == 1
        assert reply.endswith(b"</fprot-results>")
        assert b"<detected" not in reply
        assert b"<name>X" not in reply


@pytest.mark.parametrize("name", ["a b", "50%", "what?", "a#b", "a\x7f"])
def test_a_path_that_means_something_else_in_an_address_is_not_sent(
    name: str, tmp_path: Path
) -> None:
    directory = tmp_path / name
    directory.mkdir(mode=0o700)
    with spooled(directory, named=True) as message, Wire(b"", stays=True) as wire:
        with pytest.raises(Defer, match="path of the spool directory"):
            fprotd.scan(wire.conn, message, Target(None, PATH))
        assert wire.heard() == b""


def test_five_ports_are_tried() -> None:
    targets = settings(b"-s", b"f-protd").scanners[-1].targets
    assert [str(target.address) for target in targets] == [
        f"127.0.0.1:{port}" for port in range(10200, 10205)
    ]
