"""What goes in comes out: into aiosmtpd, and into real mail systems.

Those change some things themselves.  So each message is handed on to Postfix, Exim and
sendmail, to their servers and to their programs, and what arrives is what fidelity.py says
that they make of it; the same messages go through Postfix with avcheck and without.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.live.fidelity import (
    CASES,
    CHANGES,
    EXIM,
    EXIM_PROGRAM,
    HEADER,
    POSTFIX,
    POSTFIX_PROGRAM,
    SENDMAIL,
    SENDMAIL_PROGRAM,
    Bounced,
    Refused,
    same,
    table,
)
from tests.live.recipe import MailSystem
from tests.support.fakes import FakeSmtp
from tests.support.mta import Ended, Site
from tests.support.servers import packages
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.queue import submit
from tests.support.servers.sendmail import NAMED, Program, Sendmail, can_be_named
from tests.support.servers.sink import Received, Sink
from tests.support.tree import ROOT

# What a server puts before a message that it takes: one line, folded.
RECEIVED = rb"(?:Received: [^\n]*\r\n(?:[ \t][^\n]*\r\n)*)"
CHECKED = rb"X-AV-Checked: [^\r\n]* here\r\n"

EACH = pytest.mark.parametrize("name", CASES)
DOCUMENT = ROOT / "docs" / "delivery.md"


def without_header(data: bytes, added: bool) -> bytes:
    """What has arrived, without the line of -h, which has to be there if it was added.

    It is the first one, but for the line of a mailbox.
    """
    if not added:
        return data
    found = re.match(rb"((?:X-Mailbox-Line: )?From [^\n]*\n)?" + CHECKED, data)
    assert found, data[:200]
    return (found[1] or b"") + data[found.end() :]


def without_received(data: bytes) -> bytes:
    """What has arrived, without the lines that say through which servers."""
    return re.sub(rb"\A" + RECEIVED + b"{0,2}", b"", data)


# aiosmtpd.


class Patient(SMTP):
    """aiosmtpd without the limit for a line, which is RFC 5321's."""

    line_length_limit = 1 << 30


class Kept:
    """A handler of aiosmtpd that keeps every message as it came."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content
        assert content is not None
        self.data.append(content)
        return "250 2.0.0 kept"


class Aiosmtpd(Controller):
    def factory(self) -> SMTP:
        return Patient(self.handler, data_size_limit=None, enable_SMTPUTF8=True, loop=self.loop)


@pytest.fixture(scope="module")
def aiosmtpd() -> Iterator[Aiosmtpd]:
    server = Aiosmtpd(Kept(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("options", [[], ["-h", "here"], ["-c"]], ids=["as it is", "-h", "-c"])
@EACH
def test_aiosmtpd_gets_every_byte(
    site: Site, aiosmtpd: Aiosmtpd, name: str, options: list[str]
) -> None:
    site.hop = ("-S", f"127.0.0.1:{aiosmtpd.port}")
    ended = site.deliver(*options, message=CASES[name].message)
    assert ended.status == 0, ended
    (data,) = aiosmtpd.handler.data
    aiosmtpd.handler.data.clear()
    assert without_header(data, "-h" in options) == CASES[name].wire


# Real mail systems: their servers, and their programs.


@dataclass(frozen=True)
class MailHost:
    """A mail system that sends everything to the sink.

    `hops` are its places for -S, by the names of CHANGES; `settle` has it send what it has;
    `environment` is what avcheck's caller gives it.
    """

    sink: Sink
    hops: Mapping[str, str]
    settle: Callable[[], object]
    environment: Mapping[str, str] = field(default_factory=dict)

    def hand_on(
        self,
        site: Site,
        receiver: str,
        message: bytes,
        *options: str,
        more: str = "",
        **line: object,
    ) -> Ended:
        """Have avcheck hand the message on to one of the hops (with more words)."""
        site.hop = ("-S", self.hops[receiver] + more)
        words = site.words(*options, **line)  # type: ignore[arg-type]
        return site.start(words, environment=self.environment).end(message)

    def arrived(self) -> Received:
        """The one message that has arrived."""
        self.settle()
        self.sink.wait_for(1)
        (received,) = self.sink.take()
        return received

    def makes(self, site: Site, receiver: str, name: str, *options: str) -> None:
        """Show that it makes of a case what CHANGES says."""
        case, change = CASES[name], CHANGES[receiver].get(name, same)
        ended = self.hand_on(site, receiver, case.message, *options)
        if isinstance(change, Refused):
            site.assert_kept(ended, change.words)
            return
        assert ended.status == 0, ended
        if isinstance(change, Bounced):
            self.settle()
            assert [each.sender for each in self.sink.take()] in ([], [b""])
            return
        data = without_header(without_received(self.arrived().data), bool(options))
        assert data == change(case.wire)


@pytest.fixture(scope="module")
def short() -> Iterator[FakeSmtp]:
    """The next hop for addresses @short.example, which has no SMTPUTF8."""
    with FakeSmtp(offers=(b"8BITMIME",)) as server:
        assert isinstance(server, FakeSmtp)
        yield server


KEPT = "Postfix, every CR kept"
WITHOUT_I, WITHOUT_G = "sendmail -G", "sendmail -i"


@pytest.fixture(scope="module")
def postfix_host(open_directory: Path, short: FakeSmtp) -> Iterator[MailHost]:
    packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
    packages.need_root("Postfix is started by root only")
    keeping = free_port()
    with Sink() as sink:
        main = (
            "smtp_line_length_limit = 0\n"  # otherwise it cuts lines itself, at 998 bytes
            "header_size_limit = 20000000\n"
            f"transport_maps = inline:{{short.example=smtp:[127.0.0.1]:{short.where[10:]}}}\n"
        )
        master = (
            f"127.0.0.1:{keeping} inet n - n - - smtpd\n"
            "    -o cleanup_service_name=keeping\n"
            "keeping unix n - n - 0 cleanup -o cleanup_replace_stray_cr_lf=no\n"
        )
        directory = open_directory / "fidelity"
        with Postfix(directory, relayhost=sink.address, main=main, master=master) as postfix:
            hops = {
                POSTFIX: f"127.0.0.1:{postfix.port}",
                KEPT: f"127.0.0.1:{keeping}",
                POSTFIX_PROGRAM: f"{packages.find('sendmail')} -G -i",
                WITHOUT_I: f"{packages.find('sendmail')} -G",
                WITHOUT_G: f"{packages.find('sendmail')} -i",
            }
            environment = {"MAIL_CONFIG": str(postfix.config)}
            yield MailHost(sink, hops, lambda: None, environment)


@pytest.mark.parametrize("options", [[], ["-h", "here"]], ids=["as it is", "-h"])
@pytest.mark.parametrize("receiver", [POSTFIX, POSTFIX_PROGRAM])
@EACH
def test_postfix(
    site: Site, postfix_host: MailHost, receiver: str, name: str, options: list[str]
) -> None:
    postfix_host.makes(site, receiver, name, *options)


def test_postfix_keeps_a_cr_within_a_line_if_told_so(site: Site, postfix_host: MailHost) -> None:
    case = CASES["CR within a line"]
    assert postfix_host.hand_on(site, KEPT, case.message).status == 0
    assert without_received(postfix_host.arrived().data) == case.wire


@pytest.fixture(scope="module")
def exim_host(open_directory: Path) -> Iterator[MailHost]:
    program, port = Exim.unpack(open_directory / "fidelity-exim-package"), free_port()
    main = f"local_interfaces = 127.0.0.1.{port}\nacl_smtp_rcpt = acl_check_rcpt\n"
    parts = {"main": main + "message_size_limit = 0\n", "acl": "", "router": "", "transport": ""}
    with Sink() as sink:
        directory = open_directory / "fidelity-exim"
        with Exim(directory, program, relayhost=sink.address, port=port, parts=parts) as exim:
            hops = {
                EXIM: f"127.0.0.1:{port}",
                EXIM_PROGRAM: f"{program} -C {exim.configuration} -G -i",
            }

            def settle() -> None:
                exim.run_queue()
                exim.run_queue()  # a bounce was queued by the first run

            yield MailHost(sink, hops, settle)


@pytest.mark.parametrize("receiver", [EXIM, EXIM_PROGRAM])
@EACH
def test_exim(site: Site, exim_host: MailHost, receiver: str, name: str) -> None:
    exim_host.makes(site, receiver, name)


@pytest.fixture(scope="module")
def sendmail_host(open_directory: Path) -> Iterator[MailHost]:
    program, port = Program.unpack(open_directory / "fidelity-sendmail-package"), free_port()
    options = f"DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port={port}')dnl\n"
    directory = open_directory / "fidelity-sendmail"
    with (
        Sink() as sink,
        Sendmail.delivering(
            directory, program, relayhost=sink.address, port=port, options=options
        ) as server,
    ):
        # The program with this configuration, and with a name that it likes (see NAMED).
        script = directory / "program"
        named = shlex.join(NAMED) if can_be_named() else ""
        words = f'{program.sendmail} -C {directory}/sendmail.cf "$@"'
        script.write_text(f"#!/bin/sh\nexec {named} {words}\n")
        script.chmod(0o755)
        hops = {SENDMAIL: f"127.0.0.1:{port}", SENDMAIL_PROGRAM: f"{script} -G -i"}
        yield MailHost(sink, hops, server.run_queue)


@pytest.mark.parametrize("receiver", [SENDMAIL, SENDMAIL_PROGRAM])
@EACH
def test_sendmail(site: Site, sendmail_host: MailHost, receiver: str, name: str) -> None:
    sendmail_host.makes(site, receiver, name)


def test_the_page_says_what_was_found_here() -> None:
    assert table() in DOCUMENT.read_text()


# What the words after a sendmail program are for.


def test_without_i_a_dot_ends_the_message(site: Site, postfix_host: MailHost) -> None:
    """Why -i is asked for: sendmail(1) drops the rest, and says nothing."""
    ended = postfix_host.hand_on(site, WITHOUT_I, CASES["lone dots"].message)
    assert ended.status == 0, ended
    arrived = without_received(postfix_host.arrived().data)
    assert arrived == HEADER.replace(b"\n", b"\r\n") + b"\r\n"


def test_without_g_the_header_is_completed(site: Site, postfix_host: MailHost) -> None:
    """Why -G is asked for."""
    message = re.sub(rb"(Date|Message-ID): .*\n", b"", CASES["plain"].message)
    message = message.replace(b"<anna@example.com>", b"<anna>")
    assert postfix_host.hand_on(site, WITHOUT_G, message).status == 0
    completed = without_received(postfix_host.arrived().data)
    assert b"\r\nDate: " in completed
    assert b"<anna@mail.example.org>" in completed
    assert postfix_host.hand_on(site, POSTFIX_PROGRAM, message).status == 0
    assert without_received(postfix_host.arrived().data) == message.replace(b"\n", b"\r\n")


def test_utf8_in_the_header_and_a_next_hop_without_smtputf8(
    site: Site, postfix_host: MailHost, short: FakeSmtp
) -> None:
    """By SMTP it goes there, for it is what it was.  sendmail(1) marks it, and it bounces there."""
    message, there = CASES["UTF-8 in the header"].message, ("bert@short.example",)
    assert postfix_host.hand_on(site, POSTFIX, message, recipients=there).status == 0
    short.arrived("QUIT")
    assert len(short.messages) == 1
    assert postfix_host.hand_on(site, POSTFIX_PROGRAM, message, recipients=there).status == 0
    bounce = postfix_host.arrived()
    assert bounce.sender == b""
    assert b"5.6.7" in bounce.data
    assert b"SMTPUTF8 is required" in bounce.data
    assert len(short.messages) == 1


# The whole way: Postfix, pipe(8), avcheck, Postfix.


@dataclass(frozen=True)
class Filtered:
    """The set-up of docs/postfix.md; mail that comes to `unfiltered` goes on without avcheck."""

    mail_system: MailSystem
    postfix: Postfix
    unfiltered: int


@pytest.fixture(scope="module")
def filtered(mail_system: MailSystem) -> Iterator[Filtered]:
    port = free_port()
    keep = "smtp_line_length_limit = 0\ncleanup_replace_stray_cr_lf = no\n"
    past = f"127.0.0.1:{port} inet n - n - - smtpd\n    -o content_filter=\n"
    changes = (
        ("content_filter = avcheck:dummy", keep + "content_filter = avcheck:dummy"),
        ("avcheck   unix", past + "avcheck   unix"),
    )
    with mail_system.postfix("filtered", *changes) as postfix:
        yield Filtered(mail_system, postfix, port)
        mail_system.settle(postfix)


@EACH
def test_a_message_arrives_as_it_does_without_avcheck(filtered: Filtered, name: str) -> None:
    sink = filtered.mail_system.sink
    arrived = []
    for port in (filtered.postfix.port, filtered.unfiltered):
        sink.take()
        submit(port, "anna@example.com", ["bert@example.net"], CASES[name].wire)
        sink.wait_for(1)
        (received,) = sink.take()
        arrived.append(without_received(received.data))
    assert arrived[0] == arrived[1]
    change = CHANGES[POSTFIX].get(name, same)
    assert callable(change)
    assert name == "CR within a line" or arrived[0] == change(CASES[name].wire)
