"""No address ends its path, adds a parameter or begins a command, and no other is refused.

The parser here is a server's that knows all that RFC 5321, and RFC 822 before it, have in a
path: quoted strings, pairs, comments, white space between words, source routes; it takes any
other byte for what it is.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avcheck.deliver import smtp_words
from avcheck.exits import Defer

PARAMETERS = b" SIZE=1000 BODY=8BITMIME"


class NoCommandError(Exception):
    """A server would answer 501."""


def read(wire: bytes) -> list[tuple[bytes, bytes]]:
    """Path and parameters of every MAIL command on the wire."""
    lines = wire.replace(b"\r", b"\n").replace(b"\0", b"\n").split(b"\n")
    return [_command(line) for line in lines if line]


def _command(line: bytes) -> tuple[bytes, bytes]:
    if not line.startswith(b"MAIL FROM:<"):
        raise NoCommandError(line)
    rest = line.removeprefix(b"MAIL FROM:<")
    # A quoted string is the whole local part (RFC 5321 4.1.2).
    at = _quoted_string(rest) if rest.startswith(b'"') else 0
    while (byte := rest[at : at + 1]) != b">":
        # Each of these begins a quoted string, a comment, another path or a pair, or ends a word.
        if not byte or byte in b'"()<\\ \t\v\f':
            raise NoCommandError(rest)
        at += 1
    return rest[:at], rest[at + 1 :]


def _quoted_string(rest: bytes) -> int:
    """How long the quoted string is that these bytes begin with."""
    at = 1
    while rest[at : at + 1] != b'"':
        at += 2 if rest[at : at + 1] == b"\\" else 1
        if at >= len(rest):
            raise NoCommandError(rest)
    return at + 1


BYTES = st.one_of(st.binary(max_size=30), st.binary(min_size=1, max_size=3))
PARTS = st.lists(
    st.sampled_from([bytes([byte]) for byte in range(128)])
    | st.sampled_from([b'"', b"\\", b">", b"@", b" ", b'\\"', b"> SIZE=9", b"\r\nDATA\r\n", b"ab"]),
    max_size=9,
).map(b"".join)
ADDRESSES = st.one_of(BYTES, PARTS, st.tuples(PARTS, PARTS).map(b"@".join))


@example(b'"a\\"@b> SIZE=9')
@example(b"\\@b")
@example(b'a"@b"')
@settings(max_examples=3000)
@given(ADDRESSES)
def test_an_address_is_one_path_in_one_command_or_is_refused(address: bytes) -> None:
    try:
        path = smtp_words.mailbox(address)
    except Defer as why:
        assert why.code == "4.1.3"
        _could_not_be_sent(address)
        return
    assert read(b"MAIL FROM:<%b>%b\r\n" % (path, PARAMETERS)) == [(path, PARAMETERS)]


def _could_not_be_sent(address: bytes) -> None:
    """The refusal was right: with the local part quoted it is read as another, or as none."""
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    path = b'"%b"' % local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + at + domain
    try:
        found = read(b"MAIL FROM:<%b>%b\r\n" % (path, PARAMETERS))
    except NoCommandError:
        return
    assert found != [(path, PARAMETERS)]


@pytest.mark.parametrize("byte", range(256))
@pytest.mark.parametrize("address", [b"a%bb@example.org", b"a@exa%bmple.org", b"a%bb"])
def test_every_byte_is_sent_where_it_can_be(address: bytes, byte: int) -> None:
    cannot = b"\r\n\0" + (b' \t\v\f()<>\\"' if address.startswith(b"a@") else b"")
    if byte in cannot:
        with pytest.raises(Defer, match="not a mail address"):
            smtp_words.mailbox(address % bytes([byte]))
    else:
        assert bytes([byte]) in smtp_words.mailbox(address % bytes([byte]))
