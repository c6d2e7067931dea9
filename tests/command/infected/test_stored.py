"""What scripts/infected.sh stores, and for whom it can be read."""

from __future__ import annotations

import hashlib
import os
import re

import pytest

from tests.support.infected_site import ALL_BYTES, HOSTILE, MAIL, PATIENCE, Site

# What is stored


def test_the_message_and_what_is_known_about_it_are_stored(site: Site) -> None:
    status, err = site.run()
    assert (status, err) == (0, "")
    site.assert_stored()
    (entry,) = site.entries()
    about = site.about()
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{12}", about["entry"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["time"])
    assert about == {
        "entry": entry.name,
        "time": about["time"],
        "host": os.uname().nodename,
        "queue_id": "4abc",
        "verdict": "infected",
        "virus": "Eicar-Test-Signature",
        "scanner": "clamd /run/clamav/clamd.ctl",
        "text": "Eicar FOUND",
        "sha256": hashlib.sha256(MAIL).hexdigest(),
        "sender": "eve@example.org",
        "sendmail": f"{site.sendmail} -i",
        "recipients": ["bob@example.org"],
        "size": len(MAIL),
    }


def test_a_script_that_is_cut_short_has_stored_nothing(site: Site) -> None:
    """A copy on a full disk, or a crash, ends at the end of a block; comments alone end with 0."""
    whole = site.script.read_text()
    for size in range(512, len(whole) - 2, 512):
        site.script.write_text(whole[:size])
        status, _ = site.run()
        assert status not in (0, *range(64, 75), 76, 77, 78), size
        assert site.message.read_bytes() == MAIL


def test_the_quarantine_is_private(site: Site) -> None:
    assert site.run()[0] == 0
    for path in [site.quarantine, *site.quarantine.rglob("*")]:
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


def test_every_byte_of_an_envelope_can_be_had_back(site: Site) -> None:
    words = [b"text: " + ALL_BYTES, *HOSTILE]
    for name in ("VIRUS", "SCANNER", "QUEUE_ID", "VERDICT"):
        site.environment[f"AVCHECK_{name}"] = ALL_BYTES
    assert site.run(words) == (0, "")
    site.assert_stored()
    about = site.about()
    told = [about["text"], about["sender"], *about["recipients"]]
    assert [os.fsencode(word) for word in told] == words
    for key in ("virus", "scanner", "queue_id", "verdict"):
        assert os.fsencode(about[key]) == ALL_BYTES
    assert not (site.spool / "oops").exists()


@pytest.mark.parametrize("data", [b"", b"\0", b"no newline at the end", b"\r\n" * 3], ids=repr)
def test_any_bytes_are_a_message(site: Site, data: bytes) -> None:
    site.message.write_bytes(data)
    del site.environment["AVCHECK_SHA256"]
    assert site.run()[0] == 0
    (entry,) = site.entries()
    assert (entry / "message").read_bytes() == data
    assert site.about()["size"] == len(data)


def test_only_the_message_is_needed(site: Site) -> None:
    status, err = site.run([], environment={})
    assert status == 0
    assert "no SENDMAIL" in err
    site.assert_stored()
    assert site.about()["sender"] == ""
    assert site.about()["recipients"] == []


def test_a_relative_name_with_a_dash_is_a_file(site: Site) -> None:
    site.message.rename(site.spool / "-f")
    site.message = site.spool / "-f"
    assert site.run(message="-f") == (0, "")
    site.assert_stored()


def test_twenty_at_once_have_twenty_names(site: Site) -> None:
    site.forget_queue_id()
    messages = []
    for number in range(20):
        message = site.spool / f"m.{number}"
        message.write_bytes(MAIL)
        messages.append(message)
    started = [site.start(message=message) for message in messages]
    for process in started:
        _, err = process.communicate(timeout=2 * PATIENCE)
        assert (process.returncode, err) == (0, b"")
    assert len(site.entries()) == len(messages)
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}
    assert site.unfinished() == []
    assert list(site.spool.glob("m.*")) == []
    assert len(list(site.reports.glob("*.mail"))) == len(messages)


def test_an_entry_is_never_overwritten(site: Site) -> None:
    # The same second, and random numbers that repeat three times.
    site.forget_queue_id()
    site.program("date", 'echo "2026-01-02T03:04:05Z"')
    site.program(
        "od",
        'case $* in *urandom*) echo "$0" >>drawn; [ "$(wc -l <drawn)" -gt 3 ] || exec echo " 00 01"'
        '\n;; esac; exec /usr/bin/od "$@"',
    )
    taken = site.quarantine / "20260102T030405Z-0001"
    taken.mkdir(parents=True)
    site.quarantine.chmod(0o700)
    (taken / "message").write_bytes(b"another")
    assert site.run() == (0, "")
    assert (taken / "message").read_bytes() == b"another"
    assert len(site.entries()) == 2
    assert list(taken.iterdir()) == [taken / "message"]
