"""An envelope of any addresses, and what the dialogue makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.exits import TEMPFAIL, Defer
from tests.campaigns.fuzz.notation import (
    FIELD,
    fields,
    mark,
    quoted,
    text,
)

# The generator alone: envelopes.


def envelope(data: bytes) -> None:
    """SENDER/RECIPIENT/RECIPIENT/ENVID/ORCPT/XFORWARD/LINES OF REPLIES.

    Every command is one line, an address stays within its brackets, and DATA comes after a yes
    for everybody.
    """
    parts = fields(data, 7)
    sender, first, second, envid, original, forward, said = (text(part) for part in parts)
    if any(byte in each for each in (sender, first, second) for byte in (b"\r", b"\n", b"\0")):
        return  # the option reader has refused it
    recipients = (first, second) if second else (first,)
    letter = smtp_words.Envelope(sender, recipients, 4096, None)
    letter.envid = envid if len(envid) <= 100 and all(0x20 <= b < 0x7F for b in envid) else b""
    letter.original = [original] * len(recipients) if original else ()
    letter.notify = b"SUCCESS,FAILURE"
    letter.ret = b"HDRS"
    letter.xforward = [(b"HELO", forward), (b"ADDR", forward), (b"NAME", forward[:40])]
    talk = smtp_dialogue.dialogue(letter, b"host.example")
    replies = smtp_replies.Replies()
    words = iter(said.split(b"\n"))
    taken = 0
    sent = False
    try:
        step = next(talk)
        while True:
            if isinstance(step, smtp_dialogue.Content):
                assert taken == 1 + len(recipients), "DATA, and not everybody was taken"
                sent = True
                step = talk.send([_reply(replies, words)])
                continue
            assert isinstance(step, list)
            answers = []
            for command in step:
                assert len(command) <= 4096 or len(max(data.split(), key=len)) > 400
                assert not any(byte in b"\r\n\0" for byte in command), command
                verb = re.match(COMMAND, command)
                assert verb, command
                answer = _reply(replies, words)
                answers.append(answer)
                if verb.lastgroup == "path":
                    taken += answer.code // 100 == 2
                    _is_path(verb["path"], (sender, *recipients))
            step = talk.send(answers or [_reply(replies, words)])
    except StopIteration as end:
        assert sent
        assert end.value.code // 100 == 2
    except Defer as why:
        assert why.status == TEMPFAIL


QUOTED = rb'"(?:[^"\\\r\n\0]|\\[^\r\n\0])*"'
COMMAND = re.compile(
    rb"(?:EHLO|HELO) host\.example|DATA"
    rb"|XFORWARD(?: (?:HELO|ADDR|NAME)=[!-~]+)+"
    rb"|(?:MAIL FROM|RCPT TO):<(?P<path>(?:" + QUOTED + rb'|[^\x00- "\x7f<>(),:;\\]*)?'
    rb"(?:@[^\0\r\n \t\v\f<>()\\\"@]*)?)>(?: [!-~]+)*"
)


def _is_path(path: bytes, addresses: tuple[bytes, ...]) -> None:
    """The path is one of the addresses, perhaps with its local part in quotes."""
    assert any(path in (address, _quoted_local(address)) for address in addresses), path


def _quoted_local(address: bytes) -> bytes:
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    return b'"' + re.sub(rb'([\\"])', rb"\\\1", local) + b'"' + at + domain


def _reply(replies: smtp_replies.Replies, words: Iterator[bytes]) -> smtp_replies.Reply:
    while True:
        reply = replies.add(next(words, b""))
        if reply is not None:
            return reply


def envelopes() -> Iterator[bytes]:
    offers = (b"a", b"PIPELINING", b"DSN", b"SMTPUTF8", b"8BITMIME", b"XFORWARD HELO ADDR")
    good = b"220 a\n" + b"".join(b"250-" + offer + b"\n" for offer in offers) + b"250 SIZE\n"
    addresses = (
        b"a@b.example",
        b"",
        b"two words@x",
        b'"a b"@x',
        b"a>b@x",
        b"a@b@c",
        b"<a@b>",
        b"\xff@x",
        b"a@[192.0.2.1]",
        b"a@[IPv6:::1]",
        b"a@b> SIZE=1",
        b'"a\\"@x',
        b"-f@x",
        b"a,b@x",
        b"@x",
        b"postmaster",
        b"\xc3\xbc@x",
        b"a\x01b@x\x7f",
        b"a@b\t",
        b"a@b\\",
        b'a@b"',
        b"a@b:c,d;e[",
    )
    for address in addresses:
        for said in (
            good + b"250 ok\n" * 3 + b"354 a\n250 b\n",
            b"220 a\n500 x\n250 x\n" + b"250 ok\n" * 3,
        ):
            words = (b"s@x", address, b"t@x", b"Q Q", b"o@x", b"::1", said)
            yield mark(FIELD).join(quoted(word) for word in words)
            yield mark(FIELD).join(
                quoted(word) for word in (address, address, b"", b"", b"", b"", said)
            )
