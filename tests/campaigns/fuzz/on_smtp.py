"""A mail server that says anything, and a message of any bytes in any pieces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from avcheck import incoming, process
from avcheck.deliver import smtp, smtp_words
from avcheck.exits import REJECT, TEMPFAIL, Leave
from avcheck.run import Run
from avcheck.settings import Settings
from avcheck.spool import Message
from tests.campaigns.fuzz.letter import directory
from tests.campaigns.fuzz.notation import (
    FIELD,
    PIECE,
    SILENCE,
    STEP,
    fields,
    mark,
    pieces,
    text,
)
from tests.campaigns.fuzz.peer import Peer, listening
from tests.support.wire import SENDER, settings

# A reply: the same code in all lines, a dash after it in all but the last.
REPLY = re.compile(rb"(?:(\d\d\d)-[^\n]*\n(?:\1-[^\n]*\n)*\1|(\d\d\d))(?:[ ][^\n]*|\r?)\n")


@contextmanager
def received(content: list[bytes], size: int = process.PIECE) -> Iterator[Message]:
    """The message that comes in these pieces, read back in pieces of that size."""
    before = incoming._read, process.PIECE
    pieces_left = iter([piece for piece in content if piece])
    incoming._read = lambda stdin: next(pieces_left, b"")
    process.PIECE = size
    try:
        with Message(directory(), SENDER, False) as message:
            message.fill(incoming.Incoming(-1))
            yield message
    finally:
        incoming._read, process.PIECE = before


# A byte of the data says how many recipients there are, and what becomes of a refusal.
OPTIONS = [
    settings(b"-S", b"unix:/run/smtp", b"--refused", refused, b"--", *more)
    for refused in (b"defer", b"bounce")
    for more in ((), (b"b@example.net",), (b"b@example.net", b"c@example.net"))
]


def codes(said: bytes) -> list[int] | None:
    """The codes of the replies that the words are; None for words that are not."""
    found = []
    while said:
        reply = REPLY.match(said)
        if not reply:
            return None
        found.append(int(reply[1] or reply[2]))
        said = said[reply.end() :]
    return found


def conversation(data: bytes) -> None:
    """OPTION MESSAGE/WHAT THE SERVER SAYS.

    Handed on only if the server took every recipient and the message, in the replies to what
    it was asked, the last of them after the final dot; and what it got is the message.
    """
    which, rest = data[:1], data[1:]
    options = OPTIONS[(which[0] - ord("0")) % len(OPTIONS)] if which else OPTIONS[0]
    content, said = fields(rest, 2)
    given = text(content)
    peer = Peer(said)
    with listening(peer), received(pieces(content)) as message:
        try:
            words = smtp.send(message, b"", options, Run())
        except Leave as why:
            _left(why, peer, options)
            return
    assert words.isascii()
    assert words.isprintable()
    sends = peer.sends
    (data_at,) = [at for at, (sent, _) in enumerate(sends) if sent == b"DATA\r\n"]
    dot_at = len(sends) - 1 - (sends[-1][0] == b"QUIT\r\n")
    asked = b"".join(sent for sent, _ in sends[:data_at]).split(b"\r\n")[:-1]
    # All that had been said when the final dot was sent: no reply came before its question.
    before = codes(sends[dot_at][1])
    assert before is not None
    assert len(before) == 1 + len(asked) + 1
    assert before[0] // 100 == 2
    for command, code in zip(asked, before[1:-1], strict=True):
        if command.startswith((b"MAIL FROM:", b"RCPT TO:")):
            assert code // 100 == 2, (command, code)
    assert sum(command.startswith(b"RCPT TO:") for command in asked) == len(options.recipients)
    assert before[-1] // 100 == 3
    answer = REPLY.match(bytes(peer.delivered)[len(sends[dot_at][1]) :])
    assert answer
    assert int(answer[1] or answer[2]) // 100 == 2
    # What was read after it is the answer to QUIT, or the beginning of one.
    after = bytes(peer.delivered)[len(sends[dot_at][1]) + answer.end() :]
    goodbye = after.replace(mark(SILENCE), b"")
    assert re.fullmatch(rb"(?:2\d\d-[^\n]*\n)*(?:2[^\n]*\n?)?|4(?:2(?:1.*)?)?", goodbye, re.DOTALL)
    wire = b"".join(sent for sent, _ in sends[data_at + 1 : dot_at + 1])
    assert unstuffed(wire) == lines(given)


def _left(why: Leave, peer: Peer, options: Settings) -> None:
    assert why.text.isprintable()
    asked = [sent for sent, _ in peer.sends]
    at = asked.index(b"DATA\r\n") if b"DATA\r\n" in asked else len(asked)
    dotted = [before for sent, before in peer.sends[at:] if (b"\n" + sent).endswith(b"\n.\r\n")]
    if why.status == REJECT:
        assert options.refused == "bounce"
        assert re.search(rb"(?m)^55", bytes(peer.delivered)), "it never said so"
        assert why.code.startswith("5.")
        return
    assert why.status == TEMPFAIL
    assert why.code.startswith("4.")
    if dotted:
        # Either the server has answered, and said no, or nobody knows.
        answer = REPLY.match(bytes(peer.delivered)[len(dotted[0]) :])
        said_no = answer and re.match(rb"[45]\d\d(?![ -]2\.)", answer[0])
        assert "possible duplicate" in why.text or said_no, (why.text, answer)
    elif "possible duplicate" in why.text:
        assert b"DATA\r\n" in asked


def lines(content: bytes) -> list[bytes]:
    """The lines of a message, whose first line's end tells what a line's end is in it."""
    first = content.find(b"\n")
    if content[max(first - 1, 0) : first] == b"\r":
        content = content.replace(b"\r\n", b"\n")
    return content.removesuffix(b"\n").split(b"\n") if content else []


def unstuffed(wire: bytes) -> list[bytes]:
    """The lines of what a server gets after DATA, by RFC 5321 4.5.2 to the letter."""
    found: list[bytes] = []
    while True:
        line, end, wire = wire.partition(b"\r\n")
        assert end, "no final dot"
        assert b"\n" not in line, "a line end that is not CRLF"
        if line == b".":
            assert not wire, "goes on after the final dot"
            return found
        found.append(line.removeprefix(b"."))


GOOD: list[tuple[bytes, ...]] = [
    (b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n", b"250 ok\r\n" * 2, b"354 go\r\n"),
    (b"220 mx\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"),
    (b"220 mx\r\n", b"500 what\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"),
    (
        b"220-mx\r\n220 mx\r\n",
        b"250-mx\r\n250-8BITMIME\r\n250 DSN\r\n",
        b"250 ok\r\n",
        b"550 5.1.1 no\r\n",
    ),
    (b"220 mx\r\n", b"250 mx\r\n", b"552 5.3.4 too big\r\n"),
    (b"421 busy\r\n",),
]
MESSAGES = (
    b"Subject: x\n\n.\n..\nHello.\n",
    b"\n.\n",
    b".\r\n.\r\n",
    b"",
    b"x\r\xf5,\n.",
    b"\xe4\n",
)


def conversations() -> Iterator[bytes]:
    for letter in MESSAGES:
        for number, steps in enumerate(GOOD):
            for last, goodbye in (
                (b"250 2.0.0 taken\r\n", b"221 bye\r\n"),
                (b"250 2.0.0 taken\r\n", b"554 no\r\n"),
                (b"554 5.7.1 no\r\n", b"221 bye\r\n"),
                (b"450-a\r\n450 b\r\n", b""),
                (b"250 x", b""),
            ):
                said = mark(STEP).join([*steps, last, goodbye])
                yield b"0" + letter + mark(FIELD) + said
                if number < 2:
                    yield (
                        b"5" + letter + mark(FIELD) + said.replace(b"250 ok\r\n", b"250 ok\r\n" * 2)
                    )


# The message alone.

SIZES = (1, 2, 3, 5, 8, 64, process.PIECE)


def stuffing(data: bytes) -> None:
    """SIZE HEADER/MESSAGE IN PIECES: what SMTP, a program and -c send of it are its bytes."""
    which, rest = data[:1], data[1:]
    size = SIZES[(which[0] - ord("0")) % len(SIZES)] if which else SIZES[0]
    first, second = fields(rest, 2)
    header = bytes(byte for byte in text(first) if 0x20 <= byte < 0x7F)
    content = pieces(second)
    given = b"".join(content)
    with received(content, size) as message:
        assert b"".join(message.pieces()) == given
        assert message.size == len(given)
        assert message.eight_bit == any(byte > 0x7F for byte in given)
        wire = b"".join(smtp_words.stuffed(message, b""))
        assert unstuffed(wire) == lines(given)
        dots = sum(line.startswith(b".") for line in lines(given))
        # (An LF alone among CRLFs is one byte more on the wire: SIZE is an estimate then.)
        if not (message.crlf and re.search(rb"(?<!\r)\n", given)):
            assert message.wire_size == len(wire) - dots - len(b".\r\n")
        checked = unstuffed(b"".join(smtp_words.stuffed(message, header))) if header else []
        _is_with(checked, header, lines(given))
        for line in (b"", header):
            program = _program_reads(message, line)
            if line:
                _is_with(lines(program), header, lines(given))
            else:
                assert program == given
    pieces_left = iter([piece for piece in content if piece])
    before = incoming._read
    incoming._read = lambda stdin: next(pieces_left, b"")
    try:
        wire = b"".join(smtp_words.stuffed(incoming.Incoming(-1), b""))
    finally:
        incoming._read = before
    assert unstuffed(wire) == lines(given)


def _is_with(found: list[bytes], header: bytes, without: list[bytes]) -> None:
    """The lines are those of the message and the header, and the header is its first.

    Above it may be the line of an mbox, and lines that go on with one that is not there.
    """
    if not header:
        return
    above: tuple[bytes, ...] = (b" ", b"\t", b"From ", b">From ")
    at = 0
    while at < len(without) and found[at] == without[at] and found[at].startswith(above):
        above = (b" ", b"\t")
        at += 1
    assert found[at] == header, (found, header)
    assert [*found[:at], *found[at + 1 :]] == without


def _program_reads(message: Message, header: bytes) -> bytes:
    fd = message.as_stdin(header)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def stuffings() -> Iterator[bytes]:
    texts = (
        b".",
        b"..",
        b".\n",
        b"\n.\n",
        b"\r\n.\r\n",
        b"a\n.\r\n",
        b"a\r\n.\n.\r\n",
        b"a\r",
        b"a\r\r\n.",
        b"\r.\r\n",
        b"a\nb\r\n.\r\n",
        b"From x\nA: b\n\n.",
        b"From x\r\n\r\n.\r\n",
        b"\xe4\n",
        b"",
        b"a\r\n\r.\r\n",
        b"a\n\n.\n.\n..\n",
    )
    for size in range(len(SIZES)):
        for given in texts:
            yield b"%d" % size + mark(FIELD) + given
            cut = mark(PIECE).join(given[at : at + 1] for at in range(len(given)))
            yield b"%dX: y" % size + mark(FIELD) + cut
