"""Debian's Postfix with avcheck, in bad weather: odd mail, crashes, an upgrade, and the way out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.live.debian import wheels
from tests.live.postfix_debian import SOCKET_UNIT, WAYS, PostfixMachine, layer
from tests.live.recipe import DOCUMENT
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.machine import HOSTNAME

BOB = f"bob@{HOSTNAME}"

# Clients that connect to port 25 and say nothing, until standard input ends.
IDLE = """\
import socket, sys
clients = [socket.create_connection(("127.0.0.1", 25)) for _ in range(int(sys.argv[1]))]
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[PostfixMachine]:
    with layer() as packages, PostfixMachine(packages, wheels()) as place:
        yield place


@pytest.fixture(autouse=True)
def nothing_waits(machine: PostfixMachine) -> Iterator[None]:
    """What a test that has failed leaves in the queue is not the next one's."""
    yield
    machine.run("postsuper", "-d", "ALL")


def odd() -> dict[str, bytes]:
    """Messages that Postfix takes at both of its doors."""
    return {
        "a text": letter("Hello.\n"),
        "a line of 5000 bytes": letter(b"x" * 5000 + b"\n"),
        "8-bit": letter("Gr\u00fc\u00dfe, \u65e5\u672c\n", "Content-Transfer-Encoding: 8bit"),
        "a header in UTF-8": letter("Hello.\n", "X-Odd: Gr\u00fc\u00dfe \u65e5\u672c"),
        "an odd From": letter().replace(b"From: Anna <anna@example.com>", b"From: <<anna>> (, ;"),
        "no From": letter().replace(b"From: Anna <anna@example.com>\r\n", b""),
        "no Date": re.sub(rb"Date: .*\r\n", b"", letter()),
        "a header of 3000 bytes": letter("Hello.\n", "X-Odd: " + "x" * 3000),
        "dots": letter(".\n..\n.a\n\nFrom me\n>From you\n.\n"),
    }


@pytest.mark.parametrize("way", WAYS)
def test_odd_mail_arrives_once_with_its_body(machine: PostfixMachine, way: str) -> None:
    messages = odd()
    for what, message in messages.items():
        assert WAYS[way](machine, message, BOB), what
    machine.settle()
    for what, message in messages.items():
        (copy,) = machine.copies("bob", message)
        body = message.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
        # The mailbox has a mark before lines that begin with From, and an empty line at the end.
        kept = re.sub(rb"^>(>*From )", rb"\1", copy.as_bytes().partition(b"\n\n")[2], flags=re.M)
        wanted = re.sub(rb"^>(>*From )", rb"\1", body, flags=re.M)
        assert kept.rstrip(b"\n") == wanted.rstrip(b"\n"), what


@pytest.mark.parametrize("way", WAYS)
def test_an_address_in_utf8_is_one(machine: PostfixMachine, way: str) -> None:
    message = letter()
    assert WAYS[way](machine, message, f"j\u00fcrgen@{HOSTNAME}", BOB)
    machine.settle()
    assert len(machine.copies("bob", message)) == 2


def test_idle_clients_keep_nobody_out(machine: PostfixMachine) -> None:
    machine.put("/root/idle.py", IDLE)
    words = machine.enter("python3", "/root/idle.py", "50")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
        assert clients.stdout is not None
        assert clients.stdout.readline() == b"connected\n"
        messages = [letter(), letter()]
        assert machine.by_smtp(messages[0], BOB)
        assert machine.by_sendmail(messages[1], BOB)
        machine.settle()
        assert all(len(machine.copies("bob", message)) == 1 for message in messages)
        clients.communicate()


def runs(machine: PostfixMachine) -> list[int]:
    """The numbers, on the machine, of the processes that are runs of avcheck, or their guards."""
    found = []
    for directory in machine.path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            argv = (directory / "cmdline").read_bytes().split(b"\0")
            if b"--queue-id" in argv and b"pipe" not in argv:
                found.append(int(directory.name))
    return found


def master(machine: PostfixMachine) -> int:
    return int(machine.read("/var/spool/postfix/pid/master.pid"))


def pipe(machine: PostfixMachine) -> int:
    """The pipe(8) that waits for the first of the runs."""
    number = runs(machine)[0]
    while True:
        status = machine.read(f"/proc/{number}/status")
        if status.startswith("Name:\tpipe\n"):
            return number
        number = int(status.partition("PPid:\t")[2].split()[0])


@pytest.mark.parametrize("victim", [pipe, master])
def test_a_postfix_killed_during_a_scan_delivers_once(
    machine: PostfixMachine, victim: Callable[[PostfixMachine], int]
) -> None:
    """The run that has lost its Postfix must not hand on: the message is tried again."""
    clamd = machine.run("pidof", "-s", "clamd").strip()
    message, virus = letter(), with_attachment(EICAR)
    machine.suspend("clamd")
    try:
        assert machine.by_sendmail(message, BOB)
        assert machine.by_sendmail(virus, BOB)
        machine.wait_until(lambda: len(runs(machine)) >= 2, "two runs")
        machine.run("kill", f"-{signal.SIGKILL}", str(victim(machine)))
    finally:
        machine.run("kill", "-CONT", clamd)
    machine.wait_until(lambda: not runs(machine), "the end of the runs")
    if victim is master:
        # Those that it has started end when they notice; until then they hold what is theirs.
        machine.wait_until(lambda: not daemons(machine), "the end of its daemons")
        machine.run("systemctl", "start", "postfix")
    machine.wait_until(lambda: flushed(machine), "an empty queue")
    assert len(machine.copies("bob", message)) == 1
    assert machine.copies("bob", virus) == []
    (entry,) = machine.quarantined(virus)
    # The run outlives its master(8), and then there may be nobody to take the report.
    assert machine.reports(entry["queue_id"]) or (
        victim is master and "the report was not sent" in machine.read("/var/log/syslog")
    )


def daemons(machine: PostfixMachine) -> list[str]:
    """The daemons of Postfix that run."""
    shown = machine.run("busybox", "ps", "-o", "args").splitlines()
    return [
        words for words in shown if re.match(r"(pickup|qmgr|pipe|smtpd|cleanup|local) -", words)
    ]


def flushed(machine: PostfixMachine) -> bool:
    machine.attempt("postqueue", "-f")
    return not machine.queue()


def test_mail_waits_for_the_end_of_an_upgrade(machine: PostfixMachine) -> None:
    machine.follow(DOCUMENT, "upgrade-hold")
    message = letter()
    assert machine.by_smtp(message, BOB)
    machine.wait_until(lambda: "upgrade" in machine.run("postqueue", "-p"), "the reason")
    machine.follow(DOCUMENT, "install", "programs")
    assert machine.copies("bob", message) == []
    machine.follow(DOCUMENT, "upgrade-release")
    machine.settle()
    assert len(machine.copies("bob", message)) == 1


def test_what_is_broken_is_installed_again(machine: PostfixMachine) -> None:
    machine.run("ln", "-sf", "/nonexistent/python3", "/opt/avcheck/bin/python3")
    message = letter()
    assert machine.by_smtp(message, BOB)
    machine.wait_until(lambda: "(status 127)" in machine.run("postqueue", "-p"), "the guard")
    machine.follow(DOCUMENT, "again", "programs", "flush")
    machine.settle()
    assert len(machine.copies("bob", message)) == 1


def test_the_way_out_leaves_what_was_there_before(machine: PostfixMachine) -> None:
    """The last test of this machine; what waits goes out, unscanned, as the page says."""
    message = letter()
    machine.run("touch", "/var/spool/avcheck/wait")
    assert machine.by_smtp(message, BOB)
    machine.wait_until(
        lambda: [each["queue_name"] for each in machine.queue()] == ["deferred"], "the message"
    )
    machine.follow(DOCUMENT, "undo")
    # pickup(8) looks for what postsuper has put back once a minute, or when mail comes by its door.
    assert machine.by_sendmail(letter(), BOB)
    machine.settle()
    assert len(machine.copies("bob", message)) == 1
    machine.follow(DOCUMENT, "remove")
    machine.configure("/etc/clamav/clamd.conf", machine.page["clamd-undone.conf"])
    machine.path(SOCKET_UNIT).unlink()
    machine.follow(DOCUMENT, "restart", "accounts-removed", "programs-removed")
    machine.wait_until(lambda: machine.path("/run/clamav/clamd.ctl").is_socket(), "clamd")
    assert machine.files("/etc/postfix") == machine.before
    assert machine.read("/etc/aliases") == machine.aliases
    left = machine.run("find", "/opt", "/usr/local", "/etc/tmpfiles.d", "-name", "avcheck*").split()
    assert left == []
    owners = {path.lstat().st_uid for path in machine.path("/var/spool/avcheck").rglob("*")}
    assert owners == {0}
    assert not machine.path("/var/spool/avcheck/wait").exists()
    assert os.stat(machine.path("/run/clamav/clamd.ctl")).st_mode & 0o777 == 0o666
    again = letter()
    assert machine.by_smtp(again, BOB)
    machine.settle()
    assert len(machine.copies("bob", again)) == 1
    assert len(machine.queue_ids(again)) == 1
