"""Several scanners: all at the same time, as many as are needed, and others in their place."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

import pytest

from avcheck.seen import FRONT
from tests.support.fakes import FakeClamd, Server
from tests.support.mta import MAIL, Ended, Site, until

FOUND = b"Eicar-Test-Signature FOUND"


def named(*scanners: Server | str) -> list[str]:
    """What -s takes for these."""
    return [f"clamd:{each if isinstance(each, str) else each.where}" for each in scanners]


NOBODY = "/nonexistent"


# All at the same time.


@pytest.mark.parametrize("number", [2, 5])
def test_all_are_asked_before_anyone_has_answered(site: Site, number: int) -> None:
    scanners = [site.clamd(hold="asked") for _ in range(number)]
    running = site.start(site.words(scanners=named(*scanners))).feed()
    for scanner in scanners:
        scanner.arrived()
    for scanner in scanners:
        scanner.release()
    assert running.end().status == 0
    # Each on a connection of its own, with the whole message.
    for scanner in scanners:
        (question,) = scanner.questions
        assert question.content.endswith(MAIL)


def test_the_same_scanner_twice_is_asked_twice(site: Site) -> None:
    assert site.deliver(scanners=named(site.scanner, site.scanner)).status == 0
    assert len(site.scanner.questions) == 2


def test_each_gets_the_message_in_its_own_way(site: Site) -> None:
    scanners = {way: site.clamd() for way in ("descriptor", "stream", "path")}
    scanners["TCP"] = site.clamd(tcp=True)
    words = [f"clamd+{way}:{each.where}" for way, each in scanners.items() if way != "TCP"]
    ended = site.deliver(scanners=[*words, f"clamd:{scanners['TCP'].where}"])
    assert ended.status == 0
    ways = [scanner.questions[0].way for scanner in scanners.values()]
    assert ways == ["FILDES", "INSTREAM", "SCAN", "INSTREAM"]
    assert {scanner.questions[0].content for scanner in scanners.values()} == {FRONT + MAIL}
    assert site.left == []


def test_a_large_message_is_streamed_to_all_of_them(site: Site) -> None:
    scanners = [site.clamd(tcp=True) for _ in range(3)]
    message = MAIL + bytes(range(32, 127)) * 50_000
    assert site.deliver("-n", scanners=named(*scanners), message=message).status == 0
    assert all(each.questions[0].content.endswith(message) for each in scanners)


def test_the_deadline_is_one_for_all(site: Site) -> None:
    """Not one after the other: whoever is silent, all that is said until then is there."""
    silent = [site.clamd(hold="asked") for _ in range(3)]
    scanners = [silent[0], site.clamd(says=FOUND), *silent[1:], site.clamd()]
    ended = site.deliver("-t", "0.5", "--on", "infected=discard", scanners=named(*scanners))
    assert ended == Ended(0, b"infected: Eicar-Test-Signature; discarded\n")
    ended = site.deliver("-t", "0.5", scanners=named(*silent, site.scanner))
    assert ended.output.startswith(b"4.4.7 avcheck: clamd ")
    assert ended.status == 75


def test_everyone_who_failed_is_named(site: Site) -> None:
    """So that the reason in the queue says which daemon to look at."""
    silent, broken = site.clamd(hold="asked"), site.clamd(reply=b"nonsense\0")
    ended = site.deliver("-t", "0.3", scanners=named(silent, broken, NOBODY))
    assert ended.status == 75
    text = ended.output.decode()
    for words in (silent.where, "no answer in time", broken.where, "nonsense", NOBODY, "No such"):
        assert words in text, (words, text)


def test_a_scanner_that_dies_is_not_clean(site: Site) -> None:
    dies = site.clamd(hangs_up=True)
    for order in ([dies, site.clamd()], [site.clamd(), dies]):
        ended = site.deliver(scanners=named(*order))
        site.assert_kept(ended, "4.4.2", dies.where, "closed the connection")


def test_a_signal_while_all_are_asked_ends_the_run(site: Site) -> None:
    scanners = [site.clamd(hold="asked") for _ in range(3)]
    words = site.words("--on", "failed=deliver", scanners=named(*scanners))
    running = site.start(words).feed()
    for scanner in scanners:
        scanner.arrived()
    running.signal(signal.SIGTERM)
    site.assert_kept(running.end(), "4.3.2", "signal 15")


# --need

ANSWERS = {"C": b"OK", "I": FOUND, "F": b"memory ERROR"}

# What the scanners say, how many have to answer, and the verdict.
NEEDS = [
    ("C", 1, "clean"),
    ("F", 1, "failed"),
    ("CF", 1, "clean"),
    ("FC", 1, "clean"),
    ("CF", 2, "failed"),
    ("FF", 1, "failed"),
    ("IF", 1, "infected"),
    ("IF", 2, "infected"),
    ("CI", 1, "infected"),
    ("IC", 1, "infected"),
    ("CCF", 2, "clean"),
    ("FCC", 2, "clean"),
    ("CFF", 2, "failed"),
    ("CFF", 1, "clean"),
    ("CIF", 1, "infected"),
    ("CIF", 3, "infected"),
    ("FFF", 1, "failed"),
    ("CCC", 3, "clean"),
]


@pytest.fixture
def three(site: Site) -> dict[str, FakeClamd]:
    return {letter: site.clamd(says=says) for letter, says in ANSWERS.items()}


@pytest.mark.parametrize(("say", "need", "verdict"), NEEDS)
def test_so_many_have_to_answer(
    site: Site, three: dict[str, FakeClamd], say: str, need: int, verdict: str
) -> None:
    scanners = named(*(three[letter] for letter in say))
    words = ("-n", "--need", str(need), "--on", "infected=discard")
    ended = site.deliver(*words, scanners=scanners)
    if verdict == "failed":
        site.assert_kept(ended, "ERROR")
    else:
        assert ended.status == 0
        assert ended.output.startswith(verdict.encode() + b": ")
    # The fastest one does not make up for the worst: all of them are asked.
    assert sum(len(each.questions) for each in three.values()) == len(say)


def test_all_are_needed_unless_told_otherwise(site: Site) -> None:
    ended = site.deliver(scanners=named(site.scanner, site.scanner, NOBODY))
    site.assert_kept(ended, "4.4.1", NOBODY)


@pytest.mark.parametrize("need", ["3", "0", "-1", "x", ""])
def test_a_need_that_cannot_be_met_keeps_the_message(site: Site, need: str) -> None:
    words = ("--need", need)
    ended = site.deliver(*words, scanners=named(site.scanner, site.scanner))
    site.assert_kept(ended, "4.3.5", "need")
    assert site.scanner.questions == []


def test_a_backup_counts_for_what_can_be_needed(site: Site) -> None:
    other = site.clamd()
    words = ("--need", "2", "--backup", named(other)[0])
    assert site.deliver(*words, scanners=named(site.scanner)).status == 0
    assert len(other.questions) == 2  # site.scanner is the same one


# --backup


def backups(*scanners: Server | str) -> list[str]:
    return [word for each in named(*scanners) for word in ("--backup", each)]


def test_a_backup_is_not_asked_when_all_have_answered(site: Site) -> None:
    first, backup = site.clamd(), site.clamd()
    assert site.deliver(*backups(backup), scanners=named(first)).status == 0
    infected = site.clamd(says=FOUND)
    words = ("--on", "infected=discard", *backups(backup))
    assert site.deliver(*words, scanners=named(infected)).status == 0
    assert backup.questions == []


def test_a_backup_is_asked_in_the_place_of_one_that_failed(site: Site) -> None:
    backup = site.clamd()
    ended = site.deliver(*backups(backup), scanners=named(NOBODY))
    assert ended.status == 0
    assert len(backup.questions) == 1
    assert len(site.delivered) == 1
    infected = site.clamd(says=FOUND)
    words = ("--on", "infected=discard", *backups(infected))
    ended = site.deliver(*words, scanners=named(NOBODY))
    assert ended.output.startswith(b"infected: ")


def test_backups_are_asked_in_order_and_no_more_than_it_takes(site: Site) -> None:
    dead, second, third = site.clamd(hangs_up=True), site.clamd(), site.clamd()
    words = backups(dead, second, third)
    assert site.deliver(*words, scanners=named(NOBODY)).status == 0
    assert (len(second.questions), len(third.questions)) == (1, 0)
    # Two are missing now.
    assert site.deliver(*words, scanners=named(NOBODY, NOBODY)).status == 0
    assert (len(second.questions), len(third.questions)) == (2, 1)
    site.assert_deferred(site.deliver(*words, scanners=named(NOBODY, NOBODY, NOBODY)), "4.4.1")


def test_a_virus_found_by_one_that_was_not_enough_is_a_virus(site: Site) -> None:
    infected, backup = site.clamd(says=FOUND), site.clamd()
    words = ("--on", "infected=discard", *backups(backup))
    ended = site.deliver(*words, scanners=named(infected, NOBODY))
    assert ended.output.startswith(b"infected: ")


def test_a_backup_has_the_time_of_t_once_more(site: Site) -> None:
    """Otherwise the one that is asked because the first took too long would have none."""
    silent, backup = site.clamd(hold="asked"), site.clamd()
    ended = site.deliver("-t", "0.3", *backups(backup), scanners=named(silent))
    assert ended.status == 0
    ended = site.deliver("-t", "0.3", *backups(silent, silent), scanners=named(silent))
    site.assert_deferred(ended, "4.4.7")


def test_backups_end_at_the_deadline_too(site: Site) -> None:
    silent = site.clamd(hold="asked")
    ended = site.deliver("--deadline", "0.5", *backups(silent, silent), scanners=named(silent))
    site.assert_kept(ended, "4.4.7")


def test_a_wrong_backup_keeps_the_message(site: Site) -> None:
    ended = site.deliver("--backup", "nonsense:/x")
    site.assert_kept(ended, "4.3.5", "backup", "nonsense")


def test_a_backup_that_opens_paths_finds_one(site: Site) -> None:
    backup = site.clamd()
    words = ("--backup", f"clamd+path:{backup.where}")
    assert site.deliver(*words, scanners=named(NOBODY)).status == 0
    assert backup.questions[0].way == "SCAN"
    assert site.left == []


# Several places.


def refused() -> str:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def hole() -> Iterator[str]:
    """A port where a connection is neither taken nor refused: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with suppress(TimeoutError):
            while True:
                client = stack.enter_context(socket.socket())
                client.settimeout(0.2)
                client.connect(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def places(*scanners: Server | str) -> list[str]:
    return ["clamd:" + ",".join(word.removeprefix("clamd:") for word in named(*scanners))]


def test_the_first_place_that_can_be_reached_is_asked(site: Site) -> None:
    first, second = site.clamd(), site.clamd()
    assert site.deliver(scanners=places(first, second)).status == 0
    assert (len(first.questions), len(second.questions)) == (1, 0)
    for dead in (NOBODY, refused(), "127.0.0.1:no-such-service"):
        assert site.deliver(scanners=places(dead, dead, second, first)).status == 0
    assert (len(first.questions), len(second.questions)) == (1, 3)


def test_the_next_place_is_asked_in_its_own_way(site: Site) -> None:
    stream = site.clamd(tcp=True)
    assert site.deliver(scanners=places(NOBODY, stream)).status == 0
    assert stream.questions[0].way == "INSTREAM"
    descriptor = site.clamd()
    assert site.deliver(scanners=places(refused(), descriptor)).status == 0
    assert descriptor.questions[0].way == "FILDES"


def test_a_place_that_was_reached_is_not_left_for_another(site: Site) -> None:
    """What one has begun to say may be that there is a virus; the next one might not know it."""
    dies, good = site.clamd(hangs_up=True), site.clamd()
    site.assert_kept(site.deliver(scanners=places(dies, good)), "4.4.2", dies.where)
    assert good.questions == []


def test_when_no_place_can_be_reached_all_are_named(site: Site) -> None:
    dead = refused()
    ended = site.deliver(scanners=places(NOBODY, dead))
    site.assert_kept(ended, "4.4.1", NOBODY, "No such file", dead, "refused")


@pytest.mark.parametrize("options", [("-t", "2"), ("--deadline", "2")])
def test_a_place_that_swallows_connections_leaves_time_for_the_next(
    site: Site, hole: str, options: Sequence[str]
) -> None:
    """The time to connect is short, and not all of the time that there is for the scan."""
    good = site.clamd()
    ended = site.deliver(*options, scanners=places(hole, good))
    assert ended.status == 0, ended
    assert len(good.questions) == 1


def test_a_daemon_that_is_too_busy_to_answer_the_door_is_passed_over(site: Site) -> None:
    """A Unix-domain socket with a full backlog, as clamd has while it reloads."""
    busy, good = site.clamd(listens=False), site.clamd()
    with ExitStack() as stack:
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(busy.where):
                break
        ended = site.deliver("-t", "2", scanners=places(busy, good))
    assert ended.status == 0, ended
    assert len(good.questions) == 1


def test_a_name_with_several_addresses_is_one_place(site: Site) -> None:
    """localhost: ::1 where nobody listens, and 127.0.0.1, in any order."""
    scanner = site.clamd(tcp=True)
    port = scanner.where.rpartition(":")[2]
    for _ in range(5):
        assert site.deliver(scanners=[f"clamd:localhost:{port}"]).status == 0
    assert len(scanner.questions) == 5


def test_several_scanners_with_several_places_each(site: Site) -> None:
    one, two, three = site.clamd(), site.clamd(), site.clamd()
    scanners = [*places(NOBODY, one), *places(two, one), *places(refused(), NOBODY, three)]
    assert site.deliver(scanners=scanners).status == 0
    assert [len(each.questions) for each in (one, two, three)] == [1, 1, 1]


def test_a_scanner_that_is_late_is_not_waited_for_at_the_exit(site: Site) -> None:
    silent = site.clamd(hold="asked")
    ended = site.deliver("-t", "0.3", "--need", "1", scanners=named(silent, site.clamd()))
    assert ended.status == 0
    assert len(site.delivered) == 1
    until(lambda: site.left == [])
