"""How a session of avcheck-smtp ends: by its limits, by signals, by a client that goes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.test_log import move
from tests.support.fakes import FakeSmtp
from tests.support.mta import RECIPIENT, SENDER, Site, until
from tests.support.smtp_client import CONTENT, WIRE, Served, spawn, spawned, words
from tests.support.syslog import INFO, WARNING, Log

ENOUGH = b"421 4.3.2 Service closing this connection"


# Limits.


def test_after_so_many_messages_the_next_one_is_for_another_session(site: Site) -> None:
    with spawn(site, "--messages", "2") as talk:
        talk.hello()
        for _ in range(2):
            assert talk.send().startswith(b"250 ")
        assert talk.ask(b"RSET").startswith(ENOUGH)
        talk.hung_up()
        assert talk.end() == 0
    assert len(site.delivered) == 2


def test_goodbye_is_not_too_late(site: Site) -> None:
    with spawn(site, "--messages", "1") as talk:
        talk.hello()
        talk.send()
        talk.quit()


def test_an_idle_session_ends_when_its_time_is_up(site: Site) -> None:
    with spawn(site, "--session", "0.2") as talk:
        talk.hear()
        assert talk.hear().startswith(ENOUGH)
        talk.hung_up()


def test_but_not_in_a_message(site: Site) -> None:
    site.clamd(hold="asked")
    with spawn(site, "--session", "1.5") as talk:
        talk.hello()
        talk.envelope()
        assert talk.ask(b"DATA").startswith(b"354 ")
        talk.say(WIRE)
        site.scanner.arrived()
        until(lambda: age(talk.pid) > 1.6)
        site.scanner.release()
        assert talk.hear().startswith(b"250 ")
        assert talk.hear().startswith(ENOUGH)


def age(pid: int) -> float:
    """Seconds since the process was started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def test_the_twentieth_error_is_the_last(site: Site) -> None:
    with spawn(site) as talk:
        talk.hello()
        for _ in range(19):
            assert talk.ask(b"BOGUS").startswith(b"500 ")
        assert talk.ask(b"BOGUS") == b"421 4.7.0 Error: too many errors\r\n"
        talk.hung_up()


# Signals.


def test_a_signal_ends_an_idle_session(site: Site) -> None:
    for before in ("", "MAIL"):
        with spawn(site) as talk:
            talk.hello()
            if before:
                talk.envelope()
            talk.signal(signal.SIGTERM)
            assert talk.hear().startswith(b"421 4.3.2 stopped by signal 15")
            talk.hung_up()
            assert talk.end() == 0


@contextlib.contextmanager
def in_a_message(site: Site, where: str) -> Iterator[tuple[Served, FakeSmtp]]:
    """A client that may send content now; the scanner or the next hop is held where it says so."""
    hop = site.smtp(hold="dot" if where == "dot" else "")
    if where == "scan":
        site.clamd(hold="asked")
    with spawn(site) as talk:
        talk.hello()
        talk.envelope()
        assert talk.ask(b"DATA").startswith(b"354 ")
        yield talk, hop


@pytest.mark.parametrize("where", ["content", "scan", "dot"])
def test_a_signal_in_a_message_ends_the_session_after_it(site: Site, where: str) -> None:
    with in_a_message(site, where) as (talk, hop):
        if where == "content":
            talk.signal(signal.SIGTERM)
        talk.say(WIRE)
        if where != "content":
            waits = site.scanner if where == "scan" else hop
            waits.arrived()
            talk.signal(signal.SIGTERM)
            waits.release()
        assert talk.hear() == b"250 2.0.0 taken\r\n"
        assert talk.hear().startswith(b"421 4.3.2 ")
        talk.hung_up()
    assert [each.data for each in hop.messages] == [CONTENT]


@pytest.mark.parametrize("where", ["content", "scan", "dot"])
def test_a_kill_leaves_nothing_and_delivers_once_at_most(site: Site, where: str) -> None:
    with in_a_message(site, where) as (talk, hop):
        talk.say(WIRE if where != "content" else WIRE[:20])
        if where == "content":
            until(lambda: has_file(talk, site))
        else:
            (site.scanner if where == "scan" else hop).arrived()
        talk.signal(signal.SIGKILL)
        talk.hung_up()
        assert talk.end() == -signal.SIGKILL
        assert site.left == []
        (hop if where == "dot" else site.scanner).release()
    assert len(hop.messages) <= int(where == "dot")


def has_file(talk: Served, site: Site) -> bool:
    """Whether it has begun to save the message."""
    names = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{talk.pid}/fd")]
    return any(name.startswith(f"{site.spool}/") for name in names)


# The client.


def test_a_client_that_goes_in_the_middle_of_the_content_delivers_nothing(site: Site) -> None:
    with in_a_message(site, "content") as (talk, hop):
        talk.say(WIRE[:-3])
        assert talk.end() == 0
    assert site.scanner.questions == []
    assert not any(command.startswith(b"DATA") for command in hop.commands)
    assert site.left == []


def test_one_that_goes_while_the_scanner_is_asked_gets_no_delivery(site: Site) -> None:
    with in_a_message(site, "scan") as (talk, hop):
        talk.say(WIRE)
        site.scanner.arrived()
        talk.socket.shutdown(socket.SHUT_WR)
        site.scanner.release()
        reply = talk.hear()
        assert reply.startswith(b"451 4.3.0 ")
        assert b"the client is gone" in reply
    assert hop.messages == []


@pytest.mark.parametrize("late", [False, True])
def test_one_that_has_said_goodbye_may_wait_with_its_side_closed(site: Site, late: bool) -> None:
    """As Exim does: QUIT behind the final dot, and no more."""
    with in_a_message(site, "scan") as (talk, hop):
        if late:
            talk.say(WIRE)
            site.scanner.arrived()
            talk.say(b"quit\r\n")
        else:
            talk.say(WIRE + b"QUIT\r\n")
            site.scanner.arrived()
        talk.socket.shutdown(socket.SHUT_WR)
        site.scanner.release()
        assert talk.hear() == b"250 2.0.0 taken\r\n"
        assert talk.hear() == b"221 2.0.0 Bye\r\n"
        talk.hung_up()
        assert talk.end() == 0
    assert [each.data for each in hop.messages] == [CONTENT]


@pytest.mark.parametrize("said", [b"NOOP\r\n", b"QUIT", b"XQUIT\r\n", b"QUIT\r\nRSET\r\n"])
def test_but_not_without_a_goodbye(site: Site, said: bytes) -> None:
    with in_a_message(site, "scan") as (talk, hop):
        talk.say(WIRE + said)
        site.scanner.arrived()
        talk.socket.shutdown(socket.SHUT_WR)
        site.scanner.release()
        assert b"the client is gone" in talk.hear()
    assert hop.messages == []


def test_who_hangs_up_after_the_goodbye_does_not_wait(site: Site) -> None:
    with in_a_message(site, "scan") as (talk, hop):
        talk.say(WIRE + b"QUIT\r\n")
        site.scanner.arrived()
        talk.close()
        site.scanner.release()
        assert talk.end() == 0
    assert hop.messages == []


def test_content_before_it_was_asked_for_is_no_command(site: Site) -> None:
    hop = site.smtp()
    with spawn(site) as talk:
        talk.hello()
        talk.envelope()
        talk.say(b"DATA\r\nMAIL FROM:<evil@x>\r\n.\r\n")
        assert talk.hear().startswith(b"421 4.5.0 ")
        talk.hung_up()
    assert hop.messages == []


def test_a_full_disk_is_told_after_the_dot(site: Site) -> None:
    """The client is not cut off in the middle: it would not know why."""
    with spawned(["/bin/sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *words(site)]) as talk:
        talk.hello()
        talk.envelope()
        reply = talk.data(b"x" * 70 + b"\r\n" + b"y" * 200_000 + b"\r\n.\r\n")
        assert reply.startswith(b"451 4.3.1 ")
        assert talk.send().startswith(b"250 ")
        talk.quit()


# The log.


def test_a_message_is_a_line_with_its_client_and_both_queue_ids(site: Site, log: Log) -> None:
    site.smtp(
        offers=(b"PIPELINING", b"XFORWARD NAME ADDR IDENT"),
        answers={"dot": b"250 2.0.0 Ok: queued as 4ABC\r\n"},
    )
    move(site, log.path)
    with spawn(site) as talk:
        talk.hello()
        assert talk.ask(b"XFORWARD NAME=mx.example ADDR=192.0.2.1 PORT=25 IDENT=4XYZ")[:3] == b"250"
        assert talk.send() == b"250 2.0.0 Ok: queued as 4ABC\r\n"
        talk.quit()
    line = log.line
    assert (line.priority, line.pid, line.queue_id, line.status) == (INFO, talk.pid, "4XYZ", 250)
    keys = ["client", "from", "to", "size", "clamd", "verdict", "action", "delay"]
    assert list(line.facts) == keys
    assert line.facts["client"] == "mx.example[192.0.2.1]"
    assert line.facts["from"] == f"<{SENDER.decode()}>"
    assert line.facts["to"] == f"<{RECIPIENT.decode()}>"
    assert "queued as 4ABC" in line.said


def test_what_was_not_taken_is_a_line_too(site: Site, log: Log) -> None:
    site.smtp(answers={"dot": b""})
    move(site, log.path)
    with spawn(site) as talk:
        talk.hello()
        talk.send()
        talk.envelope()
        talk.ask(b"DATA")
        talk.say(b"half")
        talk.end()
    first, second = log.lines
    assert (first.priority, first.status, first.queue_id) == (WARNING, 451, "NOQUEUE")
    assert "possible duplicate" in first.said
    assert (second.status, second.said) == (421, "4.4.2 lost connection with the client")
