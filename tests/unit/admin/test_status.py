"""avcheckctl status: the waitfile, the scanners, what is in flight, and what waits."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avcheck.admin import amounts, flight
from avcheck.admin.services import settings_from
from avcheck.options import reading
from avcheck.state import canary
from tests.support.admin import KnowingClamd, Said, avcheckctl
from tests.support.fakes import FakeClamd
from tests.support.tree import ROOT
from tests.unit.admin.test_ping import HungClamd

GUARD = ROOT / "scripts" / "avcheck-guard.sh"


def shown(*words: str | os.PathLike[str]) -> tuple[Said, dict[str, str]]:
    """What a person sees, by the first words of the lines; of several the last."""
    said = avcheckctl("status", *words)
    return said, dict(line.split("  ", 1) for line in said.out.splitlines())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


# The waitfile.


def test_a_quiet_site(place: Path) -> None:
    said = avcheckctl("status", "-w", place / "wait", "-d", place, "--json")
    assert said.status == 0
    (facts,) = said.facts
    assert facts["paused"] is False
    assert facts["checked"] is True
    assert facts["in_flight"] == []
    assert facts["deferred"] is None
    assert "checked" in avcheckctl("status", "-w", place / "wait").out


def test_a_pause_is_told_in_local_time_and_kept_in_utc(place: Path, in_cet: None) -> None:
    (place / "wait").write_text(
        "a new disk\nuntil 2000-06-01T23:04:05Z\nby anna on mx since 2000-01-01T10:00:00Z\nheld ."
    )
    said, rows = shown("-w", place / "wait")
    assert said.status == 1
    assert rows["Mail"].strip() == f"held back by {place}/wait"
    assert rows["Reason"].strip() == "a new disk"
    assert rows["Until"].strip() == "2000-06-02 01:04:05 CEST, which is over"
    assert rows["By"].strip() == "anna on mx since 2000-01-01 11:00:00 CET"
    assert rows["Held back"].strip() == "1 attempt"
    (facts,) = avcheckctl("status", "-w", place / "wait", "--json").facts
    assert facts["until"] == "2000-06-01T23:04:05Z"
    assert (facts["held"], facts["checked"]) == (1, False)


@pytest.mark.parametrize(
    "text", ["", "soon", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2000-01-01T00:00:00"]
)
def test_a_time_that_no_clock_shows_stays_as_it_is(text: str, in_cet: None) -> None:
    assert amounts.local(text) in (text, "0001-01-01 01:00:00 CET", "1-01-01 01:00:00 CET")


def test_something_to_look_at_is_needed(tmp_path: Path) -> None:
    assert avcheckctl("status").status == 2
    said = avcheckctl("status", "-d", tmp_path / "no")
    assert said.status == 2
    assert "No such file" in said.err


def test_a_waitfile_that_is_a_directory(place: Path) -> None:
    (place / "wait").mkdir()
    said, rows = shown("-w", place / "wait")
    assert said.status == 1
    assert rows["By"].strip() == "unknown"
    assert rows["Held back"].strip() == "not counted"


# The scanners.


def test_a_scanner_that_is_dead_is_not_well(place: Path) -> None:
    said, rows = shown("-w", place / "wait", "-s", f"clamd:{place}/clamd")
    assert said.status == 1
    assert rows["Mail"].strip().startswith("waits")
    assert "does not answer: connect: No such file" in rows["Scanner"]
    with FakeClamd(place / "hangs up", hangs_up=True):
        assert avcheckctl("status", "-d", place, "-s", f"clamd:{place}/hangs up").status == 1


def test_a_scanner_that_answers_is_well(place: Path) -> None:
    with KnowingClamd(place / "clamd"):
        said, rows = shown("-w", place / "wait", "-s", f"clamd:{place}/clamd")
    assert said.status == 0
    assert rows["Mail"].strip() == "checked"
    assert rows["Scanner"].strip() == f"clamd {place}/clamd answers"


def test_a_backup_in_its_place_gives_a_verdict_but_all_is_not_well(place: Path) -> None:
    with KnowingClamd(place / "clamd"):
        scanners = ("-s", "clamd:/nowhere", "--backup", f"clamd:{place}/clamd")
        said = avcheckctl("status", "-d", place, *scanners, "--json")
        assert said.status == 1
        assert said.facts[0]["checked"] is True
        said = avcheckctl("status", "-d", place, *scanners, "--need", "2", "--json")
    assert said.facts[0]["checked"] is False


def test_all_that_hang_share_one_short_limit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avcheck.admin.state.PATIENCE", 0.4)
    with HungClamd(place / "one"), HungClamd(place / "two"):
        said = avcheckctl("status", "-d", place, "-s", f"clamd:{place}/one,{place}/two", "--json")
    assert said.status == 1
    wrong = [each["error"] for each in said.facts[0]["scanners"]]
    assert wrong == [f"{place}/{name}: no answer within 0.2 s" for name in ("one", "two")]


# What is in the spool directory.


def left_behind(place: Path) -> list[str]:
    """Files of all options in the spool directory; the options."""
    (place / "slot.0").touch()
    (place / "slot.1").touch()
    settings = settings_from(reading.parse_options([b"-s", f"clamd:{place}/clamd".encode()])[0], [])
    (scanner,) = settings.scanners
    (place / os.fsdecode(canary.state_file(scanner, scanner.targets[0]))).write_bytes(b"+")
    (place / "canary.ffff").write_bytes(b"-")
    (place / "attempts.31").write_bytes(b".")
    return ["--slots", "3", "--canary", "60", "--attempts", "3", "-s", f"clamd:{place}/clamd"]


def test_what_options_in_use_have_there_is_shown(place: Path) -> None:
    words = left_behind(place)
    slot = os.open(place / "slot.1", os.O_RDWR)
    try:
        fcntl.flock(slot, fcntl.LOCK_EX)
        with KnowingClamd(place / "clamd"):
            said, rows = shown("-d", place, *words)
            (facts,) = avcheckctl("status", "-d", place, *words, "--json").facts
    finally:
        os.close(slot)
    assert said.status == 0
    assert rows["Slots"].strip() == "1 of 3 taken"
    assert f"clamd {place}/clamd knows the test virus" in rows["Canary"]
    assert rows["Scanned in vain"].strip() == "1 message (--attempts)"
    assert (facts["slots"], facts["slots_taken"], facts["counted_messages"]) == (3, 1, 1)
    assert [each["good"] for each in facts["canaries"]] == [True]
    # Of a scanner that is not asked any more.
    assert facts["left_over"] == ["--canary"]


def test_what_options_no_longer_used_have_left_is_not_taken_for_the_state(place: Path) -> None:
    left_behind(place)
    said, rows = shown("-d", place)
    assert said.status == 0
    assert not {"Slots", "Canary", "Scanned in vain"} & set(rows)
    assert (
        rows["Left over"]
        .strip()
        .startswith("files of options that are not given (--slots, --canary, --attempts): rm ")
    )
    assert rows["Left over"].endswith(f" {place}/slot.* {place}/canary.* {place}/attempts.*")
    said, rows = shown("-d", place, "--slots", "1")
    assert rows["Slots"].strip() == "0 of 1 taken"
    assert "(--slots, --canary" in rows["Left over"]


def test_a_known_answer_test_that_went_wrong_is_not_well(place: Path) -> None:
    words = left_behind(place)
    for file in place.glob("canary.*"):
        file.write_bytes(b"-")
    with KnowingClamd(place / "clamd"):
        said, rows = shown("-d", place, *words)
    assert said.status == 1
    assert "DOES NOT KNOW THE TEST VIRUS" in rows["Canary"]
    assert rows["Mail"].strip().startswith("waits")


def test_messages_in_flight_are_named_by_queue_id(place: Path, command: Path) -> None:
    with FakeClamd(place / "clamd", hold="asked") as clamd:
        words = ("-f", "a@b", "-s", f"clamd:{place}/clamd", "-d", str(place), "-n")
        running = subprocess.Popen(
            [sys.executable, command, *words, "--queue-id", "4QUEUE\x1b", "c@d"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert running.stdin is not None
        running.stdin.close()
        clamd.arrived()
        directory = os.open(place, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_SH)
            said, rows = shown("-d", place)
            (facts,) = avcheckctl("status", "-d", place, "--json").facts
        finally:
            os.close(directory)
            clamd.release()
            running.wait()
    assert said.status == 0
    assert "4QUEUE?" in rows["In flight"]
    assert f"process {os.getpid()}" in rows["In flight"]
    assert {"process": running.pid, "queue_id": "4QUEUE?"} in facts["in_flight"]
    assert {"process": os.getpid(), "queue_id": ""} in facts["in_flight"]


@pytest.mark.parametrize(
    ("line", "queue_id"),
    [
        ("python avcheck -f --queue-id --queue-id=Q x", "Q"),
        ("/bin/sh /opt/avcheck-guard.sh --queue-id Q -- --queue-id R", "Q"),
        ("python avcheck -f a --queue-id", ""),
        ("python avcheck -f a -- b --queue-id Q", ""),
        ("other --queue-id Q", ""),
        ("", ""),
    ],
)
def test_a_queue_id_is_what_avcheck_takes_for_one(line: str, queue_id: str) -> None:
    assert flight.parse([word.encode() for word in line.split()]) == queue_id


def test_a_process_that_is_gone_has_no_queue_id() -> None:
    assert flight._queue_id(0) == ""
    assert str(flight.Flight(0, "")) == "process 0"
