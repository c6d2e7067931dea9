"""scripts/infected.sh stopped in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.support.infected_site import MAIL, PATIENCE, Site

# Stopped in the middle


def stopped_at(site: Site, word: str) -> subprocess.Popen[bytes]:
    """A run that waits in the sync(1) with that word among its arguments."""
    site.quarantine.mkdir(mode=0o700)
    here = site.directory / "here"
    os.mkfifo(here)
    # Opening a FIFO to write waits for the reader; reading then waits for ever.
    site.program("sync", f'case " $* " in *{word}" "*) echo >{here}; exec sleep {PATIENCE} ;; esac')
    process = site.start()
    here.read_text()
    return process


def end(process: subprocess.Popen[bytes], signum: signal.Signals) -> int:
    """The status after the signal, sent to all that runs."""
    os.killpg(process.pid, signum)
    process.communicate(timeout=PATIENCE)
    return process.returncode


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("word", ["about.json", "quarantine"])
def test_a_signal_to_the_group_leaves_nothing(
    site: Site, word: str, signum: signal.Signals
) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, word), signum) == 75
    site.assert_untouched()


def test_killed_before_the_rename_nothing_can_be_seen(site: Site) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, "about.json"), signal.SIGKILL) == -signal.SIGKILL
    assert site.entries() == []
    (left,) = site.unfinished()
    assert site.message.exists()

    # A later run leaves it alone while it may be in use, and removes it after a day.
    site.program("sync", "exit 0")
    another = site.spool / "m.2"
    another.write_bytes(MAIL)
    assert site.run(message=another)[0] == 0
    assert site.unfinished() == [left]
    yesterday = time.time() - 25 * 3600
    os.utime(left, (yesterday, yesterday))
    assert site.run()[0] == 0
    assert site.unfinished() == []
    assert len(site.entries()) == 2


def test_killed_after_the_rename_a_whole_entry_can_be_seen(site: Site) -> None:
    assert end(stopped_at(site, "quarantine"), signal.SIGKILL) == -signal.SIGKILL
    assert site.message.exists()  # the MTA tries again
    site.program("sync", "exit 0")
    assert site.run() == (0, "")
    site.assert_stored()
    site.report()


def test_without_a_queue_id_a_message_killed_after_the_rename_is_kept_twice(site: Site) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, "quarantine"), signal.SIGKILL) == -signal.SIGKILL
    site.program("sync", "exit 0")
    assert site.run() == (0, "")
    assert len(site.entries()) == 2
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}


def test_a_signal_while_reporting_does_not_undo_what_is_stored(site: Site) -> None:
    here = site.directory / "here"
    os.mkfifo(here)
    site.program("sendmail", f"cat >/dev/null; echo >{here}; exec sleep {PATIENCE}")
    site.configure("patience=1\n")
    process = site.start()
    here.read_text()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    process.communicate()
    site.assert_stored()
