"""Content that two servers could read in two ways is never passed on, whoever the next hop is."""

from __future__ import annotations

import itertools
import random
import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.test_ends import EXIM, SERVICE, SETTINGS
from tests.support.letters import letter, token
from tests.support.mta import Site
from tests.support.servers import packages
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import PATIENCE, Postfix
from tests.support.servers.sendmail import Program, Sendmail
from tests.support.servers.sink import Sink
from tests.support.smtp_client import Listening, words

END = b"\r\n.\r\n"
ALPHABET = (b"\r", b"\n", b"\r\n", b".")

# All that is three long, which has every lone dot between two line ends, and some that is longer.
CHANCE = random.Random(5321)
MIXTURES = [
    mixture
    for mixture in [
        *map(b"".join, itertools.product(ALPHABET, repeat=3)),
        *(b"".join(CHANCE.choices(ALPHABET, k=6)) for _ in range(20)),
    ]
    if END not in mixture
]

# What a server that sees an end in the mixture takes for the next message.
SMUGGLED = b"""MAIL FROM:<evil@example.com>\r
RCPT TO:<evil@example.net>\r
DATA\r
Subject: smuggled\r
\r
"""
LAST = b"Bye.\r\n"


@dataclass(frozen=True)
class Hop:
    """A server to pass mail on to, and what has it send that on to the sink."""

    port: int
    sink: Sink
    send_on: Callable[[], object] = lambda: None


@pytest.fixture(scope="module")
def postfix(open_directory: Path) -> Iterator[dict[str, Hop]]:
    """A Postfix with a port for each smtpd_forbid_bare_newline."""
    packages.need_root("Postfix is started by root only")
    ports = {value: free_port() for value in SETTINGS}
    master = "".join(SERVICE.format(port=ports[value], value=value) for value in SETTINGS)
    directory = open_directory / "smuggling"
    with Sink() as sink, Postfix(directory, relayhost=sink.address, master=master) as server:

        def settle() -> None:
            server.wait_until(lambda: server.queue() == [], "an empty queue")

        yield {value: Hop(port, sink, settle) for value, port in ports.items()}


@pytest.fixture(scope="module")
def exim(open_directory: Path) -> Iterator[Hop]:
    program = Exim.unpack(open_directory / "smuggling-exim-package")
    port = free_port()
    parts = {"main": EXIM.format(port=port), "acl": "", "router": "", "transport": ""}
    directory = open_directory / "smuggling-exim"
    with (
        Sink() as sink,
        Exim(directory, program, relayhost=sink.address, port=port, parts=parts) as server,
    ):
        yield Hop(port, sink, server.run_queue)


@pytest.fixture(scope="module")
def sendmail(open_directory: Path) -> Iterator[Hop]:
    program = Program.unpack(open_directory / "smuggling-sendmail-package")
    port = free_port()
    options = f"DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port={port}')dnl\n"
    directory = open_directory / "smuggling-sendmail"
    with Sink() as sink:
        server = Sendmail.delivering(
            directory, program, relayhost=sink.address, port=port, options=options
        )
        with server:
            yield Hop(port, sink, server.run_queue)


def wires() -> list[bytes]:
    """A message for each mixture, with the end of the content."""
    return [letter("Hello.") + each + SMUGGLED + LAST + b".\r\n" for each in MIXTURES]


def replies(site: Site, hop: Hop, messages: list[bytes]) -> list[bytes]:
    """What avcheck-smtp says to each of them, in front of this next hop."""
    site.hop = ("-S", f"127.0.0.1:{hop.port}")
    found = []
    with Listening(words(site, "--on", "unscannable=reject")) as server:
        for message in messages:
            talk = server.connect()
            talk.hello()
            found.append(talk.send(message))
            talk.close()
    return found


def arrives_as_it_was_read(site: Site, hop: Hop) -> None:
    """Each message arrives once and whole, or is refused and does not."""
    messages = wires()
    said = replies(site, hop, messages)
    hop.send_on()
    received = hop.sink.take()
    assert [each for each in received if b"evil" in each.sender] == []
    tokens = [token(each.data) for each in received]
    taken = {token(each) for each, reply in zip(messages, said, strict=True) if reply[:1] == b"2"}
    assert len(tokens) == len(set(tokens))
    assert set(tokens) == taken
    assert all(each.data.endswith(LAST) for each in received)
    lone = [
        reply
        for mixture, reply in zip(MIXTURES, said, strict=True)
        if any(
            first + b"." + last in mixture for first in (b"\r", b"\n") for last in (b"\r", b"\n")
        )
    ]
    assert len(lone) > 12
    assert all(b"550 5.7.1" in each and b"Ambiguous.End-of-data" in each for each in lone)
    # And it is not that nothing is taken.
    assert len(taken) >= 10


@pytest.mark.parametrize("value", SETTINGS)
def test_postfix(site: Site, postfix: dict[str, Hop], value: str) -> None:
    arrives_as_it_was_read(site, postfix[value])


def test_exim(site: Site, exim: Hop) -> None:
    arrives_as_it_was_read(site, exim)


def test_sendmail(site: Site, sendmail: Hop) -> None:
    arrives_as_it_was_read(site, sendmail)


def test_without_avcheck_such_a_server_takes_two_messages(postfix: dict[str, Hop]) -> None:
    """What it is about: this one, asked directly, sees an end where others see none."""
    hop = postfix["no"]
    hop.sink.take()
    client = smtplib.SMTP("127.0.0.1", hop.port, timeout=PATIENCE)
    try:
        client.ehlo()
        client.mail("anna@example.com")
        client.rcpt("bert@example.net")
        assert client.docmd("DATA")[0] == 354
        client.send(letter("Hello.") + b"\n.\r\n" + SMUGGLED + LAST + b".\r\n")
        hop.sink.wait_for(2)
    finally:
        client.close()
    assert b"evil@example.com" in [each.sender for each in hop.sink.take()]
