"""SMTP without a socket: nothing but a yes to the whole message is a yes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck import spool
from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.deliver.smtp_dialogue import Content, Handshake
from avcheck.deliver.smtp_replies import Replies, Reply
from avcheck.deliver.smtp_words import Envelope
from avcheck.exits import CONFIG, Defer, Refused
from tests.support.wire import spooled

# What RFC 5321 and RFC 6531 allow between the angle brackets, written down once more.
DOT_STRING = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]+"
# But for control characters, and for what else in a domain takes no server out of the path.
QUOTED_STRING = rb'"(?:[^"\\\r\n\0]|\\[^\r\n\0])*"'
DOMAIN = rb"[^<>()\\\"@ \t\v\f\r\n\0]*"
PATH = re.compile(b"(?:(%b|%b)(?:(@)(%b))?)?" % (DOT_STRING, QUOTED_STRING, DOMAIN), re.DOTALL)

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


# Parameters.


def mail(envelope: Envelope, *offers: str) -> bytes:
    server = Server(*offers)
    play(envelope, server)
    (command,) = [each for each in server.heard if each.startswith(b"MAIL")]
    return command.removeprefix(b"MAIL FROM:<s@example>")


@pytest.mark.parametrize(
    ("size", "eight_bit", "offers", "parameters", "may"),
    [
        (1000, False, (), b"", True),
        (1000, False, ("SIZE",), b" SIZE=1000", True),
        (1000, False, ("size 10",), b" SIZE=1000", True),
        (None, False, ("SIZE",), b"", True),
        (0, False, ("SIZE",), b" SIZE=0", True),
        (None, True, ("8BITMIME",), b" BODY=8BITMIME", True),
        (None, False, ("8BITMIME",), b"", True),
        (None, None, ("8BITMIME",), b" BODY=8BITMIME", True),
        (None, None, (), b"", False),
    ],
)
def test_the_server_is_told_what_it_can_take(
    size: int | None, eight_bit: bool | None, offers: tuple[str, ...], parameters: bytes, may: bool
) -> None:
    envelope = Envelope(b"s@example", [b"r@example"], size, eight_bit)
    assert mail(envelope, *offers) == parameters
    said, _ = play(envelope, Server(*offers))
    assert isinstance(said[-1], Content)
    assert said[-1].eight_bit == may


def test_eight_bits_are_not_sent_to_a_server_that_does_not_take_them() -> None:
    server = Server("SIZE")
    with pytest.raises(Defer, match="8BITMIME") as why:
        play(Envelope(b"s@example", [b"r@example"], 1, eight_bit=True), server)
    assert why.value.code == CONFIG
    assert not any(command.startswith(b"MAIL") for command in server.heard)


@pytest.mark.parametrize("sender", [True, False])
def test_addresses_in_utf_8_need_smtputf8(sender: bool) -> None:
    plain, other = b"s@example", "gr\u00fcn@example".encode()
    envelope = Envelope(*((other, [plain]) if sender else (plain, [plain, other])), 1, False)
    server = Server("SMTPUTF8")
    play(envelope, server)
    assert server.heard[2].endswith(b"> SMTPUTF8")
    with pytest.raises(Defer, match="SMTPUTF8") as why:
        play(envelope, Server())
    assert why.value.code == CONFIG


def test_smtputf8_is_not_asked_for_without_need() -> None:
    assert mail(letter(), "SMTPUTF8") == b""


def test_the_envelope_for_notifications_is_carried_on_where_it_can_be() -> None:
    envelope = letter(b"a@example", b"b@example", b"c@example")
    envelope.envid = b"QQ 1+1=2"
    envelope.ret = b"HDRS"
    envelope.notify = b"SUCCESS,DELAY"
    envelope.original = [b"A+a@example", b"", "gr\u00fcn@example".encode()]
    server = Server("DSN")
    play(envelope, server)
    assert server.heard[2:6] == [
        b"MAIL FROM:<s@example> RET=HDRS ENVID=QQ+201+2B1+3D2",
        b"RCPT TO:<a@example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A+2Ba@example",
        b"RCPT TO:<b@example> NOTIFY=SUCCESS,DELAY",
        b"RCPT TO:<c@example> NOTIFY=SUCCESS,DELAY",
    ]
    other = Server()
    play(envelope, other)
    assert not any(b"=" in command for command in other.heard)


def unxtext(value: bytes) -> bytes:
    return re.sub(rb"\+([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), value)


@hypothesis.given(st.binary())
def test_xtext_can_be_read_back(value: bytes) -> None:
    text = smtp_words.xtext(value)
    assert re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", text)
    assert unxtext(text) == value


NAMES = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=400)), max_size=9),
    st.lists(st.sampled_from(NAMES), unique=True),
)
def test_the_client_is_told_of_in_short_commands(
    attributes: list[tuple[bytes, bytes]], offered: list[bytes]
) -> None:
    commands = list(smtp_words.xforward(attributes, {b"XFORWARD": b" ".join(offered)}))
    told = []
    for command in commands:
        assert len(command) + 2 <= 512
        verb, *words = command.split(b" ")
        assert verb == b"XFORWARD"
        assert words
        told += [word.split(b"=", 1) for word in words]
    wanted = [(name, value) for name, value in attributes if name in offered]
    assert [name for name, _ in told] == [name for name, _ in wanted]
    for (name, value), (_, text) in zip(wanted, told, strict=True):
        assert len(text) <= 255
        if not value:
            assert text == b"[UNAVAILABLE]"
        else:
            assert value.startswith(unxtext(text).removeprefix(b"IPV6:")[:20]), name


def test_long_attributes_are_cut_and_come_in_several_commands() -> None:
    attributes = [(name, b"\xff" * 300) for name in NAMES]
    commands = list(smtp_words.xforward(attributes, {b"XFORWARD": b" ".join(NAMES)}))
    assert len(commands) == 7
    for name, command in zip(NAMES, commands, strict=True):
        assert command == b"XFORWARD %b=%b" % (name, b"+FF" * 85)


@pytest.mark.parametrize(
    ("attribute", "word"),
    [
        ((b"ADDR", b"192.0.2.1"), b"ADDR=192.0.2.1"),
        ((b"ADDR", b"2001:db8::1"), b"ADDR=IPV6:2001:db8::1"),
        ((b"ADDR", b"IPv6:2001:db8::1"), b"ADDR=IPv6:2001:db8::1"),
        ((b"HELO", b"a b"), b"HELO=a+20b"),
        ((b"NAME", b"unknown"), b"NAME=[UNAVAILABLE]"),
        ((b"NAME", b""), b"NAME=[UNAVAILABLE]"),
    ],
)
def test_the_client_s_attributes_are_spelled_as_postfix_wants_them(
    attribute: tuple[bytes, bytes], word: bytes
) -> None:
    offered = {b"XFORWARD": b"NAME ADDR HELO"}
    assert list(smtp_words.xforward([attribute], offered)) == [b"XFORWARD " + word]
    assert list(smtp_words.xforward([attribute], {})) == []


def test_who_does_not_want_to_know_the_client_gets_the_mail_all_the_same() -> None:
    envelope = letter()
    envelope.xforward = [(b"NAME", b"client")]
    for offers in (("XFORWARD NAME",), ("XFORWARD NAME", "PIPELINING")):
        server = Server(*offers, XFORWARD="550 5.7.0 not you")
        play(envelope, server)
        assert b"XFORWARD NAME=client" in server.heard


def test_extensions_are_known_in_any_case() -> None:
    offered = smtp_dialogue.extensions(reply("250 mx size/PIPELINING/Size 10/xforward name addr/"))
    assert offered == {
        b"PIPELINING": b"",
        b"SIZE": b"10",
        b"XFORWARD": b"NAME ADDR",
        b"": b"",
    }


# Addresses.


def unquoted(local: bytes) -> bytes:
    if re.fullmatch(QUOTED_STRING, local, re.DOTALL):
        return re.sub(rb"\\(.)", rb"\1", local[1:-1], flags=re.DOTALL)
    return local


ADDRESSES = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from(
            [b"a", b"b.c", b'"', b"\\", b" ", b">", b"<", b"@", b",", b"\xc3\xbc", b"["]
        )
        | st.sampled_from([b"]", b":", b"\t", b"SIZE=1", b"(x)", b";", b"example.org", b"[::1]"]),
        max_size=9,
    ).map(b"".join),
)


@hypothesis.settings(max_examples=2000)
@hypothesis.given(ADDRESSES)
def test_an_address_is_a_path_that_reads_as_the_same_address(address: bytes) -> None:
    try:
        path = smtp_words.mailbox(address)
    except Defer as why:
        assert why.code == "4.1.3"
        return
    match = PATH.fullmatch(path)
    assert match, "something after the path"
    if not address:
        assert path == b""
        return
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    assert (unquoted(match[1]), match[2] or b"", match[3] or b"") == (unquoted(local), at, domain)
    assert path == smtp_words.mailbox(path)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (b"", b""),
        (b"postmaster", b"postmaster"),
        (b"a@b.example", b"a@b.example"),
        (b"two words@example", b'"two words"@example'),
        (b"a,b@example", b'"a,b"@example'),
        (b'"two words"@example', b'"two words"@example'),
        (b'"a\\"b"@example', b'"a\\"b"@example'),
        (b'"a"b"@example', b'"\\"a\\"b\\""@example'),
        (b'"@example', b'"\\""@example'),
        (b'"a\\"@example', b'"\\"a\\\\\\""@example'),
        (b"a@b@example", b'"a@b"@example'),
        (b"@example", b'""@example'),
        (b"-oQ/tmp@example", b"-oQ/tmp@example"),
        (b"a@[192.0.2.1]", b"a@[192.0.2.1]"),
        (b"a@[IPv6:2001:db8::1]", b"a@[IPv6:2001:db8::1]"),
        ("gr\u00fcn@b\u00fccher.example".encode(), "gr\u00fcn@b\u00fccher.example".encode()),
        (b"x> SIZE=1@example", b'"x> SIZE=1"@example'),
        (b"a\x07@b", b'"a\x07"@b'),
        (b"\x7f\x1b@b", b'"\x7f\x1b"@b'),
        (b"a\t@b", b'"a\t"@b'),
        (b'"a\x01"@b', b'"a\x01"@b'),
        (b"a@b\x01\x7f", b"a@b\x01\x7f"),
        (b"a@[1]]", b"a@[1]]"),
        (b"a@[[1]", b"a@[[1]"),
        (b"a@b:c", b"a@b:c"),
        (b"a@b,c;d", b"a@b,c;d"),
        (b"a@", b"a@"),
    ],
)
def test_an_address_is_quoted_where_it_has_to_be(address: bytes, path: bytes) -> None:
    assert smtp_words.mailbox(address) == path


@pytest.mark.parametrize(
    "address",
    [
        b"a@b> SIZE=1",
        b"a@b c",
        b"a@b\tc",
        b"a@b\vc",
        b"a@b\fc",
        b"a@[1>2]",
        b"a@<b",
        b"a@[1] ",
        b'a@"b"',
        b"a@b\\",
        b"a@b(c)",
        b"a@b)",
        b"a\r@b",
        b"a\n@b",
        b"a\0@b",
        b'"a\r\nDATA"@b',
        b"a@b\r\nDATA",
    ],
)
def test_what_no_quoting_makes_right_is_no_address(address: bytes) -> None:
    with pytest.raises(Defer, match="not a mail address"):
        smtp_words.mailbox(address)


def test_a_wrong_address_stops_everything_before_the_server_hears_of_it() -> None:
    for envelope in (letter(b"a@b> X"), letter(sender=b"a@b> X")):
        with pytest.raises(Defer, match="not a mail address"):
            next(smtp_dialogue.dialogue(envelope, b"client.example"))


# Replies.


def gathered(*lines: bytes) -> Reply | None:
    replies = Replies()
    found = None
    for line in lines:
        assert found is None, "more after the end"
        found = replies.add(line)
    return found


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"250 ok\r"], "250 ok"),
        ([b"250 ok"], "250 ok"),
        ([b"250"], "250"),
        ([b"250 "], "250"),
        ([b"250-a\r", b"250-b\r", b"250 c\r"], "250 a b c"),
        ([b"250-a", b"250"], "250 a"),
        ([b"599 \x1b[31m"], "599 ?[31m"),
        ([b"200 \xc3\xbc"], "200 ??"),
    ],
)
def test_lines_become_a_reply(lines: list[bytes], shown: str) -> None:
    found = gathered(*lines)
    assert found is not None
    assert str(found) == shown


@pytest.mark.parametrize(
    "lines",
    [
        [b""],
        [b"25"],
        [b"+OK"],
        [b"250ok"],
        [b"2500 ok"],
        [b"199 ok"],
        [b"600 ok"],
        [b" 250 ok"],
        [b"25\xb2 ok"],
        [b"-250 ok"],
        [b"250-a", b"251 b"],
        [b"250-a", b"ok"],
        [b"250_a"],
    ],
)
def test_what_is_no_reply_is_not_taken_for_one(lines: list[bytes]) -> None:
    with pytest.raises(Defer, match="not an SMTP reply"):
        gathered(*lines)


def test_a_reply_has_an_end_some_time() -> None:
    replies = Replies()
    with pytest.raises(Defer, match=f"more than {smtp_replies.REPLY_LINES_MAX} lines"):
        for _ in range(smtp_replies.REPLY_LINES_MAX + 1):
            assert replies.add(b"250-x") is None


def test_one_reply_leaves_nothing_to_the_next() -> None:
    replies = Replies()
    assert replies.add(b"250-a") is None
    first = replies.add(b"250 b")
    second = replies.add(b"354 c")
    assert first is not None
    assert second is not None
    assert (first.lines, second.lines) == ((b"a", b"b"), (b"c",))


@hypothesis.given(st.lists(st.binary(max_size=12), max_size=5))
def test_any_lines_are_replies_or_deferred(lines: list[bytes]) -> None:
    replies = Replies()
    try:
        for line in lines:
            found = replies.add(line)
            assert found is None or 200 <= found.code < 600
    except Defer:
        return


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5.1.1 no", "4.1.1"),
        ("5.1.1", "4.1.1"),
        ("4.7.1 later", "4.7.1"),
        ("5.7.123 x", "4.7.123"),
        ("2.1.1 x", "4.5.0"),
        ("5.1 x", "4.5.0"),
        ("5.1.1.1 x", "4.5.0"),
        ("5.1234.1 x", "4.5.0"),
        ("5..1 x", "4.5.0"),
        ("x5.1.1 x", "4.5.0"),
        (" 5.1.1", "4.5.0"),
        ("", "4.5.0"),
        ("no 5.1.1", "4.5.0"),
    ],
)
def test_the_server_s_code_is_passed_on_as_a_temporary_one(text: str, code: str) -> None:
    with pytest.raises(Defer) as why:
        smtp_replies.want(2, b"RCPT", [Reply(550, (text.encode(),))])
    assert why.value.code == code


# The content on the wire.


def sent(pieces: Sequence[bytes]) -> list[bytes]:
    """What is sent of a message that comes in these pieces."""
    left = [*pieces, b""]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "read", lambda fd, size: left.pop(0))
        return list(smtp_words.stuffed(spool.Incoming(-1), b""))


def on_the_wire(content: bytes, header: bytes = b"") -> bytes:
    """The same, said in another way: line by line."""
    first, lf, _ = content.partition(b"\n")
    end = b"\r\n" if lf and first.endswith(b"\r") else b"\n"
    lines = content.replace(b"\r\n", b"\n").split(b"\n") if end == b"\r\n" else content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    lines = [b"." + line if line.startswith(b".") else line for line in lines]
    lines = [header, *lines] if header else lines
    return b"".join(line + b"\r\n" for line in [*lines, b"."])


PIECES = st.lists(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\xff\0"]), min_size=1)
    .map(b"".join)
    .map(lambda piece: piece[:12]),
    max_size=6,
)


@pytest.mark.parametrize(
    ("words", "doubtful"),
    [
        ("250 2.0.0 taken", False),
        ("250 taken", False),
        ("250 4.2.x is a version", False),
        ("250 3.0.0 is no class", False),
        ("250 2.0.0 taken/2.0.0 as 4XYZ", False),
        ("451 4.3.0 later", False),
        ("554 4.7.1 servers do that", False),
        ("450 5.1.1 and that", False),
        ("250 4.3.0 later", True),
        ("250 5.7.1 never", True),
        ("250 2.0.0 taken/4.3.0 later", True),
        ("250 taken/5.7.1 never", True),
        ("450 2.0.0 taken", True),
        ("550 5.7.1 never/2.0.0 taken", True),
        ("354 go ahead", True),
        ("354 2.0.0 go ahead", True),
    ],
)
def test_what_an_answer_to_the_dot_leaves_open(words: str, doubtful: bool) -> None:
    assert bool(smtp_replies.doubt(reply(words))) == doubtful


@hypothesis.settings(max_examples=1500)
@hypothesis.given(PIECES)
def test_the_content_goes_over_the_wire_line_by_line(pieces: list[bytes]) -> None:
    wire = b"".join(sent(pieces))
    assert wire == on_the_wire(b"".join(pieces))
    # Nothing but the end looks like the end, and no line feed is bare.
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    assert wire.endswith(b".\r\n")
    assert wire.count(b"\n") == wire.count(b"\r\n")


@hypothesis.given(PIECES.map(b"".join), st.integers(1, 9))
def test_the_header_goes_over_the_wire_first(content: bytes, size: int) -> None:
    """From a file, which is read in pieces of that size."""
    header = b"X-AV-Checked: now"
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(spool, "PIECE", size)
        with spooled(os.fsencode(name), content) as message:
            wire = b"".join(smtp_words.stuffed(message, header))
    assert wire == on_the_wire(content, header)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\nb", b"a\r\nb\r\n.\r\n"),
        (b".\n", b"..\r\n.\r\n"),
        (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\nb\r\nc\n", b"a\r\nb\r\r\nc\r\n.\r\n"),
        (b"a\n.\r\nc\n", b"a\r\n..\r\r\nc\r\n.\r\n"),
        (b"a\rb\n", b"a\rb\r\n.\r\n"),
        (b"a\r.\rb\n", b"a\r.\rb\r\n.\r\n"),
        (b"a\r\nb\r", b"a\r\nb\r\r\n.\r\n"),
        (b"\n", b"\r\n.\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"\r", b"\r\r\n.\r\n"),
    ],
)
def test_line_ends_and_dots(content: bytes, wire: bytes) -> None:
    assert b"".join(sent([content] if content else [])) == wire
    assert b"".join(sent([content[at : at + 1] for at in range(len(content))])) == wire


def test_what_is_sent_at_once_is_neither_tiny_nor_all() -> None:
    line = b"x" * 70 + b"\n"
    pieces = sent([line * 400] * 10)
    assert all(len(piece) <= 2 * smtp_words.WIRE_MAX for piece in pieces)
    assert all(len(piece) > 1000 for piece in pieces[1:-1])
    assert len(pieces) <= 11
    assert len(sent([line] * 100)) == 1


def test_only_the_last_piece_has_the_final_dot() -> None:
    pieces = sent([b"x" * smtp_words.WIRE_MAX + b"\n"] * 3)
    assert not any(piece.endswith(b".\r\n") for piece in pieces[:-1])
    assert pieces[-1].endswith(b"\r\n.\r\n")
