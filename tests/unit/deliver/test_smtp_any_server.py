"""A mail server that says anything at all, at any time, in any pieces; and one that never ends.

The whole conversation over a socket, against a server that is a script: after each thing
that is sent to it, it says its next words.  Whether avcheck was right to believe that the
message is taken is decided here once more, by a parser of one regular expression.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import tracemalloc
from collections.abc import Iterator, Sequence
from time import monotonic

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from avcheck import conn, stream
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.deliver.smtp import Talk
from avcheck.exits import TEMPFAIL, Leave
from tests.support import wire

PATIENCE = 20.0

RECIPIENTS = (b"a@example.net", b"b@example.net", b"c@example.net")
MESSAGE = b"Subject: x\n\n.\nHello.\n"
DOT = b"\r\n.\r\n"


class Last(bytes):
    """Words after which the server hangs up."""


HANG_UP = Last(b"")

REPLY = re.compile(rb"(?:(\d\d\d)-[^\n]*\n(?:\1-[^\n]*\n)*\1|(\d\d\d))(?:[ ][^\n]*|\r?)\n")

# Another 2xx, or as much of it as came; the lines of one have one code.
GOODBYE = re.compile(
    rb"(?:(2\d\d)-[^\n]*\n(?:\1-[^\n]*\n)*(?:\1[ ][^\n]*\n|\1\r?\n)?"
    rb"|2\d\d(?:[ ][^\n]*|\r?)\n)?"
    rb"|(?:2\d\d-[^\n]*\n)*2[^\n]*"
)


class Scripted(socket.socket):
    """Our end of a connection to a server that says its next words after each send.

    The server does nothing of its own accord: what it says is there before anybody reads,
    and when there is nothing there, the deadline has come.
    """

    def __init__(self, script: Sequence[bytes]) -> None:
        ours, self.server = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self._script = iter(script)
        self.sent: list[bytes] = []
        self.said: list[bytes] = []  # what was there to be read before each of sent, and after
        self._gone = False
        self._speak()

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        super().sendall(data)
        self.sent.append(data)
        taken = 0
        while taken < len(data) and not self._gone:
            taken += len(self.server.recv(len(data)))
        self._speak()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        # What the server has to say it has said: nobody waits for the deadline.
        if self.gettimeout() and not select.select([self], [], [], 0)[0]:
            raise TimeoutError
        return super().recv(size)

    def _speak(self) -> None:
        words = next(self._script, HANG_UP)
        self.said.append(words)
        if not self._gone:
            self.server.sendall(words)
        if isinstance(words, Last):
            self._gone = True
            self.server.close()

    def close(self) -> None:
        self.server.close()
        super().close()


class Letter:
    """A message of which only one piece is ever in memory."""

    crlf: bool | None = None

    def __init__(self, pieces: Iterator[bytes], size: int | None, eight_bit: bool | None) -> None:
        self._pieces = pieces
        self.size = size
        self.eight_bit = eight_bit

    def pieces(self, header: bytes) -> Iterator[bytes]:
        return self._pieces


def talk(sock: socket.socket, letter: Letter, *words: bytes) -> smtp_replies.Reply | Leave:
    """The whole conversation, as deliver_smtp.send has it once it is connected; how it ends."""
    try:
        return _talk(sock, letter, *words)
    except Leave as why:
        return why


def _talk(sock: socket.socket, letter: Letter, *words: bytes) -> smtp_replies.Reply:
    options = wire.settings(*words)
    envelope = smtp_words.Envelope(wire.SENDER, RECIPIENTS, letter.size, letter.eight_bit)
    envelope.xforward = options.xforward
    with Conn(sock, Address(path=b"/server"), monotonic() + PATIENCE) as link:
        conversation = Talk(link, options, wire.new_run())
        try:
            dialogue = smtp_dialogue.dialogue(envelope, b"host.example", options.tls)
            return conversation.through(dialogue, letter, b"")  # type: ignore[arg-type]
        finally:
            conversation.quit()


YES = [b"250 2.0.0 ok\r\n", b"250-ok\r\n250 ok\r\n", b"250\r\n", b"251 forwards\n"]
OFFER = b"250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
WORDS = st.one_of(
    st.sampled_from([*YES, *YES, OFFER, b"354 go\r\n", b"220 mx\r\n"]),
    st.sampled_from(
        [
            b"",
            b"\r\n",
            b"550 5.1.1 no\r\n",
            b"450 no\r\n",
            b"421 closing\r\n",
            b"250-",
            b"250 ok",
            b"250 ok\r",
            b"354",
            b"354-",
            b"250-a\r\n354 b\r\n",
            b"550-a\r\n250 b\r\n",
            b"354 go\r\n250 taken\r\n",
            b"250 taken\r\n554 no\r\n",
            b"221 bye\r\n",
            b"250 5.1.1 no\r\n",
            HANG_UP,
        ]
    ),
    st.binary(max_size=20),
    st.integers(0, 999).map(lambda code: b"%03d text\r\n" % code),
)
# What takes a conversation to its end, so that what is said at the end matters.
GOOD = [b"220 mx\r\n", OFFER, b"250 ok\r\n" * 4, b"354 go\r\n", b"250 taken\r\n"]
LONG = [*GOOD, b"221 bye\r\n"]
SLOW = [b"220 mx\r\n", b"250 mx\r\n", *[b"250 ok\r\n"] * 4, *GOOD[3:], b"221 bye\r\n"]


@st.composite
def scripts(draw: st.DrawFn) -> list[bytes]:
    """A good conversation with a few changes, or anything."""
    script: list[bytes] = list(draw(st.sampled_from([GOOD, LONG, SLOW, []])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(script)))
        how = draw(st.sampled_from(["insert", "replace", "append", "cut", "hang up"]))
        if how == "insert" or at == len(script):
            script.insert(at, draw(WORDS))
        elif how == "replace":
            script[at] = draw(WORDS)
        elif how == "append":
            script[at] += draw(WORDS)
        else:
            words = script[at][: draw(st.integers(0, len(script[at])))]
            script[at] = words if how == "cut" else Last(words)
    return script


def codes(said: list[bytes]) -> list[bytes] | None:
    """The codes of the replies that the words are, or None for words that are not."""
    found: list[bytes] = []
    words = b"".join(said)
    while words:
        reply = REPLY.match(words)
        if not reply:
            return None
        found.append(reply[1] or reply[2])
        words = words[reply.end() :]
    return found


@example([*GOOD[:3], b"354 go\r\n250 taken\r\n", b""])
@example([*GOOD[:3], b"354 go\r\n250 taken\r\n", b"554 no\r\n", b"221 bye\r\n"])
@example([*GOOD, b"554 no\r\n221 bye\r\n"])
@example([*GOOD, b"250 taken\r\n221 bye\r\n"])
@example([*GOOD, b"250 bye\r\n"])
@example([*GOOD, b"221 bye\r\n554 no\r\n"])
@example([*GOOD, b"55"])
@example([*GOOD[:3], Last(b"354 go\r\n250 taken\r\n")])
@example([*GOOD[:4], Last(b"250 taken\r")])
@example([*GOOD[:2], b"250 ok\r\n" * 3 + b"550-no\r\n250 ok\r\n", *GOOD[3:]])
@settings(max_examples=1500)
@given(script=scripts())
def test_whatever_a_server_says_a_yes_to_the_final_dot_is_the_only_success(
    script: list[bytes],
) -> None:
    sock = Scripted(script)
    ended = talk(sock, Letter(iter([MESSAGE]), len(MESSAGE), False), b"--refused", b"bounce")
    data = [at for at, words in enumerate(sock.sent) if words == b"DATA\r\n"]
    if data:
        # Before DATA every recipient was taken, by words that were there to be read.
        replies = codes(sock.said[: data[0] + 1])
        assert replies is not None
        commands = b"".join(sock.sent[: data[0]]).count(b"\r\n")
        assert len(replies) == 1 + commands  # that of the connection came first
        assert all(code.startswith(b"2") for code in replies[-len(RECIPIENTS) - 1 :])
    dots = [at for at, words in enumerate(sock.sent) if words.endswith(DOT)]
    if isinstance(ended, Leave):
        assert ended.status == TEMPFAIL
        event(f"deferred after {len(sock.sent)}")
        return
    event("delivered")
    (dot,) = dots
    assert dot == data[0] + 1
    # The answer was not there before the dot, nor anything that would be taken for it.
    assert len(codes(sock.said[: dot + 1]) or ()) == 1 + commands + 1
    after = b"".join(sock.said[dot + 1 :])
    yes = REPLY.match(after)
    assert yes
    assert (yes[1] or yes[2]) == b"%d" % ended.code
    assert ended.code // 100 == 2
    # And nothing that came after it was another answer: only a goodbye, or the beginning of one.
    assert GOODBYE.fullmatch(after[yes.end() :])


@settings(max_examples=300)
@given(script=scripts(), cut=st.integers(0, 20))
def test_a_script_cut_short_delivers_only_when_the_answer_to_the_dot_is_in_it(
    script: list[bytes], cut: int
) -> None:
    """A cut anywhere: what remains of a line that was cut off is not taken for a line."""
    sock = Scripted([*script[:-1], *(Last(words[:cut]) for words in script[-1:])])
    if isinstance(talk(sock, Letter(iter([MESSAGE]), len(MESSAGE), False)), Leave):
        return
    (dot,) = [at for at, words in enumerate(sock.sent) if words.endswith(DOT)]
    assert re.match(rb"2\d\d[- ]?.*\n", sock.said[dot + 1])


class Leaving(Scripted):
    """A server that says yes, and is gone, in the moment before the final dot is sent."""

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        if data.endswith(DOT):
            self._speak()
        super().sendall(data)


def test_a_yes_to_a_dot_that_could_not_be_sent_is_no_yes() -> None:
    sock = Leaving([*GOOD[:-1], Last(GOOD[-1])])
    ended = talk(sock, Letter(iter([MESSAGE]), len(MESSAGE), False))
    assert isinstance(ended, Leave)
    assert ended.status == TEMPFAIL
    assert "possible duplicate" in ended.text  # it has taken something


# Memory.

# A reply as declared in smtp_dialogue.py and conn.py, the line that is being read included, and
# what Python needs for it; the pieces of the message that are on their way: as read, as stuffed
# (at most twice as long), and as gathered.
REPLY_MAX = smtp_replies.REPLY_LINES_MAX * (conn.LINE_MAX + 100) + 4 * stream.RECEIVE_MAX
PIECES_MAX = 10 * 64 * 1024


@contextlib.contextmanager
def peak_of_memory() -> Iterator[list[int]]:
    """The most memory that Python's objects took in the block, once it is left."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


class Endless(Scripted):
    """A server that has no end of words; `taken` is how many bytes of them were read."""

    def __init__(self, script: Sequence[bytes], words: bytes) -> None:
        self._words = words
        self.taken = 0
        self._begun = 0
        super().__init__(script)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if len(self.said) <= len(GOOD) and self.said[-1]:
            return super().recv(size)
        self.taken += size
        assert self.taken < 1 << 24, "it reads on and on"
        words = self._words[self._begun :] + self._words * (size // len(self._words) + 1)
        self._begun = (self._begun + size) % len(self._words)
        return words[:size]


ENDLESS = {
    "a line": b"x",
    "a line of a reply": b"250-" + b"x" * (1 << 20),
    "short lines": b"250-x\r\n",
    "empty lines": b"\n",
    "lines as long as they may be": b"250-" + b"x" * (conn.LINE_MAX - 10) + b"\r\n",
    "replies": b"250 ok\r\n",
    "other replies": b"354 go\r\n",
    "NUL": b"\0",
}


@pytest.mark.parametrize("words", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("step", range(len(GOOD)))
def test_a_reply_without_end_is_not_kept(step: int, words: bytes) -> None:
    script: list[bytes] = [*GOOD[:step], *[b""] * 10]
    sock = Endless(script, words)
    with peak_of_memory() as peak:
        ended = talk(sock, Letter(iter([MESSAGE]), len(MESSAGE), False))
    assert isinstance(ended, Leave)
    assert sock.taken <= REPLY_MAX
    assert peak[0] <= 2 * REPLY_MAX + PIECES_MAX


CONTENTS = {
    "dots": b"\n.",
    "lines": b"x" * 70 + b"\n",
    "empty lines": b"\n",
    "CRLF": b"x\r\n",
    "CR": b"\r",
    "one line": b"x",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_message_of_any_size_takes_the_memory_of_some_pieces(content: bytes) -> None:
    piece = content * (65536 // len(content))
    sock = Forgetful(GOOD[:3])
    letter = Letter(iter([piece] * 400), len(piece) * 400, False)
    with peak_of_memory() as peak:
        ended = talk(sock, letter)
    assert isinstance(ended, Leave)
    assert sock.swallowed > 400 * len(piece)
    assert peak[0] <= PIECES_MAX


class Forgetful(Scripted):
    """A server that takes any content, forgets it, and hangs up after the final dot."""

    def __init__(self, script: Sequence[bytes]) -> None:
        self.swallowed = 0
        super().__init__([*script, b"354 go\r\n"])

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        if len(self.said) < len(GOOD) - 1:
            super().sendall(data)
            return
        self.swallowed += len(data)
        if data.endswith(DOT):
            self._speak()
