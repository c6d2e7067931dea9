"""--canary: a scanner that does not know the test virus, or sees it everywhere, is not believed."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import message_from_bytes
from pathlib import Path
from types import TracebackType

import pytest

from avcheck.seen import FRONT
from avcheck.state import canary
from tests.support import traced
from tests.support.fakes import FakeClamd, Question
from tests.support.letters import EICAR
from tests.support.mta import MAIL, Site, until
from tests.support.servers import packages
from tests.support.traced import opens

FOUND = b"Eicar-Test-Signature FOUND"

HOUR = ("--canary", "3600")


def decoded(content: bytes) -> bytes:
    """The message with its attachments decoded, as a scanner that knows mail sees it."""
    pieces = [content]
    for part in message_from_bytes(content).walk():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            pieces.append(payload)
    return b"".join(pieces)


def infected(content: bytes) -> bool:
    return EICAR in decoded(content)


class Thinking(FakeClamd):
    """A clamd whose answer to a message is that of think, a function of its content."""

    def __init__(self, path: Path, think: Callable[[bytes], bytes], hold: str = "") -> None:
        self.think = think
        self._hold = hold
        super().__init__(path, hold=hold)

    def play(self, client: socket.socket) -> None:
        self.reach("connected")
        question, name = self._question(client)
        self.questions.append(question)
        self.reach("asked")
        says = self.think(question.content)
        if says:
            client.sendall(name + b": " + says + b"\0")


def good(content: bytes) -> bytes:
    return FOUND if infected(content) else b"OK"


# Ways of being wrong.
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "knows no virus": lambda content: b"OK",
    "calls everything one": lambda content: FOUND,
    "is the wrong way round": lambda content: b"OK" if infected(content) else FOUND,
    "only suspects it": lambda content: (
        b"Heuristics.Phishing.X FOUND" if infected(content) else b"OK"
    ),
    "cannot look inside": lambda content: b"Heuristics.Encrypted.Zip FOUND",
    "has a low limit": lambda content: b"Heuristics.Limits.Exceeded.MaxFileSize FOUND",
}


class Trust:
    """A site with a scanner that can change its mind."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._scanners: list[Thinking] = []
        self.scanner = self.another(good)

    def __enter__(self) -> Trust:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def another(self, think: Callable[[bytes], bytes], hold: str = "") -> Thinking:
        path = self.site.directory / f"thinking.{len(self._scanners)}"
        scanner = Thinking(path, think, hold)
        path.chmod(0o777)
        self._scanners.append(scanner)
        self.site.scanner = scanner
        return scanner

    def close(self) -> None:
        for scanner in self._scanners:
            scanner.stop()

    @property
    def state(self) -> Path:
        """The file with the result; there is one."""
        (path,) = self.states
        return path

    @property
    def states(self) -> list[Path]:
        return [self.site.spool / name for name in self.site.left if name.startswith("canary.")]

    def age(self, seconds: float) -> None:
        """Let the last test be so long ago."""
        then = time.time() - seconds
        os.utime(self.state, (then, then))

    @property
    def tests(self) -> list[Question]:
        """The mails of known-answer tests that the scanner was asked about."""
        return [each for each in self.scanner.questions if MAIL not in each.content]

    @property
    def viruses(self) -> int:
        return sum(infected(each.content) for each in self.scanner.questions)


@pytest.fixture
def trust(site: Site) -> Iterator[Trust]:
    with Trust(site) as place:
        yield place


def is_distrusted(output: bytes) -> bool:
    return bool(re.match(rb"4\.3\.5 avcheck: .*clamd.* EICAR", output))


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


def test_the_virus_is_the_eicar_test_file() -> None:
    (part,) = [
        part
        for part in message_from_bytes(canary.virus()).walk()
        if part.get_content_type() == "application/octet-stream"
    ]
    assert part.get_payload(decode=True) == EICAR
    assert EICAR not in canary.virus()
    source = Path(canary.__file__).read_bytes()
    assert EICAR not in source
    assert base64.b64encode(EICAR)[:20] not in source


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


def test_a_result_that_turns_bad_while_it_is_read_is_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale "+" is read, then a test writes "-": the time of change belongs to the latter."""
    file = tmp_path / "canary.x"
    file.write_bytes(canary.GOOD)
    os.utime(file, (time.time() - 7300,) * 2)
    real = {name: getattr(os, name) for name in ("pread", "fstat")}

    def and_then(name: str) -> Callable[..., object]:
        def call(*words: object) -> object:
            found = real[name](*words)
            file.write_bytes(canary.BAD)
            return found

        return call

    for name in real:
        monkeypatch.setattr(os, name, and_then(name))
    fd = os.open(file, os.O_RDWR)
    assert canary._result(fd, 3600) != canary.GOOD
    os.close(fd)


class Slow:
    """Makes a scanner keep its answer to the known-answer test until release()."""

    def __init__(self, scanner: Thinking) -> None:
        self._mine, self._theirs = socket.socketpair()
        scanner.think = self.think

    def think(self, content: bytes) -> bytes:
        if infected(content):
            self._theirs.sendall(b".")
            self._theirs.recv(1)
        return good(content)

    def reached(self) -> None:
        assert self._mine.recv(1)

    def release(self) -> None:
        self._mine.sendall(b".")


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
