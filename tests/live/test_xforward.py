"""What the second Postfix knows of the client and the envelope that the first one had.

The client is told to the first one by XFORWARD, as by a proxy in front of it, so that it can
be one that is not on this machine.  pipe(8) has it in macros, avcheck tells it to the
second one, and there it is in the log.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.live.recipe import MailSystem, blocks
from tests.support.letters import letter
from tests.support.mta import Site
from tests.support.servers import packages
from tests.support.servers.postfix import PATIENCE, Postfix
from tests.support.tree import ROOT

# What the page adds to master.cf: to the arguments of avcheck, and to the second service.
ADDED = blocks(ROOT / "docs" / "delivery.md")


def ipv6() -> bool:
    """Whether this machine has it, if only for itself."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.fixture(scope="module")
def forwarding(mail_system: MailSystem) -> Iterator[Postfix]:
    """A Postfix with the documented lines, those for XFORWARD included."""
    main = "smtpd_authorized_xforward_hosts = 127.0.0.0/8\nsmtpd_client_port_logging = yes\n"
    protocols = f"inet_protocols = {'all' if ipv6() else 'ipv4'}\n"
    changes = (
        ("    --deadline", ADDED["xforward"] + "    --deadline"),
        ("    -o content_filter=\n", "    -o content_filter=\n" + ADDED["authorized"]),
        ("content_filter = avcheck:dummy", main + protocols + "content_filter = avcheck:dummy"),
    )
    with mail_system.postfix("forwarding", *changes) as postfix:
        yield postfix
        mail_system.settle(postfix)


def sent(postfix: Postfix, client: Mapping[str, str]) -> tuple[str, str]:
    """Send a message for this client; the log's line of the second smtpd, the first queue id."""
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=PATIENCE) as smtp:
        smtp.ehlo()
        for name, value in client.items():
            code, words = smtp.docmd(f"XFORWARD {name}={value}")
            assert code == 250, words
        smtp.mail("anna@example.com")
        smtp.rcpt("bert@example.net")
        _, words = smtp.data(letter())
    first = re.findall(rb"queued as (\w+)", words)[0].decode()
    (outcome,) = postfix.wait_for_outcomes(first, relay="avcheck")
    assert "status=sent" in outcome
    second = re.findall(r"queued as (\w+)", outcome)[0]
    (line,) = re.findall(rf"smtpd\[\d+\]: {second}: (client=.*)", postfix.log)
    return line, first


def test_the_log_of_the_second_postfix_shows_the_client(forwarding: Postfix) -> None:
    client = {"NAME": "spike.example.net", "ADDR": "192.0.2.9", "PORT": "4711", "HELO": "spike"}
    line, first = sent(forwarding, client)
    assert f"orig_queue_id={first}" in line
    assert "orig_client=spike.example.net[192.0.2.9]:4711" in line


def test_a_client_by_ipv6(forwarding: Postfix) -> None:
    if not ipv6():
        pytest.skip("this machine has no IPv6, so Postfix takes no such address")
    line, _ = sent(forwarding, {"NAME": "six.example.net", "ADDR": "IPV6:2001:db8::7"})
    assert "orig_client=six.example.net[2001:db8::7]" in line


def test_a_client_that_is_not_known(forwarding: Postfix) -> None:
    line, _ = sent(forwarding, {"NAME": "[UNAVAILABLE]", "ADDR": "[UNAVAILABLE]"})
    assert line.endswith("orig_client=unknown")


def test_a_client_with_a_strange_name(forwarding: Postfix) -> None:
    """HELO is anything that a stranger says."""
    client = {"NAME": "spike.example.net", "ADDR": "192.0.2.9", "HELO": "x+20+3DNAME+3Dy+2Bz"}
    line, first = sent(forwarding, client)
    assert "orig_client=spike.example.net[192.0.2.9]" in line
    assert f"orig_queue_id={first}" in line


def test_mail_from_this_host_has_no_client(forwarding: Postfix, mail_system: MailSystem) -> None:
    """Its macros are empty."""
    message = letter()
    forwarding.command(
        "sendmail", "-i", "-f", "anna@example.com", "bert@example.net",
        stdin=message.replace(b"\r\n", b"\n"),
    )  # fmt: skip
    forwarding.wait_until(lambda: len(mail_system.delivered(message)) == 1, "the message")


def test_without_the_options_the_client_is_this_host(postfix: Postfix) -> None:
    """What is gained by them."""
    line, _ = sent(postfix, {})
    assert line == "client=localhost[127.0.0.1]"


def test_a_refusal_stops_no_mail(site: Site, forwarding: Postfix) -> None:
    """Postfix refuses what is no host name or no address, with a code of 501."""
    site.hop = ("-S", f"127.0.0.1:{forwarding.port}")
    options = ["--xforward", "ADDR=not an address", "--xforward", "NAME=-.-"]
    ended = site.deliver(*options, message=letter().replace(b"\r\n", b"\n"))
    assert ended.status == 0, ended
    assert re.search(r"disconnect from .* xforward=0/1 ", forwarding.log)


# The envelope (DSN).


@pytest.fixture(scope="module")
def holding(open_directory: Path) -> Iterator[Postfix]:
    """A Postfix that keeps what it is given."""
    packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
    packages.need_root("Postfix is started by root only")
    main = "defer_transports = smtp\n"
    with Postfix(open_directory / "holding", relayhost="127.0.0.1:9", main=main) as postfix:
        yield postfix


def test_postfix_takes_over_the_parameters_for_notifications(site: Site, holding: Postfix) -> None:
    site.hop = ("-S", f"127.0.0.1:{holding.port}")
    options = ["--envid", "QQ+=314159", "--ret", "hdrs", "--notify", "delay,failure"]
    ended = site.deliver(*options, "--orcpt", "a+b=c@example.org")
    assert ended.status == 0, ended
    (queue_id,) = re.findall(rb"queued as (\w+)", ended.output)
    envelope = holding.command("postcat", "-e", "-q", queue_id.decode())
    assert "named_attribute: envelope_id=QQ+=314159\n" in envelope
    assert "named_attribute: dsn_orig_rcpt=rfc822;a+b=c@example.org\n" in envelope
    assert "named_attribute: ret_flags=2\n" in envelope  # DSN_RET_HDRS
    assert "named_attribute: notify_flags=12\n" in envelope  # DSN_NOTIFY_FAILURE | _DELAY


def test_the_original_recipient_of_a_macro_stays_with_its_recipient(
    mail_system: MailSystem,
) -> None:
    """An alias: the notification is to name the address that the sender had written."""
    changes = (
        ("    --deadline", ADDED["dsn"] + "    --deadline"),
        (
            "receive_override_options = no_address_mappings",
            "defer_transports = smtp\n"
            "virtual_alias_maps ="
            " inline:{a@example.net=x@example.net, b@example.net=y@example.net}",
        ),
        # So that they could be mixed up.
        ("avcheck_destination_recipient_limit = 1", "avcheck_destination_recipient_limit = 50"),
    )
    with mail_system.postfix("aliases", *changes) as postfix:
        recipients = ("a@example.net", "b@example.net", "c@example.net")
        first = postfix.submit("anna@example.com", recipients, letter())
        outcomes = postfix.wait_for_outcomes(first, 3, relay="avcheck")
        (second,) = {re.findall(r"queued as (\w+)", line)[0] for line in outcomes}
        envelope = postfix.command("postcat", "-e", "-q", second)
        found = re.findall(r"dsn_orig_rcpt=rfc822;(\S+)\n(?:.*\n)*?recipient: (\S+)\n", envelope)
        assert sorted(found) == [
            ("a@example.net", "x@example.net"),
            ("b@example.net", "y@example.net"),
            ("c@example.net", "c@example.net"),
        ]
