"""SMTP without a socket: nothing but a yes to the whole message is a yes."""

from __future__ import annotations

import re
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.deliver import smtp_dialogue
from avcheck.deliver.smtp_dialogue import Content, Handshake
from avcheck.deliver.smtp_replies import Reply
from avcheck.deliver.smtp_words import Envelope
from avcheck.exits import CONFIG, Defer, Refused

OFFERS = (
    "PIPELINING",
    "SIZE 1000",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "STARTTLS",
    "XFORWARD NAME ADDR",
)

Step = list[bytes] | Content | Handshake


def reply(words: str) -> Reply:
    """A reply of one line, or of several that are separated by "/"."""
    first, *more = words.split("/")
    code, _, text = first.partition(" ")
    return Reply(int(code), tuple(line.encode() for line in (text, *more)))


def play(
    envelope: Envelope, answer: Callable[[bytes], Reply], tls: str = smtp_dialogue.NEVER
) -> tuple[list[Step], Reply]:
    """Have the whole conversation; returns what was said at once each time, and the last reply.

    answer gets each command, b"greeting" for none, and b"content" for the message.
    """
    said: list[Step] = []
    dialogue = smtp_dialogue.dialogue(envelope, b"client.example", tls)
    step = next(dialogue)
    try:
        while True:
            said.append(step)
            if isinstance(step, Handshake):
                step = dialogue.send([])
            elif isinstance(step, Content):
                step = dialogue.send([answer(b"content")])
            else:
                step = dialogue.send([answer(command) for command in step or [b"greeting"]])
    except StopIteration as end:
        last: Reply = end.value
        return said, last


class Server:
    """Answers every command with a yes, but for those that begin with one of the words."""

    def __init__(self, *offers: str, **instead: str) -> None:
        self.offers = offers
        self.instead = instead
        self.heard: list[bytes] = []

    def __call__(self, command: bytes) -> Reply:
        self.heard.append(command)
        for words, answer in self.instead.items():
            if command.decode("latin-1").startswith(words):
                return reply(answer)
        if command.startswith(b"EHLO"):
            return reply("/".join(["250 mx.example", *self.offers]))
        return reply("354 go ahead" if command == b"DATA" else "250 2.0.0 ok")


def letter(*recipients: bytes, sender: bytes = b"s@example") -> Envelope:
    return Envelope(sender, recipients or (b"r@example",), 1000, eight_bit=False)


# The order of things.


def test_one_by_one_without_pipelining() -> None:
    server = Server()
    said, last = play(letter(b"a@example", b"b@example"), server)
    assert str(last) == "250 2.0.0 ok"
    assert said[:-1] == [
        [],
        [b"EHLO client.example"],
        [b"MAIL FROM:<s@example>"],
        [b"RCPT TO:<a@example>"],
        [b"RCPT TO:<b@example>"],
        [b"DATA"],
    ]
    assert isinstance(said[-1], Content)


def test_all_at_once_with_pipelining_but_for_data() -> None:
    said, _ = play(letter(b"a@example", b"b@example"), Server("pipelining"))
    assert said[2:4] == [
        [b"MAIL FROM:<s@example>", b"RCPT TO:<a@example>", b"RCPT TO:<b@example>"],
        [b"DATA"],
    ]


def test_no_more_at_once_than_both_sides_can_hold() -> None:
    recipients = [b"r%d@example" % number for number in range(250)]
    said, _ = play(letter(*recipients), Server("PIPELINING"))
    sizes = [len(step) for step in said[2:-2] if isinstance(step, list)]
    assert sizes == [100, 100, 51]


def test_a_server_that_knows_no_ehlo_is_greeted_by_helo() -> None:
    said, _ = play(letter(), Server("PIPELINING", EHLO="502 what"))
    assert said[1:4] == [
        [b"EHLO client.example"],
        [b"HELO client.example"],
        [b"MAIL FROM:<s@example>"],
    ]


@pytest.mark.parametrize(
    ("step", "refusal", "code", "for_good"),
    [
        ("greeting", "554 5.7.1 go away", "4.7.1", False),
        ("greeting", "421 busy", "4.5.0", False),
        ("EHLO", "421 4.3.2 closing", "4.3.2", False),
        ("EHLO", "354 what", "4.5.0", False),
        ("MAIL", "452 4.3.1 full", "4.3.1", False),
        ("MAIL", "550 5.1.8 no such sender", "4.1.8", True),
        ("RCPT", "450 4.2.0 greylisted", "4.2.0", False),
        ("RCPT", "550 5.1.1 no such user", "4.1.1", True),
        ("RCPT", "354 what", "4.5.0", False),
        ("DATA", "451 4.3.0 later", "4.3.0", False),
        ("MAIL", "530 5.7.0 must issue STARTTLS", "4.7.0", False),
        ("MAIL", "503 5.5.1 out of order", "4.5.1", False),
        ("RCPT", "530 5.7.0 log in first", "4.7.0", False),
        ("DATA", "554 5.5.1 no", "4.5.1", True),
        ("DATA", "250 2.0.0 ok", "4.5.0", False),
        ("MAIL", "550 4.2.0 later", "4.2.0", False),
        ("MAIL", "452 5.7.1 no", "4.7.1", False),
        ("MAIL", "250 5.1.8 no such sender", "4.1.8", False),
        ("RCPT", "550 4.2.0 later", "4.2.0", False),
        ("RCPT", "550 2.0.0 what", "4.5.0", False),
        ("RCPT", "250 4.2.0 later", "4.2.0", False),
        ("DATA", "354 5.3.0 no", "4.3.0", False),
        ("DATA", "554 4.3.0 later", "4.3.0", False),
        ("content", "554 4.7.1 later", "4.7.1", False),
        ("content", "451 4.7.1 later", "4.7.1", False),
        ("content", "552 5.3.4 too large", "4.3.4", True),
        ("content", "354 go on", "4.5.0", False),
    ],
)
@pytest.mark.parametrize("offers", [(), ("PIPELINING",)])
def test_a_refusal_at_any_step_ends_it_with_the_server_s_words(
    offers: tuple[str, ...], step: str, refusal: str, code: str, for_good: bool
) -> None:
    server = Server(*offers, **{step: refusal})
    with pytest.raises(Defer) as why:
        play(letter(), server)
    assert why.value.code == code
    assert why.value.text.endswith(f"refused: {refusal}")
    assert isinstance(why.value, Refused) == for_good
    assert any(command.decode().startswith(step) for command in server.heard[-2:])
    assert (b"content" in server.heard) == (step == "content")


def test_a_server_that_refuses_both_greetings_is_not_greeted_again() -> None:
    server = Server(EHLO="500 what", HELO="500 5.5.1 what")
    with pytest.raises(Defer, match="HELO refused: 500"):
        play(letter(), server)
    assert len(server.heard) == 3


@pytest.mark.parametrize("offers", [(), ("PIPELINING",)])
@pytest.mark.parametrize(
    ("first", "second", "code", "for_good"),
    [
        ("250 ok", "550 5.1.1 no", "4.1.1", False),
        ("550 5.1.1 no", "250 ok", "4.1.1", False),
        ("550 5.1.1 no", "450 4.2.0 later", "4.1.1", False),
        ("450 4.2.0 later", "550 5.1.1 no", "4.2.0", False),
        ("550 5.1.1 no", "551 5.1.6 moved", "4.1.1", True),
        ("550 5.1.1 no", "550 4.2.0 later", "4.1.1", False),
        ("250 5.1.1 no", "250 ok", "4.1.1", False),
        ("251 forwarded", "252 maybe", "", False),
    ],
)
def test_all_recipients_or_none(
    offers: tuple[str, ...], first: str, second: str, code: str, for_good: bool
) -> None:
    server = Server(*offers)
    server.instead = {"RCPT TO:<a": first, "RCPT TO:<b": second}
    if not code:
        play(letter(b"a@example", b"b@example"), server)
        return
    with pytest.raises(Defer) as why:
        play(letter(b"a@example", b"b@example"), server)
    assert why.value.code == code
    assert isinstance(why.value, Refused) == for_good
    assert b"DATA" not in server.heard


CODES = st.one_of(st.sampled_from([250, 250, 250, 251, 354, 421, 450, 550]), st.integers(200, 599))


@hypothesis.settings(max_examples=1500)
@hypothesis.given(
    st.data(), st.sampled_from([smtp_dialogue.NEVER, smtp_dialogue.MAY, smtp_dialogue.REQUIRE])
)
def test_whatever_a_server_answers_only_a_yes_to_the_content_is_a_yes(
    data: st.DataObject, tls: str
) -> None:
    envelope = letter(*[b"r%d@example" % number for number in range(data.draw(st.integers(1, 4)))])
    envelope.xforward = [(b"NAME", b"client"), (b"ADDR", b"2001:db8::1"), (b"HELO", b"x")]
    offers = data.draw(st.lists(st.sampled_from(OFFERS), unique=True))
    answers: dict[bytes, int] = {}

    def answer(command: bytes) -> Reply:
        wanted = 354 if command == b"DATA" else 250
        code = wanted if data.draw(st.integers(0, 9)) else data.draw(CODES)
        answers[command] = code
        if command == b"DATA":
            asked = [word for word in answers if word.startswith((b"MAIL", b"RCPT"))]
            assert len(asked) == 1 + len(envelope.recipients)
            assert all(answers[word] // 100 == 2 for word in asked)
        if command == b"content":
            assert answers[b"DATA"] // 100 == 3
        lines = ["mx.example", *offers] if command.startswith(b"EHLO") else ["text", "more"]
        return Reply(code, tuple(line.encode() for line in lines))

    try:
        said, last = play(envelope, answer, tls)
    except Defer as why:
        assert answers.get(b"content", 500) // 100 != 2
        assert why.code.startswith("4.")
        return
    assert last.code == answers[b"content"]
    assert last.code // 100 == 2
    assert isinstance(said[-1], Content)
    assert tls != smtp_dialogue.REQUIRE or any(isinstance(step, Handshake) for step in said)
    for step in said:
        if isinstance(step, list):
            assert len(step) <= 1 or "PIPELINING" in offers
            assert all(not re.search(rb"[\r\n\0]", command) for command in step)


# TLS.


def test_starttls_comes_before_everything_that_is_told() -> None:
    said, _ = play(letter(), Server("STARTTLS", "PIPELINING"), smtp_dialogue.MAY)
    assert said[1:3] == [[b"EHLO client.example"], [b"STARTTLS"]]
    assert isinstance(said[3], Handshake)
    assert said[4] == [b"EHLO client.example"]


def test_what_was_offered_before_tls_counts_no_more() -> None:
    offers = iter([["STARTTLS", "PIPELINING"], []])

    def answer(command: bytes) -> Reply:
        if command.startswith(b"EHLO"):
            return reply("/".join(["250 mx.example", *next(offers)]))
        return Server()(command)

    said, _ = play(letter(), answer, smtp_dialogue.REQUIRE)
    assert [b"MAIL FROM:<s@example>"] in said


def test_tls_is_not_asked_for_unless_it_is_wanted_and_offered() -> None:
    for server, tls in [(Server("STARTTLS"), smtp_dialogue.NEVER), (Server(), smtp_dialogue.MAY)]:
        play(letter(), server, tls)
        assert b"STARTTLS" not in server.heard


def test_a_server_that_offers_tls_and_refuses_it_is_trusted_only_if_it_may_be() -> None:
    server = Server("STARTTLS", STARTTLS="454 4.7.0 not now")
    play(letter(), server, smtp_dialogue.MAY)
    with pytest.raises(Defer, match="STARTTLS refused: 454"):
        play(letter(), server, smtp_dialogue.REQUIRE)


def test_no_mail_without_tls_where_it_is_required() -> None:
    for server in (Server(), Server(EHLO="502 what")):
        with pytest.raises(Defer, match="offers no STARTTLS") as why:
            play(letter(), server, smtp_dialogue.REQUIRE)
        assert why.value.code == CONFIG
        assert not any(command.startswith(b"MAIL") for command in server.heard)
