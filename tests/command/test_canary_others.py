"""--canary with several scanners, with several places, and with many runs at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.fakes import Question
from tests.support.mta import MAIL, Site
from tests.support.trust import HOUR, WRONG, Slow, Thinking, Trust, good, is_distrusted


@pytest.fixture
def trust(site: Site) -> Iterator[Trust]:
    with Trust(site) as place:
        yield place


# Several scanners, several places.


def test_every_scanner_has_its_own_test(trust: Trust) -> None:
    other = trust.another(WRONG["knows no virus"])
    places = [f"clamd:{trust.scanner.where}", f"clamd:{other.where}"]
    ended = trust.site.deliver(*HOUR, scanners=places)
    assert is_distrusted(ended.output)
    assert trust.viruses == 1
    # The other one is enough, where one is.
    assert trust.site.deliver(*HOUR, "--need", "1", scanners=places).status == 0
    assert trust.viruses == 1


def test_a_distrusted_scanner_calls_for_the_backup(trust: Trust) -> None:
    backup = trust.another(good)
    trust.scanner.think = WRONG["knows no virus"]
    words = (*HOUR, "--backup", f"clamd:{backup.where}")
    ended = trust.site.deliver(*words, scanners=[f"clamd:{trust.scanner.where}"])
    assert ended.status == 0
    assert len(backup.questions) == 3


def vouches(trust: Trust, one: str, another: str) -> bool:
    """Whether after a test of one the other is believed without a test of its own."""
    assert trust.site.deliver(*HOUR, scanners=[one]).status == 0
    return trust.site.deliver(*HOUR, scanners=[another]).status == 0


def test_a_scanner_with_a_similar_name_does_not_vouch_for_another(trust: Trust) -> None:
    bad = WRONG["knows no virus"]
    for one, another in (("a_b", "a-b"), ("c/d", "c_d"), ("e f", "e_f"), ("\u00fc", "\u00f6")):
        paths = [trust.site.directory / name for name in (one, another)]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
        with Thinking(paths[0], good), Thinking(paths[1], bad):
            assert not vouches(trust, *(f"clamd:{path}" for path in paths)), (one, another)


def test_a_place_at_the_end_of_many_has_its_own_test(trust: Trust) -> None:
    many = ",".join(f"{trust.site.directory}/{number:030d}" for number in range(6))
    bad = trust.another(WRONG["knows no virus"])
    ones = [f"clamd:{many},{scanner.where}" for scanner in (trust.scanner, bad)]
    assert not vouches(trust, *ones)


def test_every_way_to_the_scanner_has_its_own_test(trust: Trust) -> None:
    """One that may not open the spool file sees nothing by path, and all of a stream."""

    class Half(Thinking):
        def _question(self, client: socket.socket) -> tuple[Question, bytes]:
            question, name = super()._question(client)
            seen = question.content if question.way == "INSTREAM" else b""
            return Question(question.way, seen), name

    with Half(trust.site.directory / "half", good) as half:
        ones = [f"clamd+{way}:{half.where}" for way in ("stream", "path")]
        assert not vouches(trust, *ones)


def test_the_next_place_is_not_believed_for_the_first_ones_sake(trust: Trust) -> None:
    """The place that stands in for one that is gone has to pass the test, too."""
    bad = trust.another(WRONG["knows no virus"])
    places = [f"clamd:{trust.scanner.where},{bad.where}"]
    assert trust.site.deliver(*HOUR, scanners=places).status == 0
    trust.scanner.stop()
    ended = trust.site.deliver(*HOUR, scanners=places)
    assert ended.status == 75
    assert MAIL not in b"".join(each.content for each in bad.questions)


def test_the_next_place_is_tested_and_asked(trust: Trust) -> None:
    other = trust.another(good)
    places = [f"clamd:{trust.scanner.where},{other.where}"]
    assert trust.site.deliver(*HOUR, scanners=places).status == 0
    trust.scanner.stop()
    assert trust.site.deliver(*HOUR, scanners=places).status == 0
    assert len(other.questions) == 3


def test_a_place_that_is_not_believed_leaves_it_to_the_next(trust: Trust) -> None:
    other = trust.another(good)
    trust.scanner.think = WRONG["knows no virus"]
    places = [f"clamd:{trust.scanner.where},{other.where}"]
    for _ in range(2):
        assert trust.site.deliver(*HOUR, scanners=places).status == 0
    assert len(trust.tests) == 1
    assert len(other.questions) == 4


def test_a_place_where_nobody_opens_leaves_time_for_the_next(trust: Trust) -> None:
    busy = trust.site.clamd(listens=False)
    with ExitStack() as stack:
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(busy.where):
                break
        places = [f"clamd:{busy.where},{trust.scanner.where}"]
        ended = trust.site.deliver(*HOUR, "-t", "2", scanners=places)
    assert ended.status == 0, ended


def test_a_place_that_another_run_waits_for_leaves_time_for_the_next(trust: Trust) -> None:
    hung = trust.another(good, hold="asked")
    places = [f"clamd:{hung.where},{trust.another(good).where}"]
    words = trust.site.words("-n", *HOUR, "--deadline", "60", scanners=places)
    tester = trust.site.start(words).feed()
    hung.arrived()
    ended = trust.site.start(trust.site.words("-n", *HOUR, "-t", "2", scanners=places)).end(MAIL)
    assert ended.status == 0, ended
    assert tester.process.poll() is None
    hung.release()
    assert tester.end().status == 0


# Many at once.


def test_of_a_hundred_runs_one_does_the_test(trust: Trust) -> None:
    words = trust.site.words("-n", *HOUR)
    running = [trust.site.start(words).feed() for _ in range(100)]
    assert [each.end().status for each in running] == [0] * 100
    assert trust.viruses == 1
    assert len(trust.scanner.questions) == 102


def test_of_a_hundred_runs_one_does_the_next_test(trust: Trust) -> None:
    """The others go on meanwhile: what was good a moment ago is good."""
    assert trust.site.deliver("-n", *HOUR).status == 0
    trust.age(3700)
    words = trust.site.words("-n", *HOUR)
    running = [trust.site.start(words).feed() for _ in range(100)]
    assert [each.end().status for each in running] == [0] * 100
    assert trust.viruses == 2


def test_who_comes_during_a_later_test_does_not_wait(trust: Trust) -> None:
    assert trust.site.deliver("-n", *HOUR).status == 0
    trust.age(3700)
    slow = Slow(trust.scanner)
    tester = trust.site.start(trust.site.words("-n", *HOUR)).feed()
    slow.reached()
    assert trust.site.deliver("-n", *HOUR).status == 0
    slow.release()
    assert tester.end().status == 0


@pytest.mark.parametrize(
    ("age", "status"),
    [(3700, 0), (7000, 0), (7300, 75), (30 * 86400, 75), (-60, 75)],
    ids=["just over", "almost twice", "over twice", "a month", "from the future"],
)
def test_while_a_later_test_hangs_a_result_is_good_for_less_than_twice_as_long(
    trust: Trust, age: float, status: int
) -> None:
    """Whoever tests may hang as long as he likes: mail is not let through on his account."""
    assert trust.site.deliver("-n", *HOUR).status == 0
    trust.age(age)
    slow = Slow(trust.scanner)
    tester = trust.site.start(trust.site.words("-n", *HOUR)).feed()
    slow.reached()
    asked = len(trust.scanner.questions)
    ended = trust.site.deliver("-n", *HOUR, "-t", "0.5")
    assert ended.status == status, ended
    # The message has been seen by the scanner, or has not left our hands.
    assert len(trust.scanner.questions) - asked == (not status)
    assert tester.process.poll() is None
    slow.release()
    assert tester.end().status == 0
    assert trust.site.deliver("-n", *HOUR).status == 0


def test_the_first_test_is_waited_for_no_longer_than_a_scan(trust: Trust) -> None:
    """Ten runs that wait for a scanner that hangs wait at the same time."""
    hung = trust.another(good, hold="asked")
    words = trust.site.words("-n", *HOUR, "-t", "0.5")
    tester = trust.site.start(trust.site.words("-n", *HOUR, "--deadline", "60")).feed()
    hung.arrived()
    ended = trust.site.start(words).end(MAIL)
    assert ended.status == 75
    assert tester.process.poll() is None
    hung.release()
    assert tester.end().status == 0
