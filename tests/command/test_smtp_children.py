"""avcheck-smtp with a listening socket: a child serves one connection after the other."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support.mta import Site, until
from tests.support.servers.daemon import suspend
from tests.support.smtp_client import WIRE, Listening, Talk, is_quiet, words

# The command with other numbers, or with something else broken.
CHANGED = """
from avcheck.smtpd import __main__, children, listener, message, session
{}
__main__.main()
"""


# The next connection waits until the only child is ready.
ONE = ("--processes", "1")


def changed(site: Site, how: str, *options: str) -> list[str]:
    return [sys.executable, "-c", CHANGED.format(how), *words(site, *options)[1:]]


def served(server: Listening) -> Talk:
    """A connection in which a message has been sent, and nobody has left."""
    talk = server.connect()
    talk.hello()
    assert talk.send().startswith(b"250 ")
    return talk


def test_it_serves_the_next_one_when_it_has_served_one(site: Site) -> None:
    with Listening(words(site, *ONE)) as server:
        served(server).quit()
        [child] = server.children
        for _ in range(5):
            served(server).quit()
            assert server.children == [child]
    assert len(site.delivered) == 6
    assert site.left == []


def test_there_are_as_many_as_there_were_connections_at_once(site: Site) -> None:
    with Listening(words(site)) as server:
        talks = [served(server) for _ in range(3)]
        children = set(server.children)
        assert len(children) == 3
        for talk in talks:
            talk.quit()
        talks = [served(server) for _ in range(3)]
        assert set(server.children) == children
        for talk in talks:
            talk.quit()


def test_it_leaves_after_so_many(site: Site) -> None:
    with Listening(changed(site, "children.USES_MAX = 2", *ONE)) as server:
        served(server).quit()
        [child] = server.children
        served(server).quit()
        served(server).quit()
        assert len(server.children) == 1
        assert server.children != [child]
    assert len(site.delivered) == 3


def test_it_leaves_when_it_has_waited_for_so_long(site: Site) -> None:
    with Listening(changed(site, "children.IDLE_MAX = 0.1; listener.LOOK = 0.05")) as server:
        busy = served(server)
        [child] = server.children
        served(server).quit()
        until(lambda: server.children == [child])
        busy.quit()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_has_ended_while_it_waited_is_missed_by_nobody(site: Site, number: int) -> None:
    with Listening(words(site, *ONE)) as server:
        served(server).quit()
        [child] = server.children
        until(lambda: state(child) == "S")  # it has hung up, so it waits for nothing else
        os.kill(child, number)
        until(lambda: server.children == [])
        served(server).quit()
        assert len(server.children) == 1
    assert len(site.delivered) == 2


def test_a_signal_in_a_session_is_the_end_of_the_child(site: Site) -> None:
    with Listening(words(site)) as server:
        talk = served(server)
        [child] = server.children
        os.kill(child, signal.SIGTERM)
        assert talk.hear().startswith(b"421 4.3.2 ")
        talk.hung_up()
        until(lambda: server.children == [])
        served(server).quit()


@pytest.mark.parametrize("whom", ["parent", "child"])
def test_a_connection_that_was_handed_over_hears_of_the_signal(site: Site, whom: str) -> None:
    """The child that it is for was about to take it."""
    with Listening(words(site, *ONE)) as server:
        served(server).quit()
        [child] = server.children
        until(lambda: state(child) == "S")
        suspend(child)
        parent = server.process.pid
        usual = files(parent)
        talk = server.connect()
        until(lambda: not queued(server) and files(parent) == usual)
        os.kill(parent if whom == "parent" else child, signal.SIGHUP)
        if whom == "parent":
            until(lambda: files(parent) < usual)  # it does not listen any more
        os.kill(child, signal.SIGCONT)
        assert talk.hear().startswith(b"220 ")
        assert talk.hear().startswith(b"421 4.3.2 ")
        talk.hung_up()
        until(lambda: child not in server.children)


def test_children_end_with_their_parent_and_after_the_message_in_hand(site: Site) -> None:
    site.clamd(hold="asked")
    with Listening(words(site)) as server:
        busy, idle = server.connect(), server.connect()
        for talk in (busy, idle):
            talk.hello()
        idle.quit()
        busy.envelope()
        busy.ask(b"DATA")
        busy.say(WIRE)
        site.scanner.arrived()
        children = server.children
        assert len(children) == 2
        server.process.kill()
        server.process.wait()
        until(lambda: sum(map(runs, children)) == 1)
        site.scanner.release()
        assert busy.hear().startswith(b"250 ")
        busy.quit()
        until(lambda: not any(map(runs, children)))
    assert site.left == []


def queued(server: Listening) -> int:
    """How many connections nobody has accepted yet."""
    port = f":{server.socket.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1].endswith(port) and fields[3] == "0A":
            return int(fields[4].partition(":")[2], 16)
    raise AssertionError("nobody listens")


def state(pid: int) -> str:
    """Its letter in proc(5); Z if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def runs(pid: int) -> bool:
    return state(pid) != "Z"  # nobody may reap it here


BROKEN = {
    "in a message": "def broken(*_): raise RuntimeError('x')\nmessage.settings_of = broken",
    "in a step": "def broken(*_): raise RuntimeError('x')\nmessage.main.check = broken",
}


@pytest.mark.parametrize("where", sorted(BROKEN))
def test_one_in_which_something_broke_is_not_used_again(site: Site, where: str) -> None:
    with Listening(changed(site, BROKEN[where])) as server:
        talk = server.connect()
        talk.hello()
        talk.envelope()
        talk.say(b"DATA\r\n")
        assert talk.hear().startswith(b"421 4.3.0 ")
        talk.hung_up()
        until(lambda: server.children == [])
        assert server.process.poll() is None


def test_one_client_has_nothing_to_do_with_the_next(site: Site) -> None:
    site.clamd(says=b"Eicar FOUND")
    handler = site.handler()
    with Listening(words(site, *ONE)) as server:
        for _ in range(2):
            talk = server.connect()
            talk.hello()
            for _ in range(19):  # at the twentieth it would be over
                assert talk.ask(b"NONSENSE").startswith(b"500 ")
            talk.ask(b"XFORWARD NAME=mx.example ADDR=192.0.2.1 IDENT=4XYZ")
            talk.envelope(b"somebody@example", [b"else@example"])
            talk.close()
        other = server.connect()
        other.hello()
        assert other.ask(b"RCPT TO:<x@example>").startswith(b"503 ")
        other.envelope()
        assert other.data().startswith(b"250 2.0.0 infected")
        other.quit()
        assert len(server.children) == 1
    assert not handler.environment.get(b"AVCHECK_QUEUE_ID")


def test_nothing_is_left_open_by_a_session(site: Site) -> None:
    with Listening(words(site, *ONE)) as server:
        served(server).quit()
        [child] = server.children
        pids = (server.process.pid, child)
        once = [files(pid) for pid in pids]
        had = memory(child)
        for _ in range(80):
            served(server).quit()
        assert server.children == [child]
        # It says that it is ready when it has closed everything.
        until(lambda: [files(pid) for pid in pids] == once)
        assert memory(child) <= had + 512


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """What it has for itself, in KiB."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1])


ONE_FORK = """
fork = listener.unix.fork
def once():
    listener.unix.fork = never
    return fork()
def never():
    raise BlockingIOError(11, "no more processes")
listener.unix.fork = once
"""


def test_where_there_can_be_no_other_clients_wait_for_the_one(site: Site) -> None:
    with Listening(changed(site, ONE_FORK)) as server:
        first = served(server)
        second, third = server.connect(), server.connect()
        until(lambda: not queued(server) or state(server.process.pid) == "S")
        assert is_quiet(second)
        assert is_quiet(third)
        for before, talk in ((first, second), (second, third)):
            before.quit()
            talk.hello()
            assert talk.send().startswith(b"250 ")
        assert len(server.children) == 1
        third.quit()


def test_one_that_waits_so_is_told_when_all_ends(site: Site) -> None:
    with Listening(changed(site, ONE_FORK)) as server:
        first = served(server)
        usual = files(server.process.pid)
        second = server.connect()
        until(lambda: files(server.process.pid) > usual)
        server.process.send_signal(signal.SIGTERM)
        assert second.hear().startswith(b"421 4.3.2 Too busy")
        second.hung_up()
        assert first.hear().startswith(b"421 4.3.2 ")


def test_where_there_can_be_none_clients_are_told(site: Site) -> None:
    with Listening(changed(site, ONE_FORK.replace("= once", "= never"))) as server:
        talk = server.connect()
        assert talk.hear().startswith(b"421 4.3.2 Too busy")
        talk.hung_up()
        assert server.process.poll() is None
