"""docs/exim.md, followed line by line on Debian's own configuration of Exim, in both forms."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.live.debian import COMMON, wheels
from tests.live.eximhost import PAGE, PYTHON, Answers, EximHost
from tests.live.recipe import DOCUMENT, blocks
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.machine import HOSTNAME, Layer

ANSWERS = {
    "as the package comes": Answers(split=False, site="local", listens="127.0.0.1 ; ::1"),
    "internet site, split": Answers(split=True, site="internet", listens=""),
}


CLEAN = re.compile("avcheck transport output: clean")

# What the page asks Exim, whether postmaster is somebody.
ASK = blocks(PAGE)["postmaster"].split()


@pytest.fixture(scope="module")
def machine() -> Iterator[EximHost]:
    with (
        Layer(*COMMON, "exim4-daemon-light") as layer,
        EximHost(layer, wheels()) as place,
    ):
        yield place


@pytest.fixture(scope="module", params=ANSWERS)
def host(request: pytest.FixtureRequest, machine: EximHost) -> EximHost:
    machine.configure_exim(ANSWERS[request.param])
    return machine


@pytest.fixture(autouse=True)
def nothing_waits(host: EximHost) -> Iterator[None]:
    """What a test that has failed leaves in the queue is not the next one's."""
    yield
    for name in host.queue():
        host.attempt("exim4", "-Mrm", name)


def arrived(host: EximHost, message: bytes) -> int:
    """How often a message is in the mailbox."""
    return host.mailbox().count(f"X-Token: {token(message)}\n")


def arrives(host: EximHost, message: bytes) -> str:
    """Wait for a message; the log then has no failure, and the mailbox it, once, unchanged."""
    host.wait_until(lambda: arrived(host, message), "mail")
    assert arrived(host, message) == 1
    text = message.replace(b"\r\n", b"\n").decode(errors="replace")
    assert text in host.mailbox()
    return text


def test_the_ports_are_those_of_before_and_10026(host: EximHost) -> None:
    listening = set(re.findall(r"LISTEN +\S+ +\S+ +(\S+):(\d+)", host.run("ss", "-ltn")))
    ours = {(address, port) for address, port in listening if port in ("25", "10026")}
    everywhere = {("0.0.0.0", "25"), ("[::]", "25")}
    loopback = {("127.0.0.1", "25"), ("[::1]", "25")}
    assert ours == (loopback if host.answers.listens else everywhere) | {("127.0.0.1", "10026")}


@pytest.mark.parametrize("way", ["local", "network"])
def test_mail_is_scanned_and_arrives(host: EximHost, way: str) -> None:
    before = len(CLEAN.findall(host.log))
    message = letter()
    host.send(way, message)
    arrives(host, message)
    host.wait_for_empty_queue()
    assert len(CLEAN.findall(host.log)) == before + 1


# A line that is longer than SMTP has it, and From lines that are not what RFC 5322 wants.
# Exim takes all of them from sendmail(1).
ODD = {
    "a line of 1500 characters": letter("x" * 1500 + "\n"),
    "From without an address": letter().replace(b"From: Anna <anna@example.com>", b"From: Anna B."),
    "From of nobody": letter().replace(b"From: Anna <anna@example.com>", b"From: <>"),
    "two addresses in one": letter().replace(b"<anna@example.com>", b"<a@b@example.com>"),
    "a To without a domain": letter().replace(b"<bert@example.net>", b"<bert"),
    "a line that is no header": letter("", "this is no header line"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_exim_takes_from_this_host_comes_back(host: EximHost, what: str) -> None:
    message = ODD[what].replace(b"X-Token: ", b"X-Token: %d" % host.answers.split)
    host.local(message)
    host.wait_until(lambda: arrived(host, message), "mail")
    assert arrived(host, message) == 1
    host.wait_for_empty_queue()


def test_addresses_in_utf8_come_back(host: EximHost) -> None:
    message = letter()
    host.local(message, f"jürgen@{HOSTNAME}", f"jürgen@{HOSTNAME}")
    arrives(host, message)
    host.wait_for_empty_queue()


def reports(host: EximHost, mailbox: str = "mail") -> int:
    """How many are in the mailbox: postmaster is root, whose mail Debian gives to mail."""
    return host.mailbox(mailbox).count("\nSubject: avcheck on")


def entry_of(host: EximHost, virus: bytes) -> str:
    """The name of its only entry in the quarantine."""
    found = host.path("/var/spool/avcheck/quarantine").glob("[!.]*/message")
    [name] = [each.parent.name for each in found if token(each.read_bytes()) == token(virus)]
    return name


@pytest.mark.parametrize("way", ["local", "network"])
def test_postmaster_hears_of_a_virus(host: EximHost, way: str) -> None:
    virus = with_attachment(EICAR)
    before = reports(host)
    host.send(way, virus)
    host.wait_until(lambda: reports(host) > before, "report")
    assert reports(host) == before + 1
    assert entry_of(host, virus) in host.mailbox("mail")
    host.wait_for_empty_queue()
    assert not arrived(host, virus)


def test_where_the_mail_name_is_not_local_the_setting_of_the_page_names_somebody(
    host: EximHost,
) -> None:
    name = host.read("/etc/mailname")
    settings = blocks(PAGE)["infected.conf"]
    host.put("/etc/mailname", "example.test\n")
    try:
        host.follow(PAGE, "debian-on")
        assert host.attempt(*ASK).returncode != 0
        host.put("/etc/avcheck/infected.conf", settings)
        assert host.attempt(*ASK[:-1], settings.strip().partition("=")[2]).returncode == 0
        virus = with_attachment(EICAR)
        before = reports(host)
        host.local(virus)
        host.wait_until(lambda: reports(host) > before, "report")
        assert entry_of(host, virus) in host.mailbox("mail")
        host.wait_for_empty_queue()
    finally:
        host.run("rm", "-rf", "/etc/avcheck")
        host.put("/etc/mailname", name)
        host.follow(PAGE, "debian-on")
    assert host.attempt(*ASK).returncode == 0


def test_mail_comes_back_while_idle_clients_use_up_the_front_door(host: EximHost) -> None:
    message = letter()
    with host.idle_clients(25) as greetings:
        assert greetings.count(b"b'220 '\n") == 20
        host.local(message)
        arrives(host, message)
    host.wait_for_empty_queue()


def test_a_message_at_the_limit_of_the_front_door_comes_back(host: EximHost) -> None:
    """On the way back it is longer, by the line that Exim has put in front of it."""
    line = b"x" * 76 + b"\r\n"
    message = letter(b"")
    message += line * ((50 * 1024 * 1024 - len(message) - 20) // len(line))
    host.network(message)
    host.wait_until(lambda: arrived(host, message), "mail")
    host.wait_for_empty_queue()
    host.path("/var/mail/bert").unlink()


def connections_to_clamd(host: EximHost) -> int:
    """How many there are, those that it has not accepted yet included."""
    return host.run("cat", "/proc/net/unix").count("clamd.ctl") - 1  # that it listens on


def test_a_message_that_has_come_as_far_as_exim_allows_comes_back(host: EximHost) -> None:
    """With Exim's own line there are thirty, and with the one of the way back one more."""
    message = b"Received: from a by b; Fri, 02 Jan 2026 03:04:05 +0000\r\n" * 29 + letter()
    host.network(message)
    arrives(host, message)
    host.wait_for_empty_queue()


def parent(host: EximHost, pid: str) -> str:
    """The number of the process that has started another."""
    return host.run("cat", f"/proc/{pid}/stat").split()[3]


def killed(host: EximHost, which: str) -> list[str]:
    """The numbers of those processes of Exim that are to be killed during a run."""
    [run] = host.pids(PYTHON)
    guard = parent(host, run)
    runs_the_command = parent(host, guard)
    return {
        "all": host.pids("exim4"),
        "the one that runs the command": [runs_the_command],
        "the one that notes the result": [parent(host, runs_the_command)],
    }[which]


@pytest.mark.parametrize(
    "which", ["all", "the one that runs the command", "the one that notes the result"]
)
def test_exim_that_is_killed_during_a_scan_delivers_the_message_once(
    host: EximHost, which: str
) -> None:
    message = letter()
    clamd = host.read("/run/clamav/clamd.pid").strip()
    host.suspend("clamd")
    try:
        host.local(message)
        host.wait_until(lambda: connections_to_clamd(host), "scan")
        # One of all may have ended before its turn comes.
        host.attempt("kill", "-KILL", *killed(host, which))
    finally:
        host.run("kill", "-CONT", clamd)
    host.wait_until(lambda: not host.pids(PYTHON), "end of the run")
    [name] = host.queue()
    assert re.search(rf"avcheck\[\d+\]: {name}: .*status=75", host.read("/var/log/syslog"))
    host.shell("systemctl restart exim4\nexim4 -qff")
    arrives(host, message)
    host.wait_for_empty_queue()


def test_doctor_has_nothing_to_correct(host: EximHost) -> None:
    """But for the date of signatures, which only freshclam brings."""
    done = host.attempt(*blocks(PAGE)["doctor"].split(), "--json")
    found = {each["check"]: each for each in json.loads(done.stdout) if each["level"] != "ok"}
    assert (done.returncode, list(found)) == (0, ["scanner_signatures"]), found


def test_another_account_is_told_to_ask_root(host: EximHost) -> None:
    words = ("runuser", "-u", "bert", "--", "avcheckctl", "doctor", "--exim", "--json")
    done = host.attempt(*words)
    found = json.loads(done.stdout)
    assert done.returncode == 2, found
    assert {each["level"] for each in found} == {"ok", "skipped"}, found
    assert {each["remedy"] for each in found if each["level"] == "skipped"} == {"run this as root"}


def test_a_part_that_was_changed_and_not_made_use_of(host: EximHost) -> None:
    part = host.path("/etc/exim4/update-exim4.conf.conf")
    before = part.stat()
    os.utime(part, (before.st_mtime + 1e9, before.st_mtime + 1e9))
    try:
        done = host.attempt("avcheckctl", "doctor", "--exim", "--json")
    finally:
        os.utime(part, (before.st_atime, before.st_mtime))
    (error,) = [each for each in json.loads(done.stdout) if each["level"] == "error"]
    assert error["check"] == "exim_restarted"
    assert error["remedy"] == "update-exim4.conf && systemctl restart exim4"


def test_an_upgrade_by_the_page_loses_nothing(host: EximHost) -> None:
    message = letter()
    host.follow(PAGE, "upgrade-hold")
    host.local(message)
    host.wait_for_deferral()
    host.follow(DOCUMENT, "install", "programs")
    host.follow(PAGE, "upgrade-release")
    arrives(host, message)
    host.wait_for_empty_queue()


def test_undone_all_is_as_before_and_mail_that_waited_goes_out(host: EximHost) -> None:
    """Must stay the last of this module: the next answers are given to what it leaves."""
    message = letter()
    host.path("/var/spool/avcheck/wait").touch()
    host.local(message)
    host.wait_for_deferral()
    host.path("/var/spool/avcheck/wait").unlink()
    host.undo()
    arrives(host, message)
    host.wait_for_empty_queue()
    assert "avcheck" not in host.run("exim4", "-bt", "bert")
