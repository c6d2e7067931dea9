"""What MAIL, RCPT and XFORWARD tell a server, by what it offers."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.deliver import smtp_dialogue, smtp_words
from avcheck.deliver.smtp_dialogue import Content
from avcheck.deliver.smtp_words import Envelope
from avcheck.exits import CONFIG, Defer
from tests.unit.deliver.test_smtp_dialogue import Server, letter, play, reply

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
