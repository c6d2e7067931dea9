"""avcheck-smtp with a listening socket on standard input: a process for each connection."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.support.fakes import PATIENCE
from tests.support.mta import Site, until
from tests.support.smtp_client import WIRE, Listening, is_quiet, with_own_package, words


@pytest.mark.parametrize("unix", [False, True])
def test_each_connection_is_a_session(site: Site, tmp_path: Path, unix: bool) -> None:
    with Listening(words(site), tmp_path / "here" if unix else None) as server:
        talks = [server.connect() for _ in range(3)]
        for talk in talks:
            talk.hello()
        server.has_children(3)
        for talk in reversed(talks):
            assert talk.send().startswith(b"250 ")
            talk.quit()
        assert server.process.poll() is None
    assert len(site.delivered) == 3


def test_without_a_connection_it_leaves_and_can_be_started_again(site: Site) -> None:
    with Listening(words(site, "--idle", "0.2")) as server:
        assert server.process.wait(PATIENCE) == 0
        talk = server.connect()
        server.start()
        talk.hello()
        assert talk.send().startswith(b"250 ")
        talk.quit()
        assert server.process.wait(PATIENCE) == 0


def test_it_does_not_leave_a_session_that_is_idle_itself(site: Site) -> None:
    with Listening(words(site, "--idle", "0.01")) as server:
        talk = server.connect()
        talk.hello()
        assert server.process.poll() is None
        talk.quit()
        assert server.process.wait(PATIENCE) == 0


DEAF = """
from avcheck.smtpd import __main__, listener
listener.signal.set_wakeup_fd = lambda *_, **__: -1
listener.LOOK = 0.2
__main__.main()
"""


def test_a_child_whose_end_wakes_nobody_is_noticed_all_the_same(site: Site) -> None:
    line = [sys.executable, "-c", DEAF, *words(site, "--idle", "0.1")[1:]]
    with Listening(line) as server:
        talk = server.connect()
        talk.hello()
        talk.quit()
        assert server.process.wait(PATIENCE) == 0


def test_more_connections_than_processes_wait(site: Site) -> None:
    with Listening(words(site, "--processes", "2")) as server:
        first, second, third = [server.connect() for _ in range(3)]
        first.hello()
        second.hello()
        server.has_children(2)
        assert is_quiet(third)
        first.quit()
        third.hello()
        for talk in (second, third):
            talk.quit()


def test_the_death_of_a_child_is_its_own(site: Site) -> None:
    site.clamd(hold="asked")
    with Listening(words(site)) as server:
        talk = server.connect()
        talk.hello()
        talk.envelope()
        talk.ask(b"DATA")
        talk.say(WIRE)
        site.scanner.arrived()
        [child] = server.children
        os.kill(child, signal.SIGKILL)
        talk.hung_up()
        assert site.left == []
        site.scanner.release()
        server.has_children(0)
        other = server.connect()
        other.hello()
        assert other.send().startswith(b"250 ")
        other.quit()
    assert len(site.delivered) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_after_the_messages_in_hand(site: Site, number: int) -> None:
    site.clamd(hold="asked")
    with Listening(words(site)) as server:
        idle, busy = server.connect(), server.connect()
        idle.hello()
        busy.hello()
        busy.envelope()
        busy.ask(b"DATA")
        busy.say(WIRE)
        site.scanner.arrived()
        server.process.send_signal(number)
        assert idle.hear().startswith(b"421 4.3.2 ")
        idle.hung_up()
        until(lambda: len(server.children) == 1)
        # It takes no more connections, but they are not refused: whoever listens goes on.
        late = server.connect()
        assert server.process.poll() is None
        site.scanner.release()
        assert busy.hear().startswith(b"250 ")
        assert busy.hear().startswith(b"421 4.3.2 ")
        assert server.process.wait(PATIENCE) == 0
        assert is_quiet(late)
        server.start()
        late.hello()
        late.quit()


@pytest.mark.parametrize("action", ["handle", "quarantine:{}/quarantine", "reject"])
def test_an_upgrade_of_the_package_changes_nothing_until_it_leaves(
    site: Site, command: Path, action: str
) -> None:
    """All that a child may need was loaded before, of one version."""
    site.clamd(says=b"Eicar FOUND")
    site.handler()
    package = with_own_package(site, command)
    options = ("--metrics", f"{site.spool}/metrics", "--slots", "2", "-h", "x")
    line = words(site, *options, "--on", "infected=" + action.format(site.directory))
    with Listening(line) as server:
        first = server.connect()
        first.hello()
        shutil.rmtree(package)
        for talk in (first, server.connect()):
            if talk is not first:
                talk.hello()
            assert talk.send().startswith(b"550 5.7.1" if action == "reject" else b"250 2.0.0 inf")
            talk.quit()


def test_a_child_has_nothing_of_the_socket_that_listens(site: Site) -> None:
    with Listening(words(site)) as server:
        talk = server.connect()
        talk.hello()
        [child] = server.children
        inode = f"socket:[{os.fstat(server.socket.fileno()).st_ino}]"
        for pid, has in ((server.process.pid, True), (child, False)):
            files = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
            assert (inode in files) == has
        # The parent has nothing else than that, the pipe that wakes it, and nowhere.
        parent = {os.readlink(e.path) for e in os.scandir(f"/proc/{server.process.pid}/fd")}
        assert {each.partition(":")[0] for each in parent} == {"socket", "pipe", "/dev/null"}
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1
        talk.quit()
