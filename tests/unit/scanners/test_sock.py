"""sock beyond its transcripts: what patterns can and cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import ask
from avcheck.exits import CONFIG, Defer
from avcheck.scanners import sock
from avcheck.scanners.rows import PATH
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED
from tests.support.parsing import finding_or_none
from tests.support.wire import Wire, settings, spooled

PATTERNS = sock.compiled(
    {
        "clean": b"OK|DONE",
        "infected": b"FOUND .*|OK",
        "encrypted": b"LOCKED",
        "more": b"INFO.*",
        "name": b"FOUND (.*)",
    }
)
LINES = st.lists(
    st.sampled_from([b"OK", b"DONE", b"FOUND X", b"LOCKED", b"INFO", b"INFO OK", b"x", b""]),
    max_size=6,
)


@given(LINES, st.booleans())
def test_clean_is_one_line_after_nothing_but_more(lines: list[bytes], every: bool) -> None:
    finding = finding_or_none(sock.parse, lines, PATTERNS, every)
    if finding and finding.verdict is CLEAN:
        rest = [line for line in lines if not line.startswith(b"INFO")]
        assert rest[0] == b"DONE"  # OK matches two patterns, and means the worse
        assert not every or lines[-1] == b"DONE"


@given(LINES)
def test_with_every_line_a_find_is_never_lost(lines: list[bytes]) -> None:
    before = [line for line in lines if line not in (b"DONE",)]
    finding = sock.parse([*before, b"FOUND EICAR", b"DONE"], PATTERNS, True)
    assert finding.verdict is INFECTED
    assert "EICAR" in finding.names


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"infected": b".*"},
        {"clean": b"("},
        {"clean": b"OK", "name": b"["},
        {"clean": b"OK", "send": b"SCAN"},
        {"clean": b"OK", "end": b"crlf"},
    ],
)
def test_a_set_up_that_cannot_work_is_not_tried(
    parameters: dict[str, bytes], tmp_path: Path
) -> None:
    with spooled(tmp_path, named=True) as message, Wire(b"OK\n", stays=True) as wire:
        with pytest.raises(Defer) as raised:
            sock.scan(wire.conn, message, Target(None, PATH, parameters=parameters))
        assert raised.value.code == CONFIG
        assert wire.heard() == b""


def test_a_name_is_its_first_group_or_all_of_it() -> None:
    patterns = sock.compiled({"clean": b"OK", "infected": b".*", "name": rb"\w+/\w+"})
    assert sock.parse([b"found A/b and C/d"], patterns, False).names == ("A/b", "C/d")
    patterns = sock.compiled({"clean": b"OK", "infected": b".*", "name": rb"(x)?\w+"})
    assert sock.parse([b"found"], patterns, False).names == ()


def test_a_pattern_cannot_match_a_part_of_a_line() -> None:
    patterns = sock.compiled({"clean": b"OK"})
    for line in (b"OK ", b"NOT OK", b"OK\nFOUND", b"OKAY"):
        assert finding_or_none(sock.parse, [line], patterns, False) is None


@pytest.mark.parametrize(
    ("end", "reply"),
    [
        (b"nul", b"OK part 1\nEicar FOUND\nOK part 2\0"),
        (b"nul", b"/x: Eicar FOUND\n/x: OK\0"),
        (b"lf", b"OK part 1\rEicar FOUND\n"),
        (b"lf", b"OK part 1\0Eicar FOUND\n"),
    ],
)
@pytest.mark.parametrize("clean", [b"OK.*", b".*OK", b"OK.*|.*OK.*"])
def test_a_pattern_does_not_reach_over_the_end_of_another_line(
    tmp_path: Path, end: bytes, reply: bytes, clean: bytes
) -> None:
    parameters = {"clean": clean, "infected": b".*FOUND", "end": end}
    with spooled(tmp_path, named=True) as message, Wire(reply, stays=True) as wire:
        target = Target(None, PATH, parameters=parameters)
        assert ask.dialogue(sock, wire.conn, message, target).verdict is INFECTED


def test_a_greeting_that_never_comes_ends(tmp_path: Path) -> None:
    target = Target(None, PATH, parameters={"clean": b"OK", "greeting": b"ready"})
    with (
        spooled(tmp_path, named=True) as message,
        Wire(b"x\n" * 500, stays=True) as wire,
        pytest.raises(Defer, match="greeting"),
    ):
        sock.scan(wire.conn, message, target)


def test_more_without_end_ends(tmp_path: Path) -> None:
    target = Target(None, PATH, parameters={"clean": b"OK", "more": b".*"})
    with (
        spooled(tmp_path, named=True) as message,
        Wire(b"x\n" * 20000, stays=True) as wire,
        pytest.raises(Defer, match="unexpected"),
    ):
        sock.scan(wire.conn, message, target)


def test_the_documented_example_is_understood() -> None:
    where = (
        b"sock:/run/oav.sock?send=SCAN%20{path}%0A&clean=OK.*&infected=FOUND:.*&name=FOUND:%20(.*)"
    )
    (target,) = settings(b"-s", where).scanners[-1].targets
    assert target.way == PATH
    assert target.parameters["send"] == b"SCAN {path}\n"
    patterns = sock.compiled(target.parameters)
    assert sock.parse([b"FOUND: EICAR"], patterns, False).names == ("EICAR",)
