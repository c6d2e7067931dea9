"""Postfix with avcheck handing on by sendmail(1), as docs/postfix.md has it."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live.recipe import DOCUMENT, MailSystem
from tests.live.test_postfix_ways import OTHER, arrives, bounces
from tests.support.fakes import FakeSmtp
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix, commands_for_all, open_maildrop
from tests.support.servers.queue import submit

# sendmail(1).


@dataclass(frozen=True)
class BySendmail:
    """A Postfix that gets clean mail back by sendmail(1), and the port of its front door."""

    mail_system: MailSystem
    postfix: Postfix
    port: int

    def arrives(
        self,
        message: bytes,
        sender: str = "anna@example.com",
        recipients: tuple[str, ...] = (OTHER,),
    ) -> bytes:
        """A message is sent and arrives once, with this envelope; the lines before it."""
        submit(self.port, sender, recipients, message)
        arrives(self.mail_system, self.postfix, message, *recipients)
        [received] = self.mail_system.delivered(message)
        assert received.data.endswith(message)
        assert received.sender.decode() == sender
        return received.data[: -len(message)]


@pytest.fixture(scope="module")
def short() -> Iterator[FakeSmtp]:
    """The next hop for addresses @short.example, which has no SMTPUTF8."""
    with FakeSmtp(offers=(b"8BITMIME",)) as server:
        assert isinstance(server, FakeSmtp)
        yield server


@pytest.fixture(scope="module")
def by_sendmail(mail_system: MailSystem, short: FakeSmtp) -> Iterator[BySendmail]:
    commands = commands_for_all(mail_system.directory / "sendmail-commands")
    port, unused = free_port(), f"127.0.0.1:{free_port()}"
    door = re.sub(r"^smtp .*", f"127.0.0.1:{port} inet n - n - - smtpd", mail_system.blocks["door"])
    more = {
        "master.cf": door,
        "main.cf": f"command_directory = {commands}\n"
        f"transport_maps = inline:{{short.example=smtp:[127.0.0.1]:{short.where[10:]}}}\n",
    }
    words = "-S /usr/sbin/sendmail -S -G -S -i"
    assert f"replace `-S 127.0.0.1:10026` by `{words}`" in DOCUMENT.read_text()
    changes = (
        ("content_filter = avcheck:dummy\nreceive_override_options = no_address_mappings\n", ""),
        (f"-S {unused}", words.replace("/usr/sbin/sendmail", packages.find("sendmail"))),
        ("avcheck_destination_recipient_limit = 1\n", ""),  # as that section says
    )
    names = {"127.0.0.1:10026": unused}
    with mail_system.postfix("by-sendmail", *changes, more=more, names=names) as postfix:
        open_maildrop(postfix)
        yield BySendmail(mail_system, postfix, port)


def test_sendmail_gets_it_unchanged_but_for_its_own_line(by_sendmail: BySendmail) -> None:
    before = by_sendmail.arrives(letter(".\n..\n.a\n\nFrom me\n>From x\n blank \n\n\n.\n"))
    user = pwd.getpwnam(by_sendmail.mail_system.client).pw_uid
    assert re.fullmatch(rb"(Received: .*\n(\s.*\n)*){2}", before), before
    assert f"(Postfix, from userid {user})".encode() in before
    by_sendmail.arrives(letter("Gr\u00fc\u00dfe\n", "Content-Transfer-Encoding: 8bit"))


def test_sendmail_gets_the_envelope_as_it_is(by_sendmail: BySendmail) -> None:
    by_sendmail.arrives(letter(), "")
    odd = ('"a b"@example.net', '"a,b"@example.net', '"x$(id)`id`"@example.net')
    by_sendmail.arrives(letter(), '"two words"@example.com', odd)
    by_sendmail.arrives(letter(), recipients=tuple(f"bert{n}@example.net" for n in range(50)))


def test_without_smtp_a_virus_goes_to_the_quarantine_and_mail_waits_for_clamd(
    by_sendmail: BySendmail,
) -> None:
    system, postfix = by_sendmail.mail_system, by_sendmail.postfix
    messages = [letter(), with_attachment(EICAR)]
    system.clamd.stop()
    try:
        for message in messages:
            submit(by_sendmail.port, "anna@example.com", [OTHER], message)
        postfix.wait_until(
            lambda: [each.queue for each in postfix.queue()] == ["deferred"] * 2, "both deferred"
        )
    finally:
        system.clamd.start()
    postfix.flush()
    arrives(system, postfix, messages[0], OTHER)
    postfix.wait_until(lambda: bool(system.quarantined(messages[1])), "the quarantine")
    system.settle(postfix)
    assert system.delivered(messages[1]) == []
    assert postfix.queue() == []
    assert system.left_behind() == []


def test_mail_from_sendmail_is_not_scanned_there(by_sendmail: BySendmail) -> None:
    """The first limit: Postfix could not tell it from mail that has been."""
    virus = with_attachment(EICAR)
    by_sendmail.postfix.command(
        packages.find("sendmail"), "-f", "anna@example.com", OTHER, stdin=virus
    )
    arrives(by_sendmail.mail_system, by_sendmail.postfix, virus, OTHER)
    system = by_sendmail.mail_system
    system.sink.messages.remove(system.delivered(virus)[0])


def test_utf8_in_the_header_bounces_unless_pickup_is_told(
    by_sendmail: BySendmail, short: FakeSmtp
) -> None:
    """The limit of SMTPUTF8, and what the page does about it."""
    system, postfix = by_sendmail.mail_system, by_sendmail.postfix

    def send() -> bytes:
        message = letter("Hello.\n", "X-Name: J\u00fcrgen")
        submit(by_sendmail.port, "anna@example.com", ["bert@short.example"], message)
        return message

    message = send()
    postfix.wait_until(lambda: bool(bounces(system, message)), "the bounce")
    [bounce] = bounces(system, message)
    assert b"SMTPUTF8 is required" in bounce.data
    assert short.messages == []
    system.shell("utf8", postfix)
    message = send()
    postfix.wait_until(lambda: bool(short.messages), "the message")
    [taken] = short.messages
    assert taken.data.endswith(message)
    system.settle(postfix)
    assert bounces(system, message) == []
