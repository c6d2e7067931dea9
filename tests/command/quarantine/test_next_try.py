"""Another try of the same run finds what is stored, and leaves one entry."""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import suppress

import pytest

from tests.support.mta import MAIL, RECIPIENT, SENDER, Site, until
from tests.support.quarantine import TRY, Quarantine, goes_on, steps, tell


def test_what_is_stored_is_found_by_the_next_try(infected: Site, quarantine: Quarantine) -> None:
    said = {infected.deliver("--on", quarantine.action, *TRY).output for _ in range(3)}
    quarantine.assert_whole()
    (entry,) = quarantine.entries
    assert said == {f"infected: Eicar-Test-Signature; quarantined as {entry.name}\n".encode()}


@pytest.mark.parametrize("other", ["queue id", "sender", "recipients", "bytes"])
def test_what_differs_is_another_message(
    infected: Site, quarantine: Quarantine, other: str
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    ended = infected.deliver(
        *("--on", quarantine.action, "--queue-id", "4ab" if other == "queue id" else "4abc"),
        sender=b"mallory@example.org" if other == "sender" else SENDER,
        recipients=[RECIPIENT, *([b"bob@example.org"] if other == "recipients" else [])],
        message=MAIL + b"." * (other == "bytes"),
    )
    assert ended.status == 0
    assert len(quarantine.entries) == 2


@pytest.mark.parametrize("bytes_", [b"", MAIL[:-1], MAIL + b"."], ids=["none", "less", "more"])
def test_an_entry_with_other_bytes_does_not_stand_for_it(
    infected: Site, quarantine: Quarantine, bytes_: bytes
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (entry,) = quarantine.entries
    (entry / "message").write_bytes(bytes_)
    old = entry.rename(quarantine.path / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (new,) = (each for each in quarantine.entries if each != old)
    assert (old / "message").read_bytes() == bytes_
    assert (new / "message").read_bytes() == MAIL


def test_of_two_entries_of_one_message_the_first_stays(
    infected: Site, quarantine: Quarantine
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (entry,) = quarantine.entries
    first = quarantine.path / f"20260102T030405Z-{entry.name.partition('-')[2]}"
    shutil.copytree(entry, first)
    ended = infected.deliver("--on", quarantine.action, *TRY)
    assert quarantine.entries == [first]
    assert first.name.encode() in ended.output
    assert quarantine.unfinished == []


def test_fifty_tries_at_once_leave_one_entry(infected: Site, quarantine: Quarantine) -> None:
    words = infected.words("--on", quarantine.action, *TRY)
    running = [infected.start(words).feed() for _ in range(50)]
    assert [each.end().status for each in running] == [0] * 50
    quarantine.assert_whole()
    assert quarantine.unfinished == []


def test_the_next_try_needs_no_room(infected: Site, small: Quarantine) -> None:
    assert infected.deliver("--on", small.action, *TRY).status == 0
    with open(small.path / ".new" / "filler", "wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    (small.path / ".new" / "filler").rename(small.path / ".filler")
    assert infected.deliver("--on", small.action, *TRY).status == 0
    (small.path / ".filler").unlink()
    small.assert_whole()


def test_a_try_that_was_overtaken_leaves_one_entry(infected: Site, quarantine: Quarantine) -> None:
    """It has looked and found nothing; when it has stored its own, there are two."""
    calls = steps(infected, quarantine, *TRY)
    [rename] = [number for number, call in enumerate(calls) if call.name.startswith("rename")]
    last = calls[rename - 1]  # before it appears
    assert last.name == "fsync"
    shutil.rmtree(quarantine.path)
    words = infected.words("--on", quarantine.action, *TRY)
    inject = f"inject={last.name}:signal=STOP:when={last.number}"
    slow = infected.start(["strace", "-qq", "-o", "/dev/null", "-e", inject, *words]).feed()
    try:
        until(lambda: any(quarantine.path.glob(".new/*/about.json")))
        second = int(time.time())
        until(lambda: int(time.time()) > second)
        fast = infected.deliver("--on", quarantine.action, *TRY)
        assert fast.status == 0
        quarantine.assert_whole()
        until(lambda: goes_on(slow))
    finally:
        tell(slow, signal.SIGKILL)  # or it would stay, stopped, without its strace
    ended = slow.end()
    assert ended.status == 0
    quarantine.assert_whole()
    assert quarantine.unfinished == []
    # The older name is the smaller one.
    assert ended.output.split()[-1].decode() == quarantine.entries[0].name
    assert fast.output.split()[-1] != ended.output.split()[-1]
