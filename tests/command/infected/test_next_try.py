"""Another try of the same run finds what scripts/infected.sh has stored."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support.infected_site import MAIL, PATIENCE, Site

# Another try of the same run


def test_what_is_stored_is_found_by_the_next_try(site: Site) -> None:
    for number in range(3):
        site.message.write_bytes(MAIL)
        assert site.run() == (0, ""), number
        site.assert_stored()
    # The report comes again: the first one may not have been sent.
    assert len(list(site.reports.glob("*.mail"))) == 3


@pytest.mark.parametrize("other", ["queue id", "sender", "recipient", "bytes"])
def test_what_differs_is_another_message(site: Site, other: str) -> None:
    assert site.run() == (0, "")
    site.message.write_bytes(MAIL + b"." * (other == "bytes"))
    site.environment["AVCHECK_QUEUE_ID"] = "4ab" if other == "queue id" else "4abc"
    site.environment["AVCHECK_SHA256"] = ""
    sender, recipient = b"eve@example.org", b"bob@example.org"
    if other == "sender":
        sender = b"mallory@example.org"
    if other == "recipient":
        recipient += b"x"
    assert site.run((b"Eicar FOUND", sender, recipient)) == (0, "")
    assert len(site.entries()) == 2


def test_an_entry_with_other_bytes_does_not_stand_for_it(site: Site) -> None:
    assert site.run() == (0, "")
    (entry,) = site.entries()
    (entry / "message").write_bytes(b"another")
    old = entry.rename(site.quarantine / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    assert (old / "message").read_bytes() == b"another"
    assert len(site.entries()) == 2


def test_twenty_tries_at_once_leave_one_entry(site: Site) -> None:
    started = []
    for number in range(20):
        message = site.spool / f"m.{number}"
        message.write_bytes(MAIL)
        started.append(site.start(message=message))
    for process in started:
        process.communicate(timeout=2 * PATIENCE)
    # Who comes while another has the name is tried again later.
    assert {process.returncode for process in started} <= {0, 75}
    assert 0 in {process.returncode for process in started}
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    for message in site.spool.glob("m.*"):
        message.unlink()
    site.assert_stored()


def test_of_two_entries_of_one_message_the_first_stays(site: Site) -> None:
    assert site.run() == (0, "")
    (entry,) = site.entries()
    end = entry.name.partition("-")[2]
    for time_ in ("20260102T030405Z", "20990102T030405Z"):
        shutil.copytree(entry, site.quarantine / f"{time_}-{end}")
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    site.assert_stored()
    assert [each.name for each in site.entries()] == [f"20260102T030405Z-{end}"]


@pytest.mark.parametrize("accident", ["not synced", "not removed"])
def test_what_another_try_may_count_on_is_not_taken_back(site: Site, accident: str) -> None:
    if accident == "not synced":
        site.quarantine.mkdir(mode=0o700)
        site.program("sync", 'case " $* " in *quarantine" "*) exit 1 ;; esac')
    else:
        site.program("rm", f'case $* in *{site.message}) exit 1 ;; esac; exec /bin/rm "$@"')
    status, err = site.run()
    assert status == 75
    assert "cannot be" in err
    assert site.message.exists()
    assert len(site.entries()) == 1
    for name in ("sync", "rm"):
        (site.tools / name).unlink(missing_ok=True)
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize("tool", ["cmp", "find", "sort", "sed", "cut"])
def test_what_cannot_be_looked_up_is_stored_again(site: Site, tool: str) -> None:
    assert site.run() == (0, "")
    site.message.write_bytes(MAIL)
    (entry,) = site.entries()
    entry.rename(site.quarantine / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    site.program(
        tool,
        f'PATH=/bin:/usr/bin; case "$*" in *Z-*|-s*|"-c 1-12"|*"|.*/|"*|"") exit 1 ;; '
        f'esac; exec {tool} "$@"',
    )
    assert site.run()[0] == 0
    assert len(site.entries()) == 2
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}


@pytest.mark.parametrize("stored", [True, False])
def test_nobody_reading_its_words_changes_nothing(site: Site, stored: bool) -> None:
    if not stored:
        site.environment["AVCHECK_SHA256"] = "0" * 64
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [site.shell, site.script, site.message],
        cwd=site.spool,
        env=site.environment,
        stdout=writer,
        stderr=writer,
        timeout=PATIENCE,
    )
    os.close(writer)
    if stored:
        assert done.returncode == 0
        site.assert_stored()
    else:
        assert done.returncode == 75
        site.assert_untouched()
