"""What is said of what was done: where the message is now is seen in the mail system's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck import act
from tests.support.mta import Site
from tests.support.quarantine import Quarantine

ENTRY = "20260102T030405Z-0123456789ab"
NAMES = ["Eicar-Test-Signature", "Win.Trojan.Very-Long-Family-Name_" + "0" * 40, "x" * 190]


def logged(output: bytes) -> str:
    """What Postfix 3.7 logs of it (pipe_command.c)."""
    assert act.LOGGED == 100
    return output[: act.LOGGED].decode("ascii")


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_in_the_quarantine_is_logged(site: Site, tmp_path: Path, name: str) -> None:
    site.clamd(says=name.encode() + b" FOUND")
    quarantine = Quarantine(tmp_path / "quarantine")
    ended = site.deliver("--on", quarantine.action)
    assert ended.status == 0
    (entry,) = quarantine.entries
    found, _, where = logged(ended.output).rstrip("\n").partition("; ")
    assert where == f"quarantined as {entry.name}"
    assert found.startswith(f"infected: {name[:20]}")


@pytest.mark.parametrize("name", NAMES)
def test_so_is_that_of_a_handler_behind_a_long_path(site: Site, tmp_path: Path, name: str) -> None:
    site.clamd(says=name.encode() + b" FOUND")
    handler = tmp_path / ("long" * 40) / "infected.sh"
    handler.parent.mkdir()
    handler.write_text(f'#!/bin/sh\nrm "$1"\necho stored as {ENTRY}\n')
    handler.chmod(0o755)
    ended = site.deliver("-i", str(handler))
    assert ended.status == 0
    found, _, where = logged(ended.output).rstrip("\n").partition("; ")
    assert where == f"infected.sh stored as {ENTRY}"
    assert found.startswith(f"infected: {name[:20]}")


def test_what_a_handler_says_at_length_leaves_room_for_what_was_found(site: Site) -> None:
    site.clamd(says=b"x" * 190 + b" FOUND")
    site.handler('rm "$1"; printf "%0300d" 0')
    ended = site.deliver()
    assert ended.status == 0
    assert ended.output.startswith(b"infected: " + b"x" * 27 + b"...; handler")
