"""The log: one line for each message, with the facts of standard output, and no trouble.

The installed command writes to /dev/log, which is no place for a test; so it runs in a mount
namespace in which /dev/log is a socket of the test.
"""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.mta import MAIL, Ended, Site
from tests.support.servers import packages
from tests.support.syslog import FOUND, INFO, NAMESPACE, NOTICE, WARNING, Log


def move(site: Site, log: Path) -> Site:
    """The site in a namespace in which /dev/log is that socket."""
    packages.need_root("a mount namespace of its own is made by root only")
    scratch = site.directory / "dev"
    scratch.mkdir()
    words = ["unshare", "-m", "/bin/sh", "-c", NAMESPACE, "sh", str(scratch), str(log)]
    site.command = [*words, *site.command]
    return site


@pytest.fixture
def logged(site: Site, log: Log) -> Site:
    """A site that is logged."""
    return move(site, log.path)


# Facts.


def test_a_delivered_message_is_a_line(logged: Site, log: Log) -> None:
    running = logged.start(logged.words("--queue-id", "4XYZ"))
    ended = running.end(MAIL)
    assert ended.status == 0
    line = log.line
    assert (line.priority, line.pid, line.queue_id) == (INFO, running.process.pid, "4XYZ")
    assert list(line.facts) == ["from", "to", "size", "clamd", "verdict", "action", "delay"]
    assert line.facts["from"] == "<anna@example.com>"
    assert line.facts["to"] == "<bert@example.net>"
    assert line.facts["size"] == str(len(MAIL))
    assert re.fullmatch(r"clean/\d+\.\d{3}s", line.facts["clamd"])
    assert line.facts["verdict"] == "clean"
    assert line.facts["action"] == "deliver"
    assert 0 < float(line.facts["delay"]) < 100
    assert line.status == 0
    assert line.said == ended.output.decode().rstrip()


@pytest.mark.parametrize("options", [(), ("-c",)], ids=["checked", "-c"])
def test_a_duplicate_to_come_is_named(logged: Site, log: Log, options: Sequence[str]) -> None:
    """Who called is gone, did not hear of the delivery, and will try again."""
    hop = logged.smtp(hold="dot")
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = logged.start([*mta, *logged.words(*options, "--queue-id", "4XYZ")]).feed()
    hop.arrived()
    assert log.lines == []
    # The namespace is left by an exec: the process is the one that called.
    running.process.kill()
    running.process.wait()
    hop.release()
    hop.arrived("QUIT")
    running.output()
    line = log.line
    assert line.status == 0
    assert line.said.endswith("; possible duplicate: the mail system that called is gone")
    assert len(hop.messages) == 1


def test_nobody_speaks_of_a_duplicate_while_the_caller_waits(logged: Site, log: Log) -> None:
    for words in ((), ("-c",), ("-n",)):
        assert logged.deliver(*words).status == 0
        assert "duplicate" not in log.line.text


OUTCOMES: list[tuple[Sequence[str], bytes, int, int, str, str]] = [
    # options, what clamd says, status, priority, verdict, action
    ((), b"OK", 0, INFO, "clean", "deliver"),
    (("-n", "-g", "99"), b"OK", 99, INFO, "clean", "deliver"),
    (("--on", "clean=defer"), b"OK", 75, WARNING, "clean", "defer"),
    ((), FOUND, 0, NOTICE, "infected", "handle"),
    (("--on", "infected=deliver"), FOUND, 0, INFO, "infected", "deliver"),
    (("--on", "infected=discard"), FOUND, 0, NOTICE, "infected", "discard"),
    (("--on", "infected=quarantine:{}/q"), FOUND, 0, NOTICE, "infected", "quarantine"),
    (("--on", "infected=reject"), FOUND, 77, WARNING, "infected", "reject"),
    (("--on", "infected=defer"), FOUND, 75, WARNING, "infected", "defer"),
    ((), b"memory ERROR", 75, WARNING, "failed", "defer"),
    (("--on", "failed=deliver"), b"memory ERROR", 0, INFO, "failed", "deliver"),
    (("-S", "unix:/nonexistent"), b"OK", 75, WARNING, "clean", "defer"),
    (("--on", "infected=quarantine:/dev/null/q"), FOUND, 75, WARNING, "infected", "defer"),
]


@pytest.mark.parametrize(("options", "says", "status", "priority", "verdict", "action"), OUTCOMES)
def test_every_end_is_one_line_with_the_facts_of_the_output(
    logged: Site,
    log: Log,
    options: Sequence[str],
    says: bytes,
    status: int,
    priority: int,
    verdict: str,
    action: str,
) -> None:
    logged.clamd(says=says)
    logged.handler()
    if "-S" in options:
        logged.hop = ()
    ended = logged.deliver(*(word.format(logged.directory) for word in options))
    assert ended.status == status
    line = log.line
    assert (line.status, line.priority) == (status, priority)
    assert (line.facts["verdict"], line.facts["action"]) == (verdict, action)
    if status == 99:  # nothing is printed with -g
        assert ended.output == b""
        assert line.said.startswith("clean: clamd ")
    else:
        said = ended.output.decode().removesuffix("\n")
        assert line.said == re.sub(r"^(\S+) avcheck: ", r"\1 ", said)
    if verdict == "infected":
        assert line.facts["virus"] == "<Eicar-Test-Signature>"
    else:
        assert "virus" not in line.facts


def test_every_scanner_and_the_number_of_recipients_are_told(logged: Site, log: Log) -> None:
    words = ("--on", "infected=discard")
    scanners = [f"clamd:{logged.clamd(says=FOUND).where}", "my.scanner:/run/x"]
    recipients = [f"bert{number}@example.net" for number in range(50)]
    assert logged.deliver(*words, scanners=scanners, recipients=recipients).status == 0
    line = log.line
    assert line.facts["to"] == "<bert0@example.net>"
    assert line.facts["nrcpt"] == "50"
    assert line.facts["clamd"].startswith("infected/")
    assert line.facts["my.scanner"].startswith("failed/")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--nonsense",), "4.3.5 no such option: --nonsense"),
        (("--config", "/nonexistent"), "4.3.5 --config /nonexistent: No such file"),
        (("-w", "/dev/null"), "4.3.2 held back while /dev/null exists"),
    ],
)
def test_what_never_became_a_message_is_a_line_too(
    logged: Site, log: Log, options: Sequence[str], said: str
) -> None:
    ended = logged.deliver(*options)
    assert ended.status == 75
    line = log.line
    assert (line.status, line.priority, line.queue_id) == (75, WARNING, "NOQUEUE")
    assert line.said.startswith(said)
    assert "verdict" not in line.facts


def test_an_injected_message_is_a_line(logged: Site, log: Log) -> None:
    assert logged.deliver("-c").status == 0
    line = log.line
    assert (line.status, line.priority) == (0, INFO)
    assert line.said.startswith("injected: 127.0.0.1:")


def test_what_is_for_a_person_is_no_line(logged: Site, log: Log) -> None:
    for option in ("--help", "--version"):
        logged.start([*logged.command, option]).end(b"")
    assert log.lines == []


def test_a_run_that_is_stopped_is_one_line(logged: Site, log: Log) -> None:
    scanner = logged.clamd(hold="asked")
    running = logged.start(logged.words()).feed()
    scanner.arrived()
    running.signal(signal.SIGTERM)
    assert running.end().status == 75
    line = log.line
    assert (line.status, line.facts["action"]) == (75, "defer")
    assert "signal 15" in line.said


# Strangers' words.

HOSTILE = [
    b'a>, verdict=clean, action=deliver, status=0 (ok), to=<b"@example.org',
    b"a\x1b[31m\x07\x7f\x80\xff\xe2\x80\xa8@example.org",
    b"\t \v\f'\"`$(x)\\@example.org",
    b"<13>Jan  1 00:00:00 sshd[1]: forged",
    b"x" * 3000 + b">",
    b"%s%n%d",
]


@pytest.mark.parametrize("address", HOSTILE, ids=range(len(HOSTILE)))
def test_an_address_can_forge_neither_a_line_nor_a_key(
    logged: Site, log: Log, address: bytes
) -> None:
    logged.sendmail()
    assert logged.deliver(sender=address, recipients=[address, address]).status == 0
    told = log.line
    keys = ["from", "to", "nrcpt", "size", "clamd", "verdict", "action", "delay"]
    assert list(told.facts) == keys
    assert told.status == 0
    assert len(told.text) < 1500


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_the_name_of_a_virus_can_forge_neither_a_line_nor_a_key(
    logged: Site, log: Log, name: bytes
) -> None:
    logged.clamd(says=name + b" FOUND")
    assert logged.deliver("--on", "infected=discard").status == 0
    told = log.line
    keys = ["from", "to", "size", "clamd", "verdict", "virus", "action", "delay"]
    assert list(told.facts) == keys
    assert told.facts["verdict"] == "infected"


@pytest.mark.parametrize("queue_id", ["a: verdict=clean", "a\x1b\n<13>b", "", "x" * 300, "'\""])
def test_a_queue_id_is_one_word_or_made_one(logged: Site, log: Log, queue_id: str) -> None:
    assert logged.deliver("--queue-id", queue_id).status == 0
    line = log.line
    assert len(line.queue_id) <= 100
    assert (line.queue_id == "NOQUEUE") == (queue_id == "")
    assert list(line.facts)[:2] == ["from", "to"]


def test_many_scanners_with_much_to_say_leave_room_for_the_status(logged: Site, log: Log) -> None:
    name = b"N" * 300
    scanners = [f"clamd:{logged.clamd(says=name + b' FOUND').where}" for _ in range(20)]
    address = "x" * 500
    words = logged.words(
        "--on", "infected=discard", scanners=scanners, sender=address, recipients=[address]
    )
    assert logged.start(words).end(MAIL).status == 0
    assert log.line.status == 0


# Trouble.


def test_a_daemon_that_does_not_read_is_not_waited_for(logged: Site, log: Log) -> None:
    log.fill()
    assert logged.deliver().status == 0
    logged.clamd(says=b"memory ERROR")
    assert logged.deliver().status == 75
    assert len(logged.delivered) == 1


@pytest.mark.parametrize("what", ["nothing", "a file", "nobody", "a stream"])
def test_without_a_daemon_nothing_else_changes(site: Site, tmp_path: Path, what: str) -> None:
    path = tmp_path / "log"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if what == "a file":
        path.touch()
    elif what == "nobody":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(path))
    elif what == "a stream":
        listener.bind(str(path))
        listener.listen(0)
    if what != "nothing":
        move(site, path)
    with listener:
        assert site.deliver().status == 0
        site.clamd(says=b"memory ERROR")
        ended = site.deliver()
    assert ended.status == 75
    assert ended.output.count(b"\n") == 1


# --verbose


STEP = re.compile(rb"avcheck: +(\d+\.\d) ms  (.*)")


def steps(ended: Ended) -> tuple[bytes, list[bytes]]:
    """The first line, and the words of the steps; their times never go back."""
    first, *rest = ended.output.splitlines()
    found = []
    before = 0.0
    for line in rest:
        step = STEP.fullmatch(line)
        assert step, line
        assert float(step[1]) >= before
        before = float(step[1])
        found.append(step[2])
    return first, found


def test_verbose_shows_each_step_after_the_result(logged: Site, log: Log) -> None:
    other = logged.clamd()
    scanners = [f"clamd:{logged.scanner.where}", f"clamd+stream:{other.where}"]
    ended = logged.deliver("-v", scanners=scanners)
    assert ended.status == 0
    first, found = steps(ended)
    assert first.startswith(b"clean: clamd")
    text = b"\n".join(found).decode()
    assert f"saved {len(MAIL)} bytes in {logged.spool}" in text
    for scanner in scanners:
        assert f"clamd {scanner.partition(':')[2]}: clean" in text
    assert "clean: deliver" in text
    # The log has its one line, all the same.
    assert log.line.status == 0


def test_verbose_shows_why_a_message_is_kept(site: Site) -> None:
    ended = site.deliver("-v", scanners=["clamd:/nonexistent"])
    assert ended.status == 75
    first, found = steps(ended)
    assert first.startswith(b"4.4.1 avcheck: clamd /nonexistent: connect: ")
    assert any(b"/nonexistent: failed /nonexistent: connect" in step for step in found)
    assert found[-1] == b"failed: defer"


def test_verbose_is_clean_whatever_a_scanner_says(site: Site) -> None:
    site.clamd(says=b"A\x1b[31m\r\nforged\xff" + b"x" * 2000 + b" FOUND")
    ended = site.deliver("-v", "--on", "infected=discard")
    first, found = steps(ended)
    assert first.startswith(b"infected: A?[31m  forged?")
    assert all(step.decode("ascii").isprintable() for step in found)


def test_without_verbose_there_is_one_line(site: Site) -> None:
    assert site.deliver().output.count(b"\n") == 1
    assert site.deliver(scanners=["clamd:/nonexistent"]).output.count(b"\n") == 1
