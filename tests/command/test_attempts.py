"""--attempts: a message on which scans come to nothing is not scanned for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.mta import MAIL, Ended, Site, until

QUEUE_ID = "4XYZabc"


def attempt(
    site: Site,
    *options: str,
    queue_id: str = QUEUE_ID,
    scanners: Sequence[str] | None = None,
    recipients: Sequence[str] = ("bert@example.net",),
) -> Ended:
    words = ("--attempts", "3", "--queue-id", queue_id, *options)
    return site.deliver(*words, scanners=scanners, recipients=recipients)


def counts(site: Site) -> list[Path]:
    return [site.spool / name for name in site.left if name.startswith("attempts.")]


def poison(site: Site) -> None:
    """A scanner that takes the message and hangs up without an answer."""
    site.clamd(reply=b"")


def test_after_so_many_scans_in_vain_the_message_is_unscannable(site: Site) -> None:
    poison(site)
    handler = site.handler()
    for _ in range(3):
        ended = attempt(site)
        assert ended.status == 75
        assert ended.output.startswith(b"4.4.2 avcheck: clamd ")
    assert handler.calls == 0
    assert len(site.scanner.questions) == 3
    ended = attempt(site)
    assert ended.status == 0
    assert ended.output.startswith(b"unscannable: 3 scans came to nothing (--attempts 3); ")
    assert len(site.scanner.questions) == 3
    assert handler.calls == 1
    assert handler.note("message") == MAIL
    assert handler.environment[b"AVCHECK_VERDICT"] == b"unscannable"
    assert handler.environment[b"AVCHECK_SCANNER"] == b"attempts"
    assert handler.environment[b"AVCHECK_QUEUE_ID"] == QUEUE_ID.encode()
    # The message is done, and its count is forgotten.
    assert site.left == []


@pytest.mark.parametrize("action", ["deliver", "discard", "reject", "defer"])
def test_what_then_becomes_of_it_is_the_action_of_unscannable(site: Site, action: str) -> None:
    poison(site)
    for _ in range(3):
        assert attempt(site, "-h", "x").status == 75
    ended = attempt(site, "-h", "x", "--on", f"unscannable={action}")
    assert ended.status == {"defer": 75, "reject": 77}.get(action, 0)
    assert b"3 scans came to nothing" in ended.output
    if action == "deliver":
        assert site.delivered[0].startswith(b"X-AV-Unchecked: ")
        assert b"(unscannable: 3 scans came to nothing" in site.delivered[0]
    else:
        assert site.delivered == []
    # Only as long as the mail system will come again with it, its count is of use.
    assert len(counts(site)) == (action == "defer")


@pytest.mark.parametrize("other", ["recipients", "sender"])
def test_another_message_with_the_same_queue_id_is_scanned(site: Site, other: str) -> None:
    """Postfix uses short queue IDs again, and nobody tells us that a message was deleted."""
    poison(site)
    for _ in range(3):
        assert attempt(site).status == 75
    words = ("--attempts", "3", "--queue-id", QUEUE_ID)
    how: dict[str, dict[str, Any]] = {
        "sender": {"sender": b"other@example.com"},
        "recipients": {"recipients": ["carl@example.net"]},
    }
    assert site.deliver(*words, **how[other]).status == 75
    assert len(site.scanner.questions) == 4
    assert len(counts(site)) == 2


def test_several_scanners_change_nothing_about_it(site: Site) -> None:
    """The verdict of the brake stands for all of them, however many are needed."""
    good = site.clamd()
    poison(site)
    both = [f"clamd:{good.where}", f"clamd:{site.scanner.where}"]
    for _ in range(3):
        assert attempt(site, scanners=both).status == 75
    asked = len(good.questions)
    ended = attempt(site, "--on", "unscannable=discard", scanners=both)
    assert ended.status == 0
    assert ended.output.startswith(b"unscannable: ")
    assert len(good.questions) == asked


@pytest.mark.parametrize("order", [1, -1])
def test_one_scanner_that_is_down_does_not_hide_that_another_chokes(site: Site, order: int) -> None:
    poison(site)
    both = [f"clamd:{site.scanner.where}", "clamd:/nonexistent"][::order]
    for _ in range(3):
        assert attempt(site, scanners=both).status == 75
    assert attempt(site, "--on", "unscannable=discard", scanners=both).status == 0


# What counts.


def test_a_scan_that_never_began_does_not_count(site: Site) -> None:
    for _ in range(5):
        ended = attempt(site, scanners=["clamd:/nonexistent"])
        assert ended.status == 75
        assert ended.output.startswith(b"4.4.1 ")
    assert counts(site) == []
    assert attempt(site).status == 0


def test_a_scanner_that_is_not_trusted_does_not_count(site: Site) -> None:
    """It was never asked about the message (--canary), and will be mended some day."""
    for _ in range(5):
        ended = attempt(site, "--canary", "60")
        assert ended.status == 75
        assert b"EICAR" in ended.output
    assert counts(site) == []


def test_a_scanner_that_is_not_installed_does_not_count(site: Site) -> None:
    for _ in range(5):
        assert attempt(site, scanners=["no.such.module:/run/x"]).status == 75
    assert counts(site) == []


def test_a_run_that_is_told_to_stop_does_not_count(site: Site) -> None:
    """A shutdown is not the message's fault."""
    scanner = site.clamd(hold="asked")
    words = site.words("--attempts", "3", "--queue-id", QUEUE_ID)
    running = site.start(words).feed()
    scanner.arrived()
    running.signal(signal.SIGTERM)
    assert running.end().status == 75
    assert counts(site) == []


def test_a_scan_that_takes_too_long_counts(site: Site) -> None:
    site.clamd(hold="asked")
    for _ in range(3):
        ended = attempt(site, "-t", "0.2")
        assert ended.output.startswith(b"4.4.7 ")
    assert attempt(site, "--on", "unscannable=discard").status == 0


def test_the_run_ending_at_its_deadline_counts(site: Site) -> None:
    site.clamd(hold="asked")
    for _ in range(3):
        assert attempt(site, "--deadline", "0.2").status == 75
    assert attempt(site, "--on", "unscannable=discard").status == 0


def test_a_slot_that_is_not_free_does_not_count(site: Site) -> None:
    scanner = site.clamd(hold="asked")
    holder = site.start(site.words("-n", "--slots", "1")).feed()
    scanner.arrived()
    for _ in range(4):
        ended = attempt(site, "--slots", "1", "--deadline", "0.1")
        assert ended.output.startswith(b"4.3.2 ")
    assert counts(site) == []
    scanner.release()
    assert holder.end().status == 0


def test_a_verdict_forgets_the_count(site: Site) -> None:
    bad, good = site.clamd(reply=b""), site.clamd()
    for _ in range(2):
        assert attempt(site, scanners=[f"clamd:{bad.where}"]).status == 75
    assert len(counts(site)) == 1
    assert attempt(site, scanners=[f"clamd:{good.where}"]).status == 0
    assert site.left == []


def test_mail_that_cannot_be_handed_on_is_no_scan_in_vain(site: Site) -> None:
    site.smtp(answers={"MAIL": b"451 4.3.0 later\r\n"})
    for _ in range(5):
        ended = attempt(site)
        assert ended.status == 75
        assert b"later" in ended.output
    assert len(site.scanner.questions) == 5


def test_a_message_that_leaves_with_the_status_of_the_handler_is_done(site: Site) -> None:
    bad, found = site.clamd(reply=b""), site.clamd(says=b"Eicar FOUND")
    site.handler("exit 77")
    assert attempt(site, scanners=[f"clamd:{bad.where}"]).status == 75
    assert attempt(site, scanners=[f"clamd:{found.where}"]).status == 77
    assert site.left == []


def test_a_message_that_is_refused_for_good_is_done(site: Site) -> None:
    bad, good = site.clamd(reply=b""), site.clamd()
    assert attempt(site, scanners=[f"clamd:{bad.where}"]).status == 75
    site.smtp(answers={"MAIL": b"550 5.7.1 never\r\n"})
    words = ("--refused", "bounce")
    assert attempt(site, *words, scanners=[f"clamd:{good.where}"]).status == 77
    assert site.left == []


# Queue IDs.


def test_every_message_has_its_own_count(site: Site) -> None:
    poison(site)
    for queue_id in ("4A", "4a", "../4A", "4A/../4B", "4A.x", "4A*", "x" * 90):
        for _ in range(3):
            assert attempt(site, queue_id=queue_id).status == 75
    assert all("/" not in path.name for path in counts(site))
    assert attempt(site, "--on", "unscannable=discard", queue_id="4B").status == 75
    assert attempt(site, "--on", "unscannable=discard", queue_id="4A").status == 0
    assert attempt(site, "--on", "unscannable=discard", queue_id="4a").status == 0


def test_each_recipient_of_a_run_of_its_own_has_a_count_of_its_own(site: Site) -> None:
    """A mail system may run avcheck for each recipient, with one queue ID."""
    poison(site)
    for recipient in ("a@example.net", "b@example.net", "c@example.net", "d@example.net"):
        assert attempt(site, recipients=[recipient]).status == 75
    assert sorted(file.stat().st_size for file in counts(site)) == [1, 1, 1, 1]


def test_without_a_queue_id_nothing_is_counted(site: Site) -> None:
    """${queue_id} is empty where there is none; and without the option there is a usage error."""
    poison(site)
    for _ in range(5):
        assert attempt(site, queue_id="").status == 75
    assert site.left == []
    ended = site.deliver("--attempts", "3")
    site.assert_kept(ended, "4.3.5", "--attempts needs --queue-id")


@pytest.mark.parametrize("number", ["0", "-1", "x", ""])
def test_a_number_that_is_none_keeps_the_message(site: Site, number: str) -> None:
    ended = site.deliver("--attempts", number, "--queue-id", "1")
    site.assert_kept(ended, "4.3.5", "attempts")


# The ledger.


def test_a_hundred_runs_at_once_are_a_hundred(site: Site) -> None:
    """Two transports, or recipients in groups of fifty: one queue ID, several runs."""
    scanner = site.clamd(reply=b"", hold="asked")
    words = site.words("--attempts", "99999", "--queue-id", QUEUE_ID)
    running = [site.start(words).feed() for _ in range(100)]
    until(lambda: len(scanner.questions) == 100)
    scanner.release()
    assert {each.end().status for each in running} == {75}
    options = ("--attempts", "100", "--queue-id", QUEUE_ID, "--on", "unscannable=discard")
    ended = site.deliver(*options)
    assert ended.output.startswith(b"unscannable: 100 scans came to nothing")


def test_a_killed_run_leaves_nothing_that_blocks(site: Site) -> None:
    scanner = site.clamd(hold="asked")
    words = site.words("-n", "--attempts", "3", "--queue-id", QUEUE_ID)
    for _ in range(5):
        running = site.start(words).feed()
        scanner.arrived()
        running.signal(signal.SIGKILL)
        assert running.end().status == -signal.SIGKILL
    scanner.release()
    assert site.deliver("-n", "--attempts", "3", "--queue-id", QUEUE_ID).status == 0


def test_the_count_can_be_deleted(site: Site) -> None:
    poison(site)
    for _ in range(3):
        assert attempt(site).status == 75
    (count,) = counts(site)
    count.unlink()
    assert attempt(site).status == 75
    assert len(site.scanner.questions) == 4


@pytest.mark.parametrize("what", ["directory", "link", "dangling"])
def test_what_is_no_count_changes_nothing(site: Site, what: str) -> None:
    """It is not lost, and not let pass: it is scanned, which is always right."""
    poison(site)
    assert attempt(site).status == 75
    (count,) = counts(site)
    count.unlink()
    target = site.directory / "target"
    if what == "directory":
        count.mkdir()
    else:
        count.symlink_to(target)
    if what == "link":
        target.write_bytes(b"x" * 1000)
    asked = len(site.scanner.questions)
    for _ in range(4):
        assert attempt(site).status == 75
    assert len(site.scanner.questions) == asked + 4
    site.clamd()
    assert attempt(site).status == 0
    assert not target.exists() or target.read_bytes() == b"x" * 1000


def test_a_ledger_that_cannot_be_written_changes_nothing(unprivileged: Site) -> None:
    poison(unprivileged)
    assert attempt(unprivileged).status == 75
    (count,) = counts(unprivileged)
    count.chmod(0o400)
    for _ in range(5):
        assert attempt(unprivileged).status == 75
    assert count.stat().st_size == 1


def test_counts_of_messages_that_nobody_brings_again_are_removed(site: Site) -> None:
    poison(site)
    days = {"old": 11, "young": 9}
    for queue_id, age in days.items():
        before = set(counts(site))
        assert attempt(site, queue_id=queue_id).status == 75
        (count,) = set(counts(site)) - before
        then = time.time() - age * 24 * 3600
        os.utime(count, (then, then))
    (site.spool / "attempts").write_text("not ours")
    assert attempt(site, queue_id="new").status == 75
    assert len(counts(site)) == 2
    assert (site.spool / "attempts").exists()


def test_one_that_cannot_be_removed_is_in_no_other_s_way(site: Site) -> None:
    poison(site)
    then = time.time() - 11 * 24 * 3600
    for number in range(20):
        (site.spool / f"attempts.{number:02x}").touch()
        (site.spool / f"attempts.{number:02x}d").mkdir()
    for path in site.spool.iterdir():
        os.utime(path, (then, then))
    assert attempt(site).status == 75
    assert len([path for path in counts(site) if path.is_file()]) == 1


def test_a_clock_that_is_set_ahead_costs_no_message(site: Site) -> None:
    """The count begins again: the message is scanned once more, and not let pass."""
    poison(site)
    for _ in range(3):
        assert attempt(site).status == 75
    for path in counts(site):
        os.utime(path, (0, 0))
    assert attempt(site, queue_id="other").status == 75
    for _ in range(3):
        assert attempt(site).status == 75
    assert attempt(site, "--on", "unscannable=discard").status == 0


def test_the_ledger_is_private(site: Site) -> None:
    poison(site)
    assert attempt(site).status == 75
    assert {path.stat().st_mode & 0o7777 for path in counts(site)} == {0o600}


@pytest.mark.parametrize("age", [11 * 86400, -3600], ids=["old", "from the future"])
def test_a_count_of_another_time_is_not_this_message_s(site: Site, age: float) -> None:
    """Short queue IDs come again, and a clock may be put back."""
    poison(site)
    for _ in range(3):
        attempt(site)
    (count,) = counts(site)
    then = time.time() - age
    os.utime(count, (then, then))
    site.clamd()
    assert attempt(site).output.startswith(b"clean: clamd ")
    assert counts(site) == []


def test_a_count_begins_anew_where_the_old_one_is_of_no_use(site: Site) -> None:
    poison(site)
    for _ in range(3):
        attempt(site)
    (count,) = counts(site)
    os.utime(count, (0, 0))
    for number in (1, 2, 3):
        assert attempt(site).status == 75
        assert count.stat().st_size == number
    assert attempt(site).output.startswith(b"unscannable: 3 scans came to nothing")
