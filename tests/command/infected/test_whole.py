"""scripts/infected.sh stores all of it or nothing, whatever does not work."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.infected_site import MAIL, ROOT, Site, mount

# Nothing is half stored


TOOLS = "awk cat cut date dd find flock mkdir mv od rm sed sha256sum sync timeout tr uname wc"
WAYS = ["exit 1", "exit 0", "kill -9 $$", "while read -r line; do :; done; exit 75"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("tool", TOOLS.split())
def test_a_tool_that_does_not_work_leaves_all_or_nothing(site: Site, tool: str, how: str) -> None:
    site.program(tool, how)
    status, err = site.run()
    if status == 0:
        (entry,) = site.entries()
        assert (entry / "message").read_bytes() == MAIL
        json.loads((entry / "about.json").read_text())
    else:
        assert status == 75
        assert err
        assert site.message.read_bytes() == MAIL
        if tool != "rm":
            site.assert_untouched()


def test_a_full_disk_leaves_nothing(small: Site) -> None:
    mail = b"x" * 100_000
    small.message.write_bytes(mail)
    del small.environment["AVCHECK_SHA256"]
    status, err = small.run()
    assert status == 75
    assert "cannot be stored" in err
    assert small.entries() == small.unfinished() == []
    assert small.message.read_bytes() == mail


@pytest.mark.parametrize("inodes", range(2, 8))
def test_a_disk_that_fills_up_on_the_way_leaves_all_or_nothing(small: Site, inodes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", small.quarantine], check=True)
    status, _ = small.run()
    if status == 0:
        small.assert_stored()
    else:
        assert status == 75
        small.assert_untouched()


def test_a_sidecar_for_which_there_is_no_room_leaves_nothing(small: Site) -> None:
    # tmpfs gives out whole pages: 16 of them, 15 for the message, none for 5000 bytes more.
    mail = b"x" * 15 * 4096
    small.message.write_bytes(mail)
    del small.environment["AVCHECK_SHA256"]
    status, err = small.run([b"x" * 5000])
    assert status == 75
    assert "the sidecar cannot be stored" in err
    assert small.entries() == small.unfinished() == []
    assert small.message.read_bytes() == mail


def test_a_quarantine_that_cannot_be_written_defers(site: Site) -> None:
    site.quarantine.mkdir(mode=0o700)
    if ROOT:
        mount(site.quarantine, "size=64k,mode=700,ro")
    else:
        site.quarantine.chmod(0o500)
    try:
        status, err = site.run()
        site.assert_untouched()
    finally:
        if ROOT:
            subprocess.run(["umount", site.quarantine], check=True)
    assert status == 75
    assert "not writable" in err


def test_a_message_that_cannot_be_removed_is_not_kept_twice(site: Site) -> None:
    site.forget_queue_id()
    site.program("rm", f'case $* in *{site.message}) exit 1 ;; esac; exec /bin/rm "$@"')
    status, err = site.run()
    assert status == 75
    assert "cannot be removed" in err
    site.assert_untouched()


def test_a_copy_that_differs_from_what_was_scanned_is_not_kept(site: Site) -> None:
    site.environment["AVCHECK_SHA256"] = "0" * 64
    status, err = site.run()
    assert status == 75
    assert "not the one that was scanned" in err
    site.assert_untouched()


@pytest.mark.parametrize("what", ["missing", "directory", "link", "fifo"])
def test_only_a_file_is_a_message(site: Site, what: str) -> None:
    path = site.spool / what
    if what == "directory":
        path.mkdir()
    if what == "link":
        path.symlink_to(site.message)
    if what == "fifo":
        os.mkfifo(path)
    status, err = site.run(message=path)
    assert status == 75
    assert "no such message" in err
    site.assert_untouched()


def test_no_argument_is_a_usage_error_that_defers(site: Site) -> None:
    done = subprocess.run([site.shell, site.script], cwd=site.spool, capture_output=True)
    assert done.returncode == 75
    assert b"usage" in done.stderr


def test_a_sync_that_takes_no_names_is_used_without(site: Site) -> None:
    site.program("sync", 'echo "$#" >>calls; [ $# -eq 0 ]')
    assert site.run() == (0, "")
    # The last: it is looked at whether another try was as fast.
    assert (site.spool / "calls").read_text().split() == ["1", "0", "0", "0", "0"]
    site.assert_stored()


@pytest.mark.parametrize("failing", ["about.json", "quarantine"])
def test_what_cannot_be_synced_is_not_kept(site: Site, failing: str) -> None:
    # First the files of the entry, then, when it can be seen, the directory.
    site.forget_queue_id()
    site.quarantine.mkdir(mode=0o700)
    site.program("sync", f'case " $* " in *{failing}" "*) exit 1 ;; esac')
    status, err = site.run()
    assert status == 75
    assert "cannot be synced" in err
    site.assert_untouched()
