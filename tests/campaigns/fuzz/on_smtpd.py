"""avcheck-smtp: a client that says anything in any pieces, and a next hop that does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.deliver.smtp_replies import Reply
from avcheck.exits import Leave
from avcheck.run import Run
from avcheck.smtpd import commands, content
from avcheck.smtpd.dialogue import Dialogue
from avcheck.smtpd.events import Data, End, Hello, Mail, Piece, Relay
from avcheck.smtpd.hop import Hop, Refusal
from tests.campaigns.fuzz.notation import FIELD, PIECE, STEP, fields, mark, pieces, quoted, text
from tests.campaigns.fuzz.on_smtp import REPLY as SAID
from tests.campaigns.fuzz.on_smtp import received
from tests.campaigns.fuzz.peer import Peer, listening
from tests.support.smtp_client import REPLY
from tests.support.wire import settings

END = b"\r\n.\r\n"

# Lines that are handed to the next hop, and what its answers are.
RELAYED = re.compile(rb"(?:MAIL|RCPT|RSET|XFORWARD|XCLIENT)\b.*", re.IGNORECASE)
ANSWERS = {ord("4"): 450, ord("5"): 550}

TAKEN = b"250 2.0.0 taken"
REFUSED = b"550 5.7.1 refused"


class Played:
    """A session that answers the dialogue, and checks what it is told.

    hop has a digit for each answer of the next hop, and verdicts one for each message: y it is
    taken, p it is not even received, anything else: it is refused.
    """

    def __init__(self, hop: bytes, verdicts: bytes) -> None:
        self.dialogue = Dialogue(b"mx", xclient=True)
        self.said = b""
        self.taken = 0
        self._hop = iter(hop)
        self._verdicts = iter(verdicts)
        self._heard = b""
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._content: bytearray | None = None
        self._from = 0

    def hears(self, piece: bytes) -> None:
        self._heard += piece
        self.dialogue.receive(piece)
        while (event := self.dialogue.next()) is not None:
            self._do(event)
        self.said += self.dialogue.output
        self.dialogue.output = b""

    def _do(self, event: object) -> None:
        dialogue = self.dialogue
        if isinstance(event, Hello):
            self._sender = None
            dialogue.greet([b"PIPELINING"], event.extended)
        elif isinstance(event, Mail):
            dialogue.allow()
        elif isinstance(event, Relay):
            assert event.commands
            dialogue.answer([self._answer(each) for each in event.commands])
        elif isinstance(event, Data):
            self._begins()
        elif isinstance(event, Piece):
            assert self._content is not None
            self._content += event.content
        else:
            assert isinstance(event, End)
            self._ends(event.doubt)

    def _answer(self, command: commands.Command) -> Reply:
        assert RELAYED.fullmatch(command.line), command.line
        assert command.line.isascii() or b"\r" not in command.line
        code = ANSWERS.get(next(self._hop, 0), 250)
        if command.verb == b"MAIL":
            assert self._sender is None, "a transaction in another one"
            if code == 250:
                self._sender, self._recipients = command.address, []
        elif command.verb == b"RCPT" and code == 250 and self._sender is not None:
            self._recipients.append(command.address)
        elif command.verb == b"RSET":
            self._sender = None
        return Reply(code, (b"first", b"second"))

    def _begins(self) -> None:
        transaction = self.dialogue.transaction
        assert transaction
        assert self._sender == transaction.sender
        assert self._recipients == transaction.recipients != []
        if next(self._verdicts, ord("y")) == ord("p"):
            self._sender = None
            self.dialogue.finish(b"451 4.3.2 paused")
            return
        self._content = bytearray()
        self._from = len(self._heard)  # nothing has come that would be content
        self.dialogue.go_ahead()

    def _ends(self, doubt: bytes) -> None:
        """The content is what RFC 5321 says that it is, to the letter."""
        wire = b"\r\n" + self._heard[self._from :]
        wire = wire[2 : wire.index(END) + 2]
        assert bytes(self._content or b"") == re.sub(rb"(\A|\r\n)\.", rb"\1", wire)
        assert bool(doubt) == is_doubtful(wire)
        self._content = None
        self._sender = None
        if next(self._verdicts, ord("y")) == ord("y"):
            self.taken += 1
            self.dialogue.finish(TAKEN)
        else:
            self.dialogue.finish(REFUSED)


def is_doubtful(wire: bytes) -> bool:
    """Whether another server may find an end in it, or take away a dot that is none of SMTP's."""
    ends = rb"(?:\r\n|\r|\n)"
    return bool(
        re.search(rb"(?:\A|" + ends + rb")\." + ends, wire) or re.search(rb"(?<!\r)\n\.", wire)
    )


def dialogue(data: bytes) -> None:
    """ANSWERS OF THE HOP/VERDICTS/WHAT THE CLIENT SAYS IN PIECES."""
    hop, verdicts, said = fields(data, 3)
    play = Played(text(hop), text(verdicts))
    for piece in [b"", *pieces(said)]:
        play.hears(piece)
    assert REPLY.sub(b"", play.said) == b"", "not only replies"
    replies = [each.group() for each in REPLY.finditer(play.said)]
    assert replies[0].startswith(b"220 ")
    assert replies.count(TAKEN + b"\r\n") == play.taken
    if play.dialogue.closing:
        assert replies[-1][:3] in (b"221", b"421")


def dialogues() -> Iterator[bytes]:
    hello, quits = b"EHLO c\r\n", b"QUIT\r\n"
    envelope = b"MAIL FROM:<a@x> SIZE=9\r\n", b"RCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
    letters = (b"Hello.\r\n.\r\n", b"..\r\n.x\r\n\r\n.\r\n", b".\r\n", b"a\n.\nb\r.\r\r\n.\r\n")
    for hop, verdicts in (
        (b"", b""),
        (b"255", b"n"),
        (b"5", b""),
        (b"22222", b"py"),
        (b"242", b"n"),
        (b"4", b""),
    ):
        for letter in letters:
            said = [hello, *envelope, b"DATA\r\n", letter, *envelope, b"DATA\r\n", letter, quits]
            yield mark(FIELD).join((hop, verdicts, mark(PIECE).join(said)))
    for words in (
        [b"HELO c\r\nMAIL FROM:<>\r\nRSET\r\nNOOP x\r\n"],
        [hello, b"XFORWARD NAME=x IDENT=4A ADDR=[UNAVAILABLE]\r\n", *envelope],
        [hello, b"XCLIENT NAME=x ADDR=192.0.2.1\r\n", hello, *envelope],
        [hello, *envelope, b"DATA\r\nSubject: x\r\n"],
        [b"x" * 3000 + b"\r\nDATA\r\nRCPT\r\nSTARTTLS\r\nMAIL FROM:<a@x>\n"],
        [b'MAIL FROM:<"a>\\"b"@x> X=y\r\n', b"\0\r\n" * 21],
    ):
        yield mark(FIELD) * 2 + mark(PIECE).join(words)


def received_content(data: bytes) -> None:
    """WIRE IN PIECES: content, its end and the doubt do not depend on the pieces."""
    (field,) = fields(data, 1)
    wire = b"".join(pieces(field)) + END
    end = (b"\r\n" + wire).index(END)
    wanted = re.sub(rb"(\A|\r\n)\.", rb"\1", wire[:end])
    rest = wire[end + len(END) - 2 :]
    for cut in (pieces(field), [wire[at : at + 1] for at in range(len(wire))], []):
        taker = content.Content()
        given = b"".join(cut)
        found, after = b"", b""
        for piece in [*cut, wire[len(given) :]]:
            if taker.ended:
                after += piece
            else:
                found += taker.feed(piece)
        assert taker.ended
        assert found == wanted
        assert taker.rest + after == rest
        assert bool(taker.doubt) == is_doubtful(wire[:end]), taker.doubt


def wires() -> Iterator[bytes]:
    ends = (b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n")
    for first in ends:
        for last in ends:
            yield quoted(b"a" + first + b"." + last + b"b")
            yield quoted(b"a" + first) + mark(PIECE) + quoted(b"." + last)
    yield b"..\r\n.a\r\n"
    yield b"\n.a"


# The next hop.

OPTIONS = settings(b"-S", b"unix:/run/smtp")
ENVELOPE = (b"MAIL FROM:<a@x>\r", b"RCPT TO:<b@x>\r", b"RCPT TO:<c@x>\r")


def hop(data: bytes) -> None:
    """MESSAGE/WHAT THE NEXT HOP SAYS, who gets an envelope and maybe the message."""
    letter, said = fields(data, 2)
    given = text(letter) + b"\r\n"
    peer = Peer(said)
    run = Run()
    with listening(peer), received([*pieces(letter), b"\r\n"]) as message:
        message.by_smtp = message.crlf = True
        next_hop = Hop(OPTIONS)
        try:
            next_hop.offers(False)
            replies = next_hop.ask([commands.parse(line) for line in ENVELOPE])
            assert len(replies) == len(ENVELOPE)
            assert all(reply.code // 100 in (2, 4, 5) for reply in replies)
            # What the client is told, the next hop has said.
            said_codes = [each[1] or each[2] for each in SAID.finditer(bytes(peer.delivered))]
            told = [b"%d" % reply.code for reply in replies]
            assert any(
                said_codes[at : at + len(told)] == told for at in range(2, len(said_codes))
            ), (said_codes, told)
            if replies[0].code // 100 != 2 or all(each.code // 100 != 2 for each in replies[1:]):
                next_hop.drop()
                return
            words = next_hop.send(message, b"", run)
        except Leave as why:
            _is_no(why, peer, run)
            return
    assert words.isprintable()
    assert run.handed_over == 0
    sends = peer.sends
    (data_at,) = [at for at, (sent, _) in enumerate(sends) if sent == b"DATA\r\n"]
    wire = b"".join(sent for sent, _ in sends[data_at + 1 :] if sent != b"QUIT\r\n")
    assert (b"\r\n" + wire).index(END) == len(wire) + 2 - len(END)
    assert re.sub(rb"(\A|\r\n)\.", rb"\1", wire.removesuffix(b".\r\n")) == given
    # What was to be read since the dot is a yes, and nothing more but a goodbye.
    dot_at = max(at for at, (sent, _) in enumerate(sends) if (b"\n" + sent).endswith(b"\n.\r\n"))
    answer = SAID.match(peer.said()[len(sends[dot_at][1]) :])
    assert answer
    assert answer[0].startswith(b"2")
    more = peer.said()[len(sends[dot_at][1]) + answer.end() :]
    assert not more or more.startswith(b"421")


def _is_no(why: Leave, peer: Peer, run: Run) -> None:
    """Nobody has the message, or that is said; and a no for good is the hop's."""
    assert why.text.isprintable()
    assert run.handed_over is None
    if isinstance(why, Refusal):
        assert why.reply.code // 100 in (4, 5)
        assert b"%d" % why.reply.code in bytes(peer.delivered)
        return
    assert why.code.startswith("4.")
    dotted = any((b"\n" + sent).endswith(b"\n.\r\n") for sent, _ in peer.sends)
    # A no that judges no mail is still one.
    assert not dotted or "possible duplicate" in why.text or re.search(r": 5\d\d ", why.text)


def hops() -> Iterator[bytes]:
    greeting = b"220 mx\r\n"
    yes = b"250 2.1.0 ok\r\n"
    for offer in (b"250-mx\r\n250 PIPELINING\r\n", b"250 mx\r\n"):
        for envelope in ([yes] * 3, [yes, b"550 5.1.1 no\r\n", yes], [b"451 4.3.0 no\r\n"] * 3):
            for last in (
                b"250 2.0.0 taken\r\n",
                b"554-5.7.1 no\r\n554 5.7.1 no\r\n",
                b"250 2.0.0 a\r\n451 b\r\n",
                b"250 5.0.0 x\r\n",
                b"",
            ):
                steps = [greeting, offer, b"".join(envelope), b"354 go\r\n", last, b"221 bye\r\n"]
                if b"PIPELINING" not in offer:
                    steps[2:3] = envelope
                yield b"A: b\r\n\r\n.c\r\n" + mark(FIELD) + mark(STEP).join(steps)
    yield b"x" + mark(FIELD) + b"554 no\r\n"
    yield b"x" + mark(FIELD) + mark(STEP).join([greeting, b"250 mx\r\n", b"503 5.5.1 no\r\n"])
