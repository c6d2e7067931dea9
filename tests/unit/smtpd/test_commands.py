"""One command of a client: what it is, or why it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.deliver.smtp_words import xtext
from avcheck.smtpd.commands import LINE_MAX, Command, Wrong, decoded, parse


def read(line: bytes) -> Command:
    return parse(line + b"\r")


def refused(line: bytes) -> bytes:
    with pytest.raises(Wrong) as why:
        parse(line)
    return why.value.reply


@pytest.mark.parametrize(
    ("line", "address", "parameters"),
    [
        (b"MAIL FROM:<a@b>", b"a@b", ()),
        (b"mail from:<>", b"", ()),
        (b"MAIL FROM: <a@b> SIZE=5 SMTPUTF8", b"a@b", ((b"SIZE", b"5"), (b"SMTPUTF8", b""))),
        (b'MAIL FROM:<"a > b"@c> body=8bitmime', b'"a > b"@c', ((b"BODY", b"8bitmime"),)),
        (b'MAIL FROM:<"a\\">"@c>', b'"a\\">"@c', ()),
        (b"MAIL FROM:<@one,@two:a@b>", b"a@b", ()),
        ("MAIL FROM:<ü@ü.example>".encode(), "ü@ü.example".encode(), ()),
        (b"RCPT TO:<postmaster>", b"postmaster", ()),
        (b"RCPT TO:<a@b> NOTIFY=NEVER", b"a@b", ((b"NOTIFY", b"NEVER"),)),
    ],
)
def test_an_envelope_has_an_address_and_parameters(
    line: bytes, address: bytes, parameters: tuple[tuple[bytes, bytes], ...]
) -> None:
    command = read(line)
    assert (command.verb, command.line) == (line[:4].upper(), line)
    assert (command.address, command.parameters) == (address, parameters)


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL",
        b"MAIL a@b",
        b"MAIL TO:<a@b>",
        b"MAIL FROM:a@b",
        b"MAIL FROM:<a@b",
        b"MAIL FROM:<a@b>SIZE=5",
        b"MAIL FROM:<a b@c>",
        b"MAIL FROM:<<a@b>>",
        b'MAIL FROM:<"a@b>',
        b"RCPT FROM:<a@b>",
        b"RCPT TO:<>",
        b"EHLO",
        b"DATA now",
        b"QUIT it",
        b"XFORWARD",
        b"XFORWARD NAME",
        b"XFORWARD NAME=+4",
        b"XFORWARD NAME=+GG",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(line: bytes) -> None:
    assert refused(line + b"\r").startswith(b"501 ")


@pytest.mark.parametrize("byte", [b"\0", b"\r", b"\t", b"\x1b", b"\x7f"])
def test_a_control_character_is_in_no_command(byte: bytes) -> None:
    assert refused(b"RCPT TO:<a%b@b>\r" % byte).startswith(b"500 5.5.2 ")


def test_a_line_ends_in_cr_and_lf() -> None:
    assert refused(b"NOOP") == b"500 5.5.2 Error: bare <LF> received"


def test_a_line_has_a_length() -> None:
    assert read(b"NOOP ".ljust(LINE_MAX, b"x")).verb == b"NOOP"
    assert refused(b"NOOP ".ljust(LINE_MAX + 1, b"x") + b"\r") == b"500 5.5.2 Error: line too long"


@pytest.mark.parametrize("line", [b"STARTTLS", b"AUTH PLAIN", b"BDAT 1", b"vrfy x", b"ETRN x"])
def test_what_is_not_offered_is_not_implemented(line: bytes) -> None:
    assert refused(line + b"\r").startswith(b"502 ")


@pytest.mark.parametrize("line", [b"", b" ", b"LHLO x", b"GET / HTTP/1.1", b"MAILFROM:<a@b>"])
def test_what_is_unknown_is_not_recognized(line: bytes) -> None:
    assert refused(line + b"\r") == b"500 5.5.2 Error: command not recognized"


def test_attributes_are_decoded_and_unknown_ones_are_empty() -> None:
    command = read(b"XFORWARD NAME=[UNAVAILABLE] addr=IPV6:::1 HELO=a+2Bb+20c")
    assert command.parameters == ((b"NAME", b""), (b"ADDR", b"IPV6:::1"), (b"HELO", b"a+b c"))


@given(st.binary())
def test_xtext_is_read_as_it_was_written(value: bytes) -> None:
    assert decoded(xtext(value)) == value


@given(st.binary(max_size=80))
def test_any_line_is_a_command_or_refused(line: bytes) -> None:
    try:
        command = parse(line)
    except Wrong as why:
        assert why.reply[:1] == b"5"
        assert not {*b"\r\n"} & {*why.reply}
    else:
        assert not {*b"\r\n\0"} & {*command.line}
