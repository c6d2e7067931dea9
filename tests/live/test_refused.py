"""What becomes of a message that the second Postfix refuses for good, by a real first one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.recipe import MailSystem
from tests.support.letters import letter, token
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Received

NEVER, ANOTHER, FINE = "never@example.net", "another@example.net", "fine@example.net"

# For the second service: two recipients who are gone, and a content that nobody wants.
REFUSING = """\
    -o { smtpd_recipient_restrictions = check_recipient_access
         inline:{{never@example.net = 550 5.1.1 gone}, {another@example.net = 550 5.1.1 gone}},
         permit_mynetworks, reject }
    -o { smtpd_end_of_data_restrictions = check_sender_access
         inline:{{unwanted@example.com = 554 5.7.1 unwanted}} }
"""
CHANGES = (
    ("    -o smtpd_recipient_restrictions=permit_mynetworks,reject\n", ""),
    ("    -o smtpd_end_of_data_restrictions=\n", REFUSING),
)


@pytest.fixture(scope="module")
def bouncing(mail_system: MailSystem) -> Iterator[Postfix]:
    changes = (
        *CHANGES,
        ("    --deadline", "    --refused bounce --deadline"),
        ("avcheck_destination_recipient_limit = 1", "avcheck_destination_recipient_limit = 50"),
    )
    with mail_system.postfix("bouncing", *changes) as postfix:
        yield postfix
        mail_system.settle(postfix)


@pytest.fixture(scope="module")
def deferring(mail_system: MailSystem) -> Iterator[Postfix]:
    with mail_system.postfix("deferring", *CHANGES) as postfix:
        yield postfix


def outcomes(
    postfix: Postfix, message: bytes, *recipients: str, sender: str = "anna@example.com"
) -> list[str]:
    """What the log says of each recipient."""
    queue_id = postfix.submit(sender, recipients, message)
    return postfix.wait_for_outcomes(queue_id, len(recipients), relay="avcheck")


def bounces(mail_system: MailSystem, message: bytes) -> list[Received]:
    """The notices to the sender about a message."""
    mark = token(message)
    assert mark
    return [
        each
        for each in mail_system.sink.messages
        if each.sender == b"" and mark.encode() in each.data
    ]


@pytest.mark.parametrize(
    ("recipients", "sender", "code", "words"),
    [
        ((NEVER,), "anna@example.com", "5.1.1", "550 5.1.1 <never@example.net>"),
        ((NEVER, ANOTHER), "anna@example.com", "5.1.1", "550 5.1.1 <"),
        ((FINE,), "unwanted@example.com", "5.7.1", "554 5.7.1 <unwanted@example.com>"),
    ],
    ids=["a recipient", "all recipients", "the content"],
)
def test_the_sender_is_told_at_once_if_wanted(
    mail_system: MailSystem,
    bouncing: Postfix,
    recipients: tuple[str, ...],
    sender: str,
    code: str,
    words: str,
) -> None:
    message = letter()
    for line in outcomes(bouncing, message, *recipients, sender=sender):
        assert f"dsn={code}, status=bounced" in line
        assert words in line
    bouncing.wait_until(lambda: bool(bounces(mail_system, message)), "the bounce")
    (bounce,) = bounces(mail_system, message)
    assert bounce.recipients == [sender.encode()]
    assert f"Status: {code}".encode() in bounce.data
    assert words.encode() in b" ".join(bounce.data.split())


def test_one_of_several_recipients_is_no_reason_to_bounce(
    mail_system: MailSystem, bouncing: Postfix
) -> None:
    message = letter()
    for line in outcomes(bouncing, message, FINE, NEVER):
        assert "dsn=4.1.1, status=deferred" in line
    assert bounces(mail_system, message) == mail_system.delivered(message) == []


def test_otherwise_the_message_waits(mail_system: MailSystem, deferring: Postfix) -> None:
    for recipient, sender, code in (
        (NEVER, "anna@example.com", "4.1.1"),
        (FINE, "unwanted@example.com", "4.7.1"),
    ):
        message = letter()
        (line,) = outcomes(deferring, message, recipient, sender=sender)
        assert f"dsn={code}, status=deferred" in line
        assert bounces(mail_system, message) == mail_system.delivered(message) == []
