"""An address as a path in SMTP: quoted where it has to be, and the same address when it is read."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.deliver import smtp_dialogue, smtp_words
from avcheck.exits import Defer
from tests.unit.deliver.test_smtp_dialogue import letter

# What RFC 5321 and RFC 6531 allow between the angle brackets, written down once more.
DOT_STRING = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]+"
# But for control characters, and for what else in a domain takes no server out of the path.
QUOTED_STRING = rb'"(?:[^"\\\r\n\0]|\\[^\r\n\0])*"'
DOMAIN = rb"[^<>()\\\"@ \t\v\f\r\n\0]*"
PATH = re.compile(b"(?:(%b|%b)(?:(@)(%b))?)?" % (DOT_STRING, QUOTED_STRING, DOMAIN), re.DOTALL)


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
