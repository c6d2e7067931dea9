"""Many messages in one session of avcheck-smtp: nothing of one is left for the next."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from avcheck import process
from tests.support.fakes import HANG_UP
from tests.support.mta import Site
from tests.support.servers.sink import Sink
from tests.support.smtp_client import WIRE, Served, spawn, spawned, words

ROUNDS = 5

# How a message can fail, and what the site and the options are then.
FAILURES = (
    "scanner",
    "no handler",
    "handler",
    "hop",
    "program",
    "disk",
    "content",
    "quarantine",
    "path",
)


def files(talk: Served) -> int:
    return len(os.listdir(f"/proc/{talk.pid}/fd"))


def memory(talk: Served | subprocess.Popen[bytes], what: str = "VmRSS") -> int:
    """Kilobytes."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{talk.pid}/status").read_text(), re.M)
    assert found
    return int(found[1])


def failing(site: Site, how: str) -> list[str]:
    """The command line of a session in which messages fail like this."""
    if how == "scanner":
        site.clamd(hangs_up=True)
    elif how in ("no handler", "handler", "quarantine"):
        site.clamd(says=b"Eicar FOUND")
        site.infected = str(site.directory / "none")
        if how == "handler":
            site.handler("exit 1")
    elif how == "hop":
        site.smtp(answers={"dot": HANG_UP})
    elif how == "program":
        site.sendmail("exit 1")
    elif how == "path":
        site.hop = ("-S", site.hop[1])
    line = words(site)
    if how == "quarantine":
        (site.directory / "file").touch()
        line += ["--on", f"infected=quarantine:{site.directory}/file/x"]
    if how in ("disk", "content"):
        limit = 1 if how == "disk" else 64
        return ["/bin/sh", "-c", f'ulimit -f {limit}; exec "$@"', "sh", *line]
    if how == "path":
        site.clamd(says=b"strange ERROR")
        return [*words(site), "-s", f"clamd+path:{site.scanner.where}"]
    return line


@pytest.mark.parametrize("how", FAILURES)
def test_a_message_that_fails_leaves_no_descriptor(site: Site, how: str) -> None:
    with spawned(failing(site, how)) as talk:
        talk.hello()
        had = 0
        for number in range(ROUNDS):
            talk.envelope()
            reply = talk.ask(b"DATA")
            if reply.startswith(b"354"):
                talk.say(b"x" * 100_000 + b"\r\n" + WIRE if how == "content" else WIRE)
                reply = talk.hear()
            assert reply.startswith(b"451 "), reply
            if number == 0:
                had = files(talk)
        # The connection to the next hop may be there, or not.
        assert files(talk) <= had + 1
        talk.quit()
    assert site.left == []


@pytest.mark.parametrize("hold", ["content", "scan"])
def test_a_client_that_went_is_told_by_the_log_only(site: Site, hold: str) -> None:
    with spawn(site) as talk:
        talk.hello()
        talk.envelope()
        talk.ask(b"DATA")
        talk.say(b"x" if hold == "content" else WIRE)
    assert talk.process.returncode == 0


def test_memory_does_not_grow_with_the_number_of_messages(site: Site) -> None:
    with spawn(site, "--messages", "9999") as talk:
        talk.hello()
        for _ in range(50):
            assert talk.send().startswith(b"250 ")
        had = memory(talk)
        for _ in range(500):
            assert talk.send().startswith(b"250 ")
        assert memory(talk) <= had + 512
        talk.quit()


# KiB above an interpreter that does nothing; docs/performance.md has the same for the pipe.
ROOM = 4096

LARGE = 40_000_000


def bare() -> int:
    """The peak memory of an interpreter that does nothing, in KiB."""
    code = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as idle:
        assert idle.stdout
        assert idle.stdout.read(1) == b"x"
        peak = memory(idle, "VmHWM")
        idle.communicate()
    return peak


@pytest.mark.parametrize("message", ["plain", "with a header of ours", "not plain"])
def test_memory_is_that_of_the_interpreter_and_little_more(site: Site, message: str) -> None:
    """A message of some tens of MB goes from the client to the spool, and to the next hop."""
    sink = Sink()
    site.hop = ("-S", sink.address)
    begin = b"\tContinued: from nothing\r\n" if message == "not plain" else b""
    options = ("-h", "checked") if "header" in message else ()
    line = b"x" * 998 + b"\r\n"
    with sink, spawn(site, *options) as talk:
        talk.hello()
        wire = begin + b"Subject: large\r\n\r\n" + line * (LARGE // len(line)) + b".\r\n"
        assert talk.send(wire).startswith(b"250 ")
        assert memory(talk, "VmHWM") <= bare() + ROOM
        talk.quit()
        (received,) = sink.wait_for(1)
        assert len(received.data) >= LARGE


def test_memory_does_not_grow_with_the_size_of_a_message(site: Site) -> None:
    site.hop = ("-S", site.sendmail("exit 0").path.as_posix())
    with spawn(site) as talk:
        talk.hello()
        assert talk.send().startswith(b"250 ")
        had = memory(talk, "VmHWM")
        line = b"x" * 998 + b"\r\n"
        assert talk.send(line * 50_000 + b".\r\n").startswith(b"250 ")
        assert memory(talk, "VmHWM") <= had + 4096
        talk.quit()
    assert process.PIECE == 64 * 1024
