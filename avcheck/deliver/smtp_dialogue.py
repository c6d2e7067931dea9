r"""SMTP, the client's side (RFC 5321), without a socket.  Pure.

    S: 220 mx.example ESMTP
    C: EHLO host.example                       HELO if it is refused
    S: 250-mx.example
    S: 250-XFORWARD NAME ADDR
    S: 250-STARTTLS
    S: 250 PIPELINING
    C: STARTTLS                                if asked for (RFC 3207), and EHLO again
    C: XFORWARD ADDR=192.0.2.1                 all at once if the server pipelines,
    C: MAIL FROM:<a@example> SIZE=4096         else one by one
    C: RCPT TO:<b@example>
    S: 250 2.1.0 Ok
    S: 250 2.1.5 Ok
    C: DATA                                    only when every recipient was taken
    S: 354 End data with <CR><LF>.<CR><LF>
    C: ... .
    S: 250 2.0.0 Ok: queued as 4XYZ            the only proof that it was handed on
    C: QUIT
    S: 221 2.0.0 Bye                           and nothing else came in between

dialogue() is a generator, and so are its parts: they yield the commands to send and are
sent their replies, so the conversation reads from top to bottom and can be replayed with
any replies at all.
"""

from __future__ import annotations

from avcheck.deliver.smtp_replies import Reply, _says, is_for_good, want
from avcheck.deliver.smtp_words import Envelope, mail_parameters, mailbox, rcpt_parameters, xforward
from avcheck.exits import CONFIG, Defer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import TypeAlias, TypeVar

    T = TypeVar("T")
    Dialogue: TypeAlias = Generator[list[bytes] | "Content" | "Handshake", list[Reply], T]


# Commands sent before their replies are read; more could fill the buffers of both
# sides and leave each waiting for the other (RFC 2920 3.1).
PIPELINE_MAX = 100


class Content:
    """What dialogue() yields in place of commands: now the content, and the final dot."""

    __slots__ = ("eight_bit",)

    def __init__(self, eight_bit: bool) -> None:
        self.eight_bit = eight_bit  # whether bytes above 0x7f may be sent


class Handshake:
    """What dialogue() yields in place of commands: now the TLS handshake; it takes no reply."""


# --tls
NEVER = "never"
MAY = "may"
REQUIRE = "require"


def dialogue(envelope: Envelope, hello: bytes, tls: str = NEVER) -> Dialogue[Reply]:
    """The whole conversation; returns the reply to the final dot.

    Yields commands to send at once (none: for the greeting) and takes a reply for each.
    Raises Defer, with the server's words, at the first reply that is not the one wanted,
    and Refused if the server refused the message as a whole and for good.
    """
    sender = b"MAIL FROM:<%b>" % mailbox(envelope.sender)
    recipients = [b"RCPT TO:<%b>" % mailbox(each) for each in envelope.recipients]

    offered = yield from opening(hello, tls)
    forward = list(xforward(envelope.xforward, offered))
    commands = [
        *forward,
        sender + mail_parameters(envelope, offered),
        *[
            each + parameters
            for each, parameters in zip(recipients, rcpt_parameters(envelope, offered), strict=True)
        ],
    ]
    yield from _send_envelope(commands, len(forward), offered)

    want(3, b"DATA", (yield [b"DATA"]), for_all=True)
    replies = yield Content(envelope.eight_bit is not None or b"8BITMIME" in offered)
    want(2, b"the message", replies, for_all=True)
    return replies[0]


def opening(hello: bytes, tls: str = NEVER) -> Dialogue[dict[bytes, bytes]]:
    """The conversation up to the first message; returns what the server offers."""
    want(2, b"the connection", (yield []))
    offered = yield from greet(hello)
    return (yield from _secure(hello, tls, offered))


def greet(hello: bytes) -> Dialogue[dict[bytes, bytes]]:
    """EHLO, or HELO if it is refused; returns what the server offers."""
    replies = yield [b"EHLO " + hello]
    if replies[0].code // 100 == 5:
        want(2, b"HELO", (yield [b"HELO " + hello]))
        return {}
    want(2, b"EHLO", replies)
    return extensions(replies[0])


def _secure(hello: bytes, tls: str, offered: dict[bytes, bytes]) -> Dialogue[dict[bytes, bytes]]:
    """STARTTLS, if it is offered and tls asks for it; returns what the server offers after it."""
    if tls == REQUIRE and b"STARTTLS" not in offered:
        raise Defer("the server offers no STARTTLS, which --tls require needs", CONFIG)
    if tls == NEVER or b"STARTTLS" not in offered:
        return offered
    replies = yield [b"STARTTLS"]
    if tls != REQUIRE and replies[0].code // 100 != 2:
        return offered
    want(2, b"STARTTLS", replies)
    yield Handshake()
    # What was offered before could have been forged (RFC 3207 4.2).
    replies = yield [b"EHLO " + hello]
    want(2, b"EHLO", replies)
    return extensions(replies[0])


def _send_envelope(
    commands: list[bytes], forward: int, offered: dict[bytes, bytes]
) -> Dialogue[None]:
    """The commands before DATA, of which the first ones, so many, are XFORWARD.

    All or none: DATA waits for the last answer, because a server that took some of
    the recipients would answer 354 and could not be stopped from delivering.
    """
    answers: list[Reply] = []
    at_once = PIPELINE_MAX if b"PIPELINING" in offered else 1
    for first in range(0, len(commands), at_once):
        answers += yield commands[first : first + at_once]
        # XFORWARD is for the other side's log; a refusal is no reason to keep the mail
        # (Postfix's own client warns and goes on).
        if len(answers) > forward:
            want(2, commands[forward], [answers[forward]], for_all=True)
    judge(commands[forward + 1 :], answers[forward + 1 :])


def judge(commands: Sequence[bytes], replies: Sequence[Reply]) -> None:
    """Raise Refused if every recipient was refused for good, Defer if any was refused."""
    refused = [
        (command, reply)
        for command, reply in zip(commands, replies, strict=True)
        if not _says(2, reply)
    ]
    for_good = all(is_for_good(reply) for _, reply in refused)
    for command, reply in refused:
        want(2, command, [reply], for_all=for_good and len(refused) == len(commands))


def extensions(reply: Reply) -> dict[bytes, bytes]:
    """Keyword and parameters of what the reply to EHLO offers, in upper case."""
    lines = [line.upper().partition(b" ") for line in reply.lines[1:]]
    return {keyword: parameters for keyword, _, parameters in lines}
