"""What goes in comes out: through a real Postfix, and into aiosmtpd for a second opinion.

Postfix itself changes some messages.  So each case says what Postfix makes of it, and the
same message is sent through the same Postfix without avcheck, too.  docs/delivery.md has
the outcome as a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.fakes import FakeSmtp
from tests.live.letters import letter
from tests.live.recipe import MailSystem
from tests.mta import Ended, Site
from tests.servers import packages
from tests.servers.clamd import free_port
from tests.servers.postfix import Postfix
from tests.servers.queue import submit
from tests.servers.sink import Sink

# What Postfix puts before a message that it takes: one line, folded.
RECEIVED = rb"(?:Received: [^\n]*\r\n(?:[ \t][^\n]*\r\n)*)"
CHECKED = rb"X-AV-Checked: [^\r\n]* here\r\n"

HEADER = letter("").replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"


def same(wire: bytes) -> bytes:
    return wire


def without_trailing_cr(wire: bytes) -> bytes:
    return re.sub(rb"\r+\n", b"\r\n", wire)


def cut_at_nul(wire: bytes) -> bytes:
    return re.sub(rb"\0[^\r]*", b"", wire)


def space_for_cr(wire: bytes) -> bytes:
    return re.sub(rb"\r(?!\n)", b" ", wire)


@dataclass(frozen=True)
class Case:
    """A message as pipe(8) gives it to avcheck, and what Postfix makes of it.

    by_smtp is what its SMTP server does, by_sendmail its sendmail(1); both are told what
    is on the wire if nothing is changed.
    """

    message: bytes
    by_smtp: Callable[[bytes], bytes] = same
    by_sendmail: Callable[[bytes], bytes] = same

    @property
    def wire(self) -> bytes:
        """The message with CRLF at the end of each line, and nothing else done to it."""
        crlf = b"\r\n" in self.message[: self.message.find(b"\n") + 1]
        lines = self.message.replace(b"\r\n", b"\n") if crlf else self.message
        end = b"" if lines.endswith(b"\n") or not lines else b"\n"
        return (lines + end).replace(b"\n", b"\r\n")


def body(text: bytes) -> bytes:
    return HEADER + b"\n" + text


CASES = {
    "plain": Case(body(b"Hello.\n")),
    "no body": Case(HEADER),
    "CRLF": Case(body(b"Hello.\n.\n\nx\n").replace(b"\n", b"\r\n")),
    "bare CR": Case(body(b"a\rb\n\rc\n"), same, same),
    "trailing CR": Case(body(b"a\r\nb\r\r\nc\n"), without_trailing_cr, without_trailing_cr),
    "no final line end": Case(body(b"Hello.")),
    "CR at the end": Case(body(b"Hello.\r"), without_trailing_cr),
    "lone dots": Case(body(b".\n.\n\n.\n")),
    "leading dots": Case(body(b"..\n...\n.a\n. b\n.\r.\n")),
    "a dot at the end": Case(body(b"x\n.")),
    "a dot first": Case(b".\n" + HEADER, lambda wire: b"\r\n" + wire, lambda wire: b"\r\n" + wire),
    "From first": Case(
        b"From anna@example.com Fri Jan  2 03:04:05 2026\n" + body(b"x\n"),
        lambda wire: b"X-Mailbox-Line: " + wire,
        lambda wire: wire.partition(b"\r\n")[2],
    ),
    "From and >From in the body": Case(body(b"From x\n\n>From y\n")),
    "8-bit, no UTF-8": Case(body(bytes(range(0x80, 0x100)) + b"\n")),
    "8-bit, UTF-8": Case(body("Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e\n".encode())),
    "UTF-8 in the header": Case(HEADER + "X-Name: J\u00fcrgen\n\nx\n".encode()),
    "blanks at the end of lines": Case(body(b"a \n \n\t\nb\t \n")),
    "empty lines at the end": Case(body(b"x\n\n\n\n")),
    "a line of 2000 bytes": Case(body(b"x" * 2000 + b"\ny\n")),
    "a header line of 2000 bytes": Case(HEADER + b"X-Long: " + b"x" * 2000 + b"\n\ny\n"),
    "a line of 10 MB": Case(body(b"x" * 10_000_000 + b"\ny\n")),
    "a line of 10 MB without end": Case(body(b"x" * 10_000_000)),
    "NUL in the body": Case(body(b"a\0b\n\0\n\0\0.\n")),
    "NUL in the header": Case(HEADER + b"X-Nul: a\0b\n\nx\n", cut_at_nul, cut_at_nul),
    "control characters": Case(body(bytes(set(range(1, 0x20)) - set(b"\r\n")) + b"\x7f\n")),
    "a folded header": Case(HEADER + b"X-A: a\n\tb\n c\n\nx\n"),
    "no header": Case(b"\nx\n"),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def delivered(ended: Ended) -> None:
    assert ended.status == 0, ended
    assert b" 250 2.0.0 " in ended.output or b"sendmail" in ended.output, ended


def without_header(data: bytes, added: bool) -> bytes:
    """What has arrived, without the line of -h, which has to be there if it was added.

    It is the first one, but for the line of a mailbox.
    """
    if not added:
        return data
    found = re.match(rb"((?:X-Mailbox-Line: )?From [^\n]*\n)?" + CHECKED, data)
    assert found, data[:200]
    return (found[1] or b"") + data[found.end() :]


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
    site: Site, aiosmtpd: Aiosmtpd, case: Case, options: list[str]
) -> None:
    site.hop = ("-S", f"127.0.0.1:{aiosmtpd.port}")
    ended = site.deliver(*options, message=case.message)
    assert ended.status == 0, ended
    (data,) = aiosmtpd.handler.data
    aiosmtpd.handler.data.clear()
    assert without_header(data, "-h" in options) == case.wire


# Postfix alone: its SMTP server, and its sendmail(1).


@dataclass(frozen=True)
class MailHost:
    """A Postfix that sends everything to the sink, as long as its lines are.

    At `strict` it takes mail as Debian configures it: a CR within a line becomes a blank.
    At `port` it keeps that.
    """

    postfix: Postfix
    strict: int
    sink: Sink
    short: FakeSmtp  # the next hop for addresses @short.example: it offers nothing

    @property
    def port(self) -> int:
        return self.postfix.port

    def arrived(self) -> bytes:
        """The one message that has arrived, without the line that says that Postfix had it."""
        self.sink.wait_for(1)
        (received,) = self.sink.take()
        return re.sub(rb"\A" + RECEIVED, b"", received.data)


@pytest.fixture(scope="module")
def host(open_directory: Path) -> Iterator[MailHost]:
    packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
    packages.need_root("Postfix is started by root only")
    strict = free_port()
    with Sink() as sink, FakeSmtp(offers=(b"8BITMIME",)) as short:
        assert isinstance(short, FakeSmtp)
        main = (
            "smtp_line_length_limit = 0\n"  # otherwise it cuts lines itself, at 998 bytes
            "header_size_limit = 20000000\n"
            "cleanup_replace_stray_cr_lf = no\n"
            f"transport_maps = inline:{{short.example=smtp:[127.0.0.1]:{short.where[10:]}}}\n"
        )
        master = (
            f"127.0.0.1:{strict} inet n - n - - smtpd\n"
            "    -o cleanup_service_name=strict\n"
            "strict unix n - n - 0 cleanup -o cleanup_replace_stray_cr_lf=yes\n"
        )
        directory = open_directory / "fidelity"
        with Postfix(directory, relayhost=sink.address, main=main, master=master) as postfix:
            yield MailHost(postfix, strict, sink, short)


@pytest.mark.parametrize("options", [[], ["-h", "here"]], ids=["as it is", "-h"])
@EACH
def test_postfix_gets_every_byte_by_smtp(
    site: Site, host: MailHost, case: Case, options: list[str]
) -> None:
    site.hop = ("-S", f"127.0.0.1:{host.port}")
    delivered(site.deliver(*options, message=case.message))
    assert without_header(host.arrived(), bool(options)) == case.by_smtp(case.wire)


def test_postfix_may_put_blanks_for_bare_cr(site: Site, host: MailHost) -> None:
    """Since 3.5.24, 3.6.14, 3.7.10 and 3.8.5, unless cleanup_replace_stray_cr_lf is set to no."""
    case = CASES["bare CR"]
    site.hop = ("-S", f"127.0.0.1:{host.strict}")
    delivered(site.deliver(message=case.message))
    assert host.arrived() in (case.wire, space_for_cr(case.wire))


def by_sendmail(
    site: Site,
    host: MailHost,
    words: str,
    message: bytes,
    *options: str,
    recipient: str = "bert@example.net",
) -> Ended:
    """Hand a message on by Postfix's sendmail(1)."""
    site.hop = ("-S", f"{packages.find('sendmail')} {words}")
    line = site.words(*options, recipients=(recipient,))
    return site.start(line, environment={"MAIL_CONFIG": str(host.postfix.config)}).end(message)


@pytest.mark.parametrize("options", [[], ["-h", "here"]], ids=["as it is", "-h"])
@EACH
def test_postfix_gets_every_byte_by_sendmail(
    site: Site, host: MailHost, case: Case, options: list[str]
) -> None:
    delivered(by_sendmail(site, host, "-G -i", case.message, *options))
    assert without_header(host.arrived(), bool(options)) == case.by_sendmail(case.wire)


def test_without_i_a_dot_ends_the_message(site: Site, host: MailHost) -> None:
    """Why it is asked for: sendmail(1) takes the rest for nothing, and says nothing."""
    delivered(by_sendmail(site, host, "-G", CASES["lone dots"].message))
    assert host.arrived() == HEADER.replace(b"\n", b"\r\n") + b"\r\n"


def test_without_g_the_header_is_completed(site: Site, host: MailHost) -> None:
    message = re.sub(rb"(Date|Message-ID): .*\n", b"", body(b"x\n"))
    message = message.replace(b"<anna@example.com>", b"<anna>")
    delivered(by_sendmail(site, host, "-i", message))
    data = host.arrived()
    assert b"\r\nDate: " in data
    assert b"<anna@mail.example.org>" in data
    delivered(by_sendmail(site, host, "-G -i", message))
    assert host.arrived() == message.replace(b"\n", b"\r\n")


def test_utf8_in_the_header_goes_to_a_next_hop_without_smtputf8(site: Site, host: MailHost) -> None:
    """By SMTP it is what it was.  sendmail(1) marks it, and then it bounces there."""
    message = CASES["UTF-8 in the header"].message
    site.hop = ("-S", f"127.0.0.1:{host.port}")
    there = "bert@short.example"
    delivered(site.deliver(message=message, recipients=(there,)))
    host.postfix.wait_until(lambda: len(host.short.messages) == 1, "the message by SMTP")
    delivered(by_sendmail(site, host, "-G -i", message, recipient=there))
    host.sink.wait_for(1)
    (bounce,) = host.sink.take()
    assert bounce.sender == b""
    assert b"5.6.7" in bounce.data
    assert b"SMTPUTF8 is required" in bounce.data
    assert len(host.short.messages) == 1


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
def test_a_message_arrives_as_it_does_without_avcheck(filtered: Filtered, case: Case) -> None:
    mails = filtered.mail_system
    arrived = []
    for port in (filtered.postfix.port, filtered.unfiltered):
        mails.sink.take()
        submit(port, "anna@example.com", ["bert@example.net"], case.wire)
        mails.sink.wait_for(1)
        (received,) = mails.sink.take()
        arrived.append(re.sub(rb"\A" + RECEIVED + b"{1,2}", b"", received.data))
    assert arrived[0] == arrived[1]
    assert arrived[0].endswith(case.by_smtp(case.wire))
