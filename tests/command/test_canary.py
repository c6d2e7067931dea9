"""--canary: a scanner that does not know the test virus, or sees it everywhere, is not believed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from avcheck.seen import FRONT
from avcheck.state import canary
from tests.support import traced
from tests.support.letters import EICAR
from tests.support.mta import MAIL, Site, until
from tests.support.servers import packages
from tests.support.traced import opens
from tests.support.trust import HOUR, WRONG, Trust, good, infected, is_distrusted


@pytest.fixture
def trust(site: Site) -> Iterator[Trust]:
    with Trust(site) as place:
        yield place


# The test.


@pytest.mark.parametrize("way", ["descriptor", "stream", "path"])
def test_the_test_goes_the_way_of_the_message(trust: Trust, way: str) -> None:
    scanner = f"clamd+{way}:{trust.scanner.where}"
    ended = trust.site.deliver(*HOUR, scanners=[scanner])
    assert ended.status == 0, ended
    first, second, third = trust.scanner.questions
    assert {each.way for each in trust.scanner.questions} == {
        {"descriptor": "FILDES", "stream": "INSTREAM", "path": "SCAN"}[way]
    }
    assert [infected(each.content) for each in (first, second, third)] == [True, False, False]
    # These two go through the same door as the message: with the same bytes before them.
    assert third.content == FRONT + MAIL
    for each in (first, second):
        assert each.content.startswith(FRONT + b"Received: ")
        assert message_from_bytes(each.content)["Subject"] == "avcheck known-answer test"
    # Nothing is left of them but the result.
    assert trust.site.left == [trust.state.name]
    assert trust.state.stat().st_mode & 0o7777 == 0o600
    assert len(trust.site.delivered) == 1


def test_a_good_result_is_good_for_so_long(trust: Trust) -> None:
    for _ in range(3):
        assert trust.site.deliver(*HOUR).status == 0
    assert len(trust.tests) == 2
    trust.age(3500)
    assert trust.site.deliver(*HOUR).status == 0
    assert len(trust.tests) == 2
    trust.age(3700)
    assert trust.site.deliver(*HOUR).status == 0
    assert len(trust.tests) == 4
    assert trust.site.deliver("--canary", "0.000001").status == 0
    assert len(trust.tests) == 6


def test_a_virus_is_found_all_the_same(trust: Trust) -> None:
    trust.site.handler()
    infected_mail = MAIL + EICAR
    ended = trust.site.deliver(*HOUR, message=infected_mail)
    assert ended.output.startswith(b"infected: Eicar-Test-Signature; ")


@pytest.mark.parametrize("how", WRONG)
def test_a_scanner_with_wrong_answers_is_not_asked(trust: Trust, how: str) -> None:
    trust.scanner.think = WRONG[how]
    for _ in range(3):
        ended = trust.site.deliver(*HOUR)
        assert ended.status == 75
        assert is_distrusted(ended.output), ended
    # It was tested once, and the message itself was never sent.
    assert len(trust.tests) in (1, 2)
    assert trust.scanner.questions == trust.tests
    assert trust.site.delivered == []


def test_it_is_not_believed_until_a_later_test_goes_well(trust: Trust) -> None:
    trust.scanner.think = WRONG["knows no virus"]
    assert trust.site.deliver(*HOUR).status == 75
    trust.scanner.think = good
    # Its signatures are there again; who knows?
    assert is_distrusted(trust.site.deliver(*HOUR).output)
    trust.age(canary.AGAIN - 10)
    assert is_distrusted(trust.site.deliver(*HOUR).output)
    # It is not left in disgrace for a whole hour.
    trust.age(canary.AGAIN + 10)
    assert trust.site.deliver(*HOUR).status == 0
    assert trust.site.deliver(*HOUR).status == 0
    assert trust.viruses == 2


def test_a_scanner_that_forgets_is_found_out_at_the_next_test(trust: Trust) -> None:
    assert trust.site.deliver(*HOUR).status == 0
    trust.scanner.think = WRONG["knows no virus"]
    trust.age(3700)
    assert is_distrusted(trust.site.deliver(*HOUR).output)
    assert is_distrusted(trust.site.deliver(*HOUR).output)
    # With a shorter interval that is the one to be tested again after.
    trust.age(30)
    trust.scanner.think = good
    assert trust.site.deliver("--canary", "20").status == 0


@pytest.mark.parametrize("reply", [b"", b"Can't allocate memory ERROR"])
def test_silence_is_no_result(trust: Trust, reply: bytes) -> None:
    """The message waits, as without a test; and the next one begins with a test again."""
    trust.scanner.think = lambda content: reply
    for number in (1, 2):
        ended = trust.site.deliver(*HOUR)
        assert ended.status == 75
        assert not is_distrusted(ended.output)
        assert len(trust.tests) == number
    trust.scanner.think = good
    assert trust.site.deliver(*HOUR).status == 0


def test_a_scanner_that_is_not_there_is_no_result(trust: Trust) -> None:
    nobody = ["clamd:/nonexistent"]
    for _ in range(2):
        ended = trust.site.deliver(*HOUR, scanners=nobody)
        assert ended.output.startswith(b"4.4.1 ")


@pytest.mark.parametrize("interval", ["x", "-1", ""])
def test_an_interval_that_is_none_keeps_the_message(trust: Trust, interval: str) -> None:
    ended = trust.site.deliver("--canary", interval)
    trust.site.assert_kept(ended, "4.3.5", "canary")


def test_0_seconds_are_no_test_and_not_one_that_is_good_for_ever(trust: Trust) -> None:
    assert trust.site.deliver("--canary", "0").status == 0
    assert trust.tests == []
    assert trust.site.left == []


# State.


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"garbage\xff" * 1000, b"++", b" +", b"1"], ids=repr
)
def test_a_file_with_anything_in_it_is_harmless(trust: Trust, content: bytes) -> None:
    trust.scanner.think = WRONG["knows no virus"]
    assert trust.site.deliver(*HOUR).status == 75
    trust.state.write_bytes(content)
    ended = trust.site.deliver(*HOUR)
    if content.startswith(b"+"):  # which is what a good result looks like
        return
    assert is_distrusted(ended.output)
    assert trust.viruses == 2
    trust.scanner.think = good
    trust.state.write_bytes(content)
    assert trust.site.deliver(*HOUR).status == 0


def test_a_result_from_the_future_is_none(trust: Trust) -> None:
    """A clock that was wrong, and is put back, does not make a result good for ever."""
    assert trust.site.deliver(*HOUR).status == 0
    trust.age(-3600)
    assert trust.site.deliver(*HOUR).status == 0
    assert trust.viruses == 2


def test_the_file_can_be_deleted(trust: Trust) -> None:
    assert trust.site.deliver(*HOUR).status == 0
    trust.state.unlink()
    assert trust.site.deliver(*HOUR).status == 0
    assert trust.viruses == 2


@pytest.mark.parametrize("what", ["directory", "link", "closed"])
def test_a_file_that_cannot_be_opened_keeps_the_message(
    site: Site, unprivileged: Site, what: str
) -> None:
    with Trust(unprivileged if what == "closed" else site) as trust:
        assert trust.site.deliver(*HOUR).status == 0
        state = trust.state
        if what == "closed":
            state.chmod(0)
        else:
            state.unlink()
        if what == "directory":
            state.mkdir()
        elif what == "link":
            state.symlink_to("/nonexistent/elsewhere")
        asked = len(trust.scanner.questions)
        ended = trust.site.deliver(*HOUR)
        assert ended.status == 75
        assert re.match(rb"4\.3\.\d avcheck: ", ended.output)
        assert b"bug" not in ended.output
        assert len(trust.scanner.questions) == asked


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_tester_that_is_stopped_is_in_nobodys_way(trust: Trust, number: int) -> None:
    hung = trust.another(good, hold="asked")
    words = trust.site.words("-n", *HOUR)
    tester = trust.site.start(words).feed()
    hung.arrived()
    waiting = trust.site.start(words).feed()
    until(lambda: opens(waiting.process.pid, trust.state))
    tester.signal(number)
    assert tester.end().status in (75, -number)
    until(lambda: len(hung.questions) == 2)  # the one who waited does the test
    hung.release()
    assert waiting.end().status == 0


def test_wherever_a_run_is_killed_nobody_waits_for_it(trust: Trust) -> None:
    """With all that runs share: slots, known-answer test, attempts and counters."""
    site = trust.site
    shared = ("--slots", "1", *HOUR, "--attempts", "3", "--queue-id", "4X")
    words = site.words("-n", *shared, "--metrics", str(site.directory / "avcheck.prom"))
    names = ("/slot.", "/canary.", "/attempts.", "/avcheck.prom")
    calls = [call for call in traced.calls(site, words) if call.name != "execve"]
    calls = [call for call in calls if any(name in call.words for name in names)]
    assert {call.name for call in calls} >= {"openat", "flock", "pwrite64", "rename", "close"}
    for call in calls:
        for state in trust.states:
            state.unlink()
        assert traced.signalled(site, words, call, "KILL").status == -9
        assert site.start(words).end(MAIL).status == 0, call
    assert set(site.left) == {"slot.0", trust.state.name}


@pytest.fixture(params=["nr_inodes=3", "size=8k"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A spool directory with room for a message and the result, but for no other mail."""
    packages.need_root("a file system of its own is mounted by root only")
    spool = tmp_path / "small"
    spool.mkdir(mode=0o700)
    options = f"mode=700,{request.param}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", spool], check=True)
    yield spool
    subprocess.run(["umount", spool], check=True)


@pytest.mark.parametrize("number", [1, 2])
def test_without_room_for_the_test_the_message_is_kept(
    trust: Trust, full: Path, number: int
) -> None:
    places = [f"clamd:{trust.scanner.where}"] * number
    ended = trust.site.deliver(*HOUR, spool=full, message=b"x" * 8000, scanners=places)
    assert ended.status == 75
    assert ended.output.startswith(b"4.3.1 avcheck: "), ended
    assert b"No space left" in ended.output
    assert b"bug" not in ended.output
    assert [name for name in os.listdir(full) if not name.startswith("canary.")] == []
