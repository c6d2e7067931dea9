"""A DKIM signature is still good behind Postfix, pipe(8), avcheck and Postfix.

It covers the whole body and every line of the header, in the canonicalization that forgives
nothing and in the one that most people use.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dkim  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.live.recipe import MailSystem
from tests.support.letters import letter, token
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix, commands_for_all, open_maildrop
from tests.support.servers.queue import submit


def with_body(body: bytes, *headers: str) -> bytes:
    """A message with these lines in its header, and a token of its own."""
    return letter("", *headers) + body


LETTERS: dict[str, Callable[[], bytes]] = {
    "a text": lambda: with_body(b"Hello.\r\n"),
    "no body": lambda: with_body(b""),
    "dots": lambda: with_body(b".\r\n..\r\n.a\r\n\r\n.\r\n"),
    "From lines": lambda: with_body(b"From x\r\n\r\n>From y\r\nFrom z\r\n"),
    "blanks": lambda: with_body(b" a \r\n\t\r\n \r\nb  c\t\r\n"),
    "empty lines at the end": lambda: with_body(b"x\r\n\r\n\r\n\r\n"),
    "8-bit": lambda: with_body(b"Gr\xc3\xbc\xc3\x9fe, \xe4\xff\r\n", "MIME-Version: 1.0"),
    "long lines": lambda: with_body(b"x" * 2000 + b"\r\n" + b"y" * 100_000 + b"\r\n"),
    "a large one": lambda: with_body((b"x" * 75 + b"\r\n") * 20_000),
    "bare CR": lambda: with_body(b"a\rb\r\n\rc\r\n"),
    "NUL": lambda: with_body(b"a\0b\r\n\0\r\n"),
    "a folded header": lambda: with_body(b"x\r\n", "X-A:  a\r\n\tb\r\n  c ", "x-b:c"),
    # By sendmail(1) this one needs SMTPUTF8 at the next hop, which the sink has.
    "UTF-8 in the header": lambda: with_body(b"x\r\n", "X-Name: J\u00fcrgen"),
    "a header of 3000 bytes": lambda: with_body(b"x\r\n", "X-Long: " + "y " * 1500),
}

CANONICALIZATIONS = [(b"simple", b"simple"), (b"relaxed", b"relaxed")]


class Signer:
    """Signs for example.com, and knows who has."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    def signed(self, message: bytes, how: tuple[bytes, bytes]) -> bytes:
        head = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
        names = [line.partition(b":")[0] for line in head if line[:1] not in b" \t"]
        line: bytes = dkim.sign(
            message, b"key", b"example.com", self._private, canonicalize=how, include_headers=names
        )
        return line + message

    def verifies(self, message: bytes) -> bool:
        good: bool = dkim.verify(message, dnsfunc=lambda name, timeout=5: self._record)
        return good


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def test_the_signatures_are_worth_something(signer: Signer) -> None:
    for how in CANONICALIZATIONS:
        for make in LETTERS.values():
            signed = signer.signed(make(), how)
            assert signer.verifies(signed)
            assert signer.verifies(b"X-AV-Checked: now here\r\n" + signed)
            assert not signer.verifies(signed + b"x\r\n")
            assert not signer.verifies(signed.replace(b"Subject: a", b"Subject: A"))


# The ways through: the options that avcheck has for each.
SENDMAIL = "-S {sendmail} -S -G -S -i"
WAYS = {
    "SMTP": "-S 127.0.0.1:{behind}",
    "SMTP, -h": "-S 127.0.0.1:{behind} -h here",
    "sendmail": SENDMAIL,
    "sendmail, -h": SENDMAIL + " -h here",
    "sendmail without -G": "-S {sendmail} -S -i",
}

# A front door, and what is behind it.
WAY = """\
127.0.0.1:{front} inet n - n - - smtpd
    -o content_filter=way{front}:dummy
way{front} unix - n n - 10 pipe
    flags=q user={client}:{group} null_sender=
    argv={opt}/bin/avcheck -d {spool} -s clamd:{clamd}
    {options}
    --deadline 60 -f ${{sender}} -- ${{recipient}}
"""


@dataclass(frozen=True)
class Ways:
    """A Postfix with a front door for each way; behind `strict` a bare CR becomes a blank."""

    mail_system: MailSystem
    postfix: Postfix
    front: dict[str, int]
    strict: int

    def through(self, port: int, messages: Sequence[bytes]) -> list[bytes]:
        """Send the messages to that door; what has arrived of each, in this order."""
        sink = self.mail_system.sink
        sink.take()
        for message in messages:
            submit(port, "anna@example.com", ["bert@example.net"], message)
        arrived = {token(each.data): each.data for each in sink.wait_for(len(messages))}
        return [arrived[token(message)] for message in messages]


@pytest.fixture(scope="module")
def ways(mail_system: MailSystem) -> Iterator[Ways]:
    packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
    commands = commands_for_all(mail_system.directory / "commands")
    front = {way: free_port() for way in WAYS}
    behind, strict = free_port(), free_port()
    services = f"127.0.0.1:{behind} inet n - n - - smtpd\n"
    services += (
        f"127.0.0.1:{strict} inet n - n - - smtpd\n"
        "    -o cleanup_service_name=strict\n"
        "strict unix n - n - 0 cleanup -o cleanup_replace_stray_cr_lf=yes\n"
    )
    for way, options in WAYS.items():
        services += WAY.format(
            front=front[way],
            client=mail_system.client,
            group=mail_system.group,
            opt=mail_system.names["/opt/avcheck"],
            spool=mail_system.spool,
            clamd=mail_system.clamd.socket,
            options=options.format(behind=behind, sendmail=packages.find("sendmail")),
        )
    main = (
        "smtp_line_length_limit = 0\n"  # it would cut lines itself, at 998 bytes
        "cleanup_replace_stray_cr_lf = no\n"
        f"command_directory = {commands}\n"
    )
    changes = (
        ("content_filter = avcheck:dummy\n", main),
        ("avcheck   unix", services + "avcheck   unix"),
    )
    with mail_system.postfix("ways", *changes) as postfix:
        open_maildrop(postfix)
        yield Ways(mail_system, postfix, front, strict)


@pytest.mark.parametrize("how", CANONICALIZATIONS, ids=["simple", "relaxed"])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "sendmail without -G"])
def test_the_signature_is_still_good(
    ways: Ways, signer: Signer, way: str, how: tuple[bytes, bytes]
) -> None:
    messages = [signer.signed(make(), how) for make in LETTERS.values()]
    arrived = ways.through(ways.front[way], messages)
    assert [(b"X-AV-Checked: " in data) for data in arrived] == [way.endswith("-h")] * len(arrived)
    bad = [name for name, data in zip(LETTERS, arrived, strict=True) if not signer.verifies(data)]
    assert bad == []


def test_without_g_sendmail_completes_what_was_signed(ways: Ways, signer: Signer) -> None:
    """Why -G is asked for: a header is completed, and the signature covers it."""
    message = letter().replace(b"<anna@example.com>", b"<anna>")
    signed = signer.signed(message, CANONICALIZATIONS[1])
    (completed,) = ways.through(ways.front["sendmail without -G"], [signed])
    assert b"<anna@mail.example.org>" in completed
    assert not signer.verifies(completed)
    (untouched,) = ways.through(ways.front["sendmail"], [signed])
    assert signer.verifies(untouched)


def test_postfix_itself_breaks_some_signatures(ways: Ways, signer: Signer) -> None:
    """Without avcheck on the way: so no filter behind it can keep them."""
    messages = [LETTERS["bare CR"](), with_body(b"a\r\r\nb\r\n")]
    signed = [signer.signed(message, CANONICALIZATIONS[0]) for message in messages]
    assert not any(map(signer.verifies, ways.through(ways.strict, signed[1:])))
    (data,) = ways.through(ways.strict, signed[:1])
    assert b"a\rb" in data or not signer.verifies(data)
