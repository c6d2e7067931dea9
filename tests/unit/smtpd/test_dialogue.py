"""The server's side of SMTP: whatever a client sends, however it is cut, and whatever the hop says.

Played with a hop that is a few lines of Python, and a session that does what it is told to.
"""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avcheck.deliver.smtp_replies import Reply
from avcheck.smtpd.dialogue import Dialogue
from avcheck.smtpd.events import Data, End, Hello, Mail, Piece, Relay
from avcheck.smtpd.lines import as_bytes

REPLY = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n")


class Play:
    """A session with a dialogue: what was said, what the hop was told, and what was taken."""

    def __init__(self, hop: str = "", verdicts: str = "", xclient: bool = False) -> None:
        self.dialogue = Dialogue(b"mx", xclient)
        self.relayed: list[bytes] = []
        self.messages: list[tuple[bytes, tuple[bytes, ...], bytes]] = []
        self.said = b""
        self._hop = iter(hop)
        self._verdicts = iter(verdicts)
        self._content: bytes | None = None

    def hears(self, *pieces: bytes) -> Play:
        for piece in pieces:
            self.dialogue.receive(piece)
            while (event := self.dialogue.next()) is not None:
                self._do(event)
            self.said += self.dialogue.output
            self.dialogue.output = b""
        return self

    @property
    def codes(self) -> list[int]:
        """The codes of all that was said, which has to be nothing but replies."""
        replies = REPLY.findall(self.said)
        assert b"".join(replies) == self.said
        return [int(each[:3]) for each in replies]

    def _do(self, event: object) -> None:
        dialogue = self.dialogue
        if isinstance(event, Hello):
            dialogue.greet([b"PIPELINING"], event.extended)
        elif isinstance(event, Mail):
            dialogue.allow()
        elif isinstance(event, Relay):
            assert event.commands
            self.relayed += [each.line for each in event.commands]
            dialogue.answer([self._answer() for _ in event.commands])
        elif isinstance(event, Data):
            assert self._content is None
            if next(self._verdicts, "y") == "p":  # paused
                dialogue.finish(b"451 4.3.2 paused")
            else:
                self._content = b""
                dialogue.go_ahead()
        elif isinstance(event, Piece):
            assert self._content is not None
            self._content += event.content
        else:
            assert isinstance(event, End)
            self._finish()

    def _finish(self) -> None:
        content, self._content = self._content, None
        transaction = self.dialogue.transaction
        assert content is not None
        assert transaction
        assert transaction.recipients
        if next(self._verdicts, "y") == "y":
            self.messages.append((transaction.sender, tuple(transaction.recipients), content))
            self.dialogue.finish(b"250 2.0.0 taken %d" % len(self.messages))
        else:
            self.dialogue.finish(b"550 5.7.1 refused")

    def _answer(self) -> Reply:
        code = {"5": 550, "4": 450}.get(next(self._hop, "2"), 250)
        return Reply(code, (b"first", b"second"))


GOOD = (
    b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n",
    b"DATA\r\n",
    b"Hi\r\n.\r\n",
    b"QUIT\r\n",
)


def test_a_message_is_taken() -> None:
    play = Play().hears(*GOOD)
    assert play.messages == [(b"a@x", (b"b@x", b"c@x"), b"Hi\r\n")]
    assert play.codes == [220, 250, 250, 250, 250, 354, 250, 221]
    assert play.dialogue.closing


def test_a_refused_recipient_is_none_of_the_message() -> None:
    play = Play(hop="252").hears(*GOOD)
    assert play.messages == [(b"a@x", (b"c@x",), b"Hi\r\n")]
    assert b"550-first\r\n550 second\r\n" in play.said


def test_without_a_recipient_there_is_no_message() -> None:
    play = Play(hop="255").hears(*GOOD)
    assert play.messages == []
    assert 354 not in play.codes


def test_a_recipient_of_a_sender_that_was_refused_is_refused() -> None:
    """Whatever the next hop says to it."""
    play = Play(hop="522").hears(*GOOD[:1])
    assert play.codes == [220, 250, 550, 503, 503]
    assert play.dialogue.transaction is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"MAIL FROM:<a@x>", 503),
        (b"EHLO c\r\nRCPT TO:<a@x>", 503),
        (b"EHLO c\r\nDATA", 503),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<a@x>", 503),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nDATA", 503),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nXFORWARD NAME=x", 503),
        (b"XFORWARD NAME=x", 503),
        (b"EHLO c\r\nXFORWARD DOMAIN=x", 501),
        (b"EHLO c\r\nXCLIENT NAME=x", 550),
        (b"XCLIENT NAME=x", 503),
        (b"NOOP " + b"x" * 2048, 500),
        (b"x" * 100_000, 500),
        (b"EHLO c\nNOOP", 500),
    ],
)
def test_what_is_out_of_order_is_refused(words: bytes, code: int) -> None:
    play = Play().hears(words + b"\r\n")
    assert code in play.codes
    assert play.messages == []


def test_a_line_that_is_too_long_is_refused_as_one() -> None:
    play = Play().hears(b"x" * 3000, b"MAIL FROM:<a@x>" * 200, b"\r\nNOOP\r\n")
    assert play.codes == [220, 500, 250]


def test_hello_ends_a_transaction() -> None:
    play = Play().hears(GOOD[0], b"HELO c\r\nDATA\r\n")
    assert play.codes[-2:] == [250, 503]
    assert play.said.endswith(b"250 mx\r\n503 5.5.1 Error: need MAIL command\r\n")


def test_a_reset_ends_a_transaction() -> None:
    play = Play().hears(GOOD[0], b"RSET\r\nDATA\r\n")
    assert play.relayed[-1] == b"RSET"
    assert play.codes[-2:] == [250, 503]
    # Where there is nothing to be reset the next hop is not asked.
    assert Play().hears(b"EHLO c\r\nRSET\r\n").relayed == []


def test_attributes_are_for_one_message() -> None:
    play = Play().hears(b"EHLO c\r\nXFORWARD NAME=x IDENT=1\r\n")
    assert play.dialogue.attributes == {b"NAME": b"x", b"IDENT": b"1"}
    play.hears(GOOD[0].partition(b"\r\n")[2], b"DATA\r\n", b".\r\n")
    assert play.dialogue.attributes == {}
    assert Play(hop="5").hears(b"EHLO c\r\nXFORWARD NAME=x\r\n").dialogue.attributes == {}


def test_what_the_client_says_at_once_the_hop_is_told_at_once() -> None:
    """As smtp(8) does with PIPELINING: a round trip for each command would be four of them."""
    play = Play().hears(b"EHLO c\r\n")
    at_once = [b"XFORWARD NAME=a", b"XFORWARD IDENT=b", b"MAIL FROM:<s@x>", b"RCPT TO:<r@x>"]
    dialogue = play.dialogue
    dialogue.receive(b"".join(each + b"\r\n" for each in (*at_once, b"DATA")))
    assert isinstance(dialogue.next(), Mail)
    dialogue.allow()
    relayed = dialogue.next()
    assert isinstance(relayed, Relay)
    assert [each.line for each in relayed.commands] == at_once


def test_after_xclient_there_is_another_hello() -> None:
    play = Play(xclient=True).hears(b"EHLO c\r\nXCLIENT ADDR=192.0.2.1\r\nMAIL FROM:<a@x>\r\n")
    assert play.dialogue.client == {b"ADDR": b"192.0.2.1"}
    assert play.codes[-1] == 503


def test_the_last_error_is_one_after_the_answers_to_what_came_before() -> None:
    play = Play().hears(b"EHLO c\r\nMAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>\r\n" + b"X\r\n" * 30)
    assert play.codes == [220, 250, 250, 250, *[500] * 19, 421]
    assert play.dialogue.closing


def test_errors_are_counted_from_the_last_message_on() -> None:
    play = Play()
    for _ in range(3):
        play.hears(b"X\r\n" * 12, *GOOD[:3])
    assert len(play.messages) == 3


def test_a_cr_in_the_next_hop_s_words_ends_no_line() -> None:
    assert as_bytes(Reply(250, (b"a\rb", b"c\r"))) == b"250-a b\r\n250 c \r\n"


def test_a_session_retires_between_two_messages_only() -> None:
    play = Play().hears(GOOD[0])
    play.dialogue.retiring = b"421 4.3.2 enough"
    play.hears(*GOOD[1:3])
    assert play.codes[-1] == 250
    play.hears(b"MAIL FROM:<a@x>\r\n")
    assert play.codes[-1] == 421
    assert len(play.messages) == 1


def test_content_that_comes_too_early_is_not_taken_for_commands() -> None:
    play = Play(verdicts="p").hears(GOOD[0], b"DATA\r\nMAIL FROM:<evil@x>\r\n.\r\n")
    assert play.codes[-1] == 421
    assert play.dialogue.closing


COMMANDS = st.sampled_from(
    [
        *(b"EHLO c\r\n", b"HELO c\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"DATA\r\n"),
        *(b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>\r\n", b"RCPT TO:<c@x>\r\n", b"\r\n"),
        *(b"XFORWARD IDENT=1\r\n", b"BOGUS\r\n", b"MAIL FROM:<a@x>\n", b"RCPT TO:<\0@x>\r\n"),
        *(b"Hello.\r\n", b".\r\n", b"\n.\n", b"\r.\r", b"..\r\n", b"x" * 2100, b"\r"),
    ]
)
STREAMS = st.lists(COMMANDS, max_size=25).map(lambda words: b"EHLO c\r\n" + b"".join(words))
ANSWERS = st.text("22245", max_size=20)
VERDICTS = st.text("yynp", max_size=10)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(each, len(stream)) for each in cuts), len(stream)]
    return [stream[first:last] for first, last in itertools.pairwise(places)]


@given(STREAMS, ANSWERS, VERDICTS, CUTS)
@example(b"".join(GOOD), "", "", [46])
def test_there_are_as_many_yeses_as_messages(
    stream: bytes, answers: str, verdicts: str, cuts: list[int]
) -> None:
    play = Play(answers, verdicts).hears(*cut(stream, cuts))
    taken = re.findall(rb"^250 2\.0\.0 taken (\d+)\r$", play.said, re.MULTILINE)
    assert taken == [b"%d" % number for number in range(1, len(play.messages) + 1)]
    # Nothing but commands of the envelope is passed on.
    assert all(re.match(rb"(MAIL|RCPT|RSET|XFORWARD)\b", line) for line in play.relayed)
    assert play.codes[0] == 220
    assert play.codes.count(354) <= len(play.messages) + play.codes.count(550) + 1


@given(st.lists(COMMANDS, max_size=25), ANSWERS, VERDICTS, CUTS)
def test_where_a_stream_is_cut_makes_no_difference(
    words: list[bytes], answers: str, verdicts: str, cuts: list[int]
) -> None:
    """But for DATA, after which a client has to wait."""
    stream = b"EHLO c\r\n" + b"".join(word for word in words if word != b"DATA\r\n")
    whole = Play(answers, verdicts).hears(stream)
    pieces = Play(answers, verdicts).hears(*cut(stream, cuts))
    assert (pieces.said, pieces.messages) == (whole.said, whole.messages)
    assert pieces.relayed == whole.relayed


@given(st.binary(max_size=300), CUTS)
def test_the_content_is_taken_up_to_its_end(content: bytes, cuts: list[int]) -> None:
    wire = content.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"
    if content.startswith(b"."):
        wire = b"." + wire
    play = Play().hears(*GOOD[:2], *cut(wire, cuts))
    assert [message for _, _, message in play.messages] == [content + b"\r\n"]
    assert play.codes[-1] == 250
