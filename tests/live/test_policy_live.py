"""Policy and state with real daemons: Postfix bounces, clamd knows nothing or is killed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.recipe import MailSystem
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.clamd import Clamd
from tests.support.servers.daemon import suspend
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Received

TEMPFAIL = 75

# The longest that the kernel may take to connect two sockets.
PATIENCE = 30.0


# reject, through Postfix.


@pytest.fixture(scope="module")
def rejecting(mail_system: MailSystem) -> Iterator[Postfix]:
    """A Postfix with the lines of docs/postfix.md, and infected mail rejected."""
    change = ("-s clamd", "--on infected=reject -s clamd")
    with mail_system.postfix("rejecting", change) as postfix:
        yield postfix


def test_a_rejected_message_bounces_with_our_text(
    mail_system: MailSystem, rejecting: Postfix
) -> None:
    message = with_attachment(EICAR, "eicar.com")
    queue_id = mail_system.submit(rejecting, message, "anna@example.com")
    [outcome] = rejecting.wait_for_outcomes(queue_id, relay="avcheck")
    assert "dsn=5.7.1, status=bounced" in outcome
    rejecting.wait_until(lambda: bool(bounces(mail_system, message)), "a bounce")
    [bounce] = bounces(mail_system, message)
    assert bounce.sender == b""
    assert bounce.recipients == [b"anna@example.com"]
    report = message_from_bytes(bounce.data)
    assert report.get_content_type() == "multipart/report"
    text = re.sub(rb"\s+", b" ", bounce.data)
    assert b"avcheck: message refused: infected: Eicar-Test-Signature" in text
    assert b"Status: 5.7.1" in text
    assert b"Action: failed" in text
    assert mail_system.delivered(message) == []
    assert mail_system.quarantined(message) == []
    assert mail_system.left_behind() == []


def bounces(mail_system: MailSystem, message: bytes) -> list[Received]:
    """The bounces at the next hop that a message has caused."""
    mark = message_from_bytes(message)["Message-ID"].encode()
    return [
        each
        for each in mail_system.sink.messages
        if b"multipart/report" in each.data and mark in each.data
    ]


def test_where_infected_mail_is_rejected_clean_mail_arrives(
    mail_system: MailSystem, rejecting: Postfix
) -> None:
    message = letter()
    queue_id = mail_system.submit(rejecting, message)
    [outcome] = rejecting.wait_for_outcomes(queue_id, relay="avcheck")
    assert "status=sent" in outcome
    mail_system.settle(rejecting)
    assert len(mail_system.delivered(message)) == 1


# quarantine, through Postfix.


def test_the_built_in_quarantine_takes_what_the_handler_took(mail_system: MailSystem) -> None:
    quarantine = mail_system.quarantine
    change = ("-s clamd", f"--on infected=quarantine:{quarantine} -s clamd")
    with mail_system.postfix("quarantining", change) as postfix:
        message = with_attachment(EICAR, "eicar.com")
        recipients = ("bert@example.net", '"c d"@example.net')
        queue_id = mail_system.submit(postfix, message, "", recipients)
        outcomes = postfix.wait_for_outcomes(queue_id, 2, relay="avcheck")
        assert all("quarantined as" in line for line in outcomes)
        mail_system.settle(postfix)
        entries = mail_system.quarantined(message)
        assert [entry.parent for entry in entries] == [quarantine] * 2
        mail_system.account_for(postfix)


# The real clamd, and what runs share.


class Desk:
    """A spool directory and avcheck run there, with messages that go nowhere."""

    def __init__(self, avcheck: Path, directory: Path) -> None:
        self.avcheck = avcheck
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.quarantine = directory / "quarantine"

    def words(self, scanner: str, *more: str) -> list[str]:
        return [
            *(str(self.avcheck), "-n", "-d", str(self.spool), "-s", scanner, *more),
            *("--on", f"infected=quarantine:{self.quarantine}"),
            *("--on", f"unscannable=quarantine:{self.quarantine}"),
            *("-f", "anna@example.com", "--", "bert@example.net"),
        ]

    def check(self, message: bytes, words: Sequence[str]) -> tuple[int, str]:
        """The exit status, and what was said."""
        process = self.start(words)
        said, _ = process.communicate(message.replace(b"\r\n", b"\n"), timeout=2 * PATIENCE)
        return process.returncode, said.decode()

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


@pytest.mark.parametrize("way", ["descriptor", "stream", "TCP", "path"])
def test_the_real_clamd_knows_the_test_virus(desk: Desk, clamd: Clamd, way: str) -> None:
    scanner = {
        "descriptor": f"clamd:{clamd.socket}",
        "stream": f"clamd+stream:{clamd.socket}",
        "TCP": f"clamd:127.0.0.1:{clamd.port}",
        "path": f"clamd+path:{clamd.socket}",
    }[way]
    metrics = desk.spool.parent / "avcheck.prom"
    words = desk.words(scanner, "--canary", "300", "--metrics", str(metrics))
    for _ in range(2):
        status, said = desk.check(letter(), words)
        assert (status, said.partition(":")[0]) == (0, "clean"), said
    assert desk.check(with_attachment(EICAR), words)[1].startswith("infected: ")
    names = [family.name for family in text_string_to_metric_families(metrics.read_text())]
    assert "avcheck_last_canary_timestamp_seconds" in names
    [state] = os.listdir(desk.spool)
    assert state.startswith("canary.")


def ignorant(directory: Path, how: str) -> Clamd:
    """A clamd that is up, answers, and would let every virus pass."""
    if how == "no mail":
        return Clamd(directory, settings={"ScanMail": "no"})
    if how == "a low limit":
        return Clamd(directory, settings={"MaxFileSize": "50"})
    database = directory / "empty"
    database.mkdir(parents=True)
    if how == "other signatures":
        (database / "other.hdb").write_text("0123456789abcdef0123456789abcdef:12345:Other\n")
    else:
        (database / "empty.ign2").write_text("Nothing\n")
    for path in (directory, database, *database.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Clamd(directory, settings={"DatabaseDirectory": str(database)})


@pytest.mark.parametrize("how", ["no signatures", "other signatures", "no mail", "a low limit"])
def test_a_clamd_that_knows_nothing_is_found_out(
    desk: Desk, open_directory: Path, how: str
) -> None:
    infected = with_attachment(EICAR)
    with ignorant(open_directory / how.replace(" ", "-"), how) as clamd:
        scanner = f"clamd:{clamd.socket}"
        # That is the danger: to this one the virus is clean.
        assert desk.check(infected, desk.words(scanner))[1].startswith("clean: ")
        for message in (infected, letter(), letter()):
            status, said = desk.check(message, desk.words(scanner, "--canary", "300"))
            assert status == TEMPFAIL
            assert re.match(r"4\.3\.5 avcheck: clamd .*EICAR test virus", said), said
    assert not desk.quarantine.exists()


def test_one_that_gets_its_signatures_back_is_believed_again(
    desk: Desk, clamd: Clamd, open_directory: Path
) -> None:
    """The same socket, first of a daemon without signatures, then of one with them."""
    place = desk.spool.parent / "clamd.ctl"
    words = desk.words(f"clamd:{place}", "--canary", "1")
    with ignorant(open_directory / "before", "no signatures") as empty:
        place.symlink_to(empty.socket)
        assert desk.check(letter(), words)[0] == TEMPFAIL
    place.unlink()
    place.symlink_to(clamd.socket)
    [state] = desk.spool.glob("canary.*")
    assert desk.check(letter(), desk.words(f"clamd:{place}", "--canary", "300"))[0] == TEMPFAIL
    os.utime(state, (0, 0))
    assert desk.check(letter(), words)[0] == 0


def connected(pid: int, path: Path) -> bool:
    """Whether the process has a connection, of a Unix-domain socket, to a daemon at the path."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    peers = Path("/proc/net/unix").read_text().splitlines()
    # Num RefCount Protocol Flags Type St Inode Path; St 03 is connected.
    return any(line.split()[6] in inodes and line.split()[5] == "03" for line in peers[1:])


def wait_until_connected(pid: int, path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not connected(pid, path):
        assert time.monotonic() < end, "it never connected"
        os.sched_yield()


def test_a_message_that_kills_clamd_each_time_is_put_aside(
    desk: Desk, open_directory: Path
) -> None:
    """The daemon is killed in the middle of the scan, twice; another message is not to blame."""
    clamd = Clamd(open_directory / "killed-clamd")
    scanner = f"clamd:{clamd.socket}"
    poison, innocent = letter("poison"), letter("innocent")
    words = desk.words(scanner, "--attempts", "2", "--queue-id", "4POISON")
    for _ in range(2):
        clamd.start()
        # Stopped, it takes the connection and not the question; so the scan has begun and
        # is not over when the signal comes.
        suspend(clamd.pid)
        process = desk.start(words)
        assert process.stdin
        process.stdin.write(poison.replace(b"\r\n", b"\n"))  # as check() does
        process.stdin.close()
        process.stdin = None
        wait_until_connected(process.pid, clamd.socket)
        clamd.kill()
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == TEMPFAIL
        assert output.startswith(b"4.4.2 avcheck: clamd "), output
    # While it is down nothing is counted, for any message.
    other = desk.words(scanner, "--attempts", "2", "--queue-id", "4OTHER")
    for _ in range(3):
        assert desk.check(innocent, other)[1].startswith("4.4.1 ")
    with clamd:
        assert desk.check(innocent, other)[0] == 0
        status, said = desk.check(poison, words)
        assert status == 0
        assert said.startswith("unscannable: 2 scans came to nothing"), said
    assert len(list(desk.quarantine.glob("[!.]*"))) == 1
    assert os.listdir(desk.spool) == []


def test_slots_keep_a_small_clamd_from_being_overrun(desk: Desk, open_directory: Path) -> None:
    """Thirty messages at once, and a daemon with one thread and a short queue."""
    settings = {"MaxThreads": "1", "MaxQueue": "2", "MaxConnectionQueueLength": "1"}
    with Clamd(open_directory / "small", settings=settings) as clamd:
        words = desk.words(f"clamd:{clamd.socket}", "--slots", "1")
        running = [desk.start(words) for _ in range(30)]
        for process in running:
            said, _ = process.communicate(letter(), timeout=2 * PATIENCE)
            assert process.returncode == 0, said
    assert os.listdir(desk.spool) == ["slot.0"]


def test_two_real_daemons_are_asked_and_one_may_be_down(
    desk: Desk, clamd: Clamd, open_directory: Path
) -> None:
    with Clamd(open_directory / "second") as second:
        both = ["-s", f"clamd:{second.socket}"]
        scanner = f"clamd:{clamd.socket}"
        status, said = desk.check(letter(), desk.words(scanner, *both))
        assert (status, said.partition(":")[0]) == (0, "clean")
        assert desk.check(with_attachment(EICAR), desk.words(scanner, *both))[1].startswith(
            "infect"
        )
    assert desk.check(letter(), desk.words(scanner, *both))[0] == TEMPFAIL
    assert desk.check(letter(), desk.words(scanner, *both, "--need", "1"))[0] == 0
    # What one of them has found counts, however many are down.
    assert desk.check(with_attachment(EICAR), desk.words(scanner, *both))[1].startswith("infect")
    backup = ["--backup", f"clamd:{clamd.socket}"]
    assert desk.check(letter(), desk.words(f"clamd:{second.socket}", *backup))[0] == 0
    places = f"clamd:{second.socket},{clamd.socket}"
    assert desk.check(letter(), desk.words(places))[0] == 0
