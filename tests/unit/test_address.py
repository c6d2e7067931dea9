"""Where somebody listens, as a person writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.address import LOCALHOST, Address, parse
from avcheck.exits import Usage

PORT = b"3310"


@pytest.mark.parametrize(
    ("where", "address", "shown"),
    [
        (b"/run/clamd.ctl", Address(path=b"/run/clamd.ctl"), "/run/clamd.ctl"),
        (b"unix:/run/clamd.ctl", Address(path=b"/run/clamd.ctl"), "/run/clamd.ctl"),
        (b"/run/a:b", Address(path=b"/run/a:b"), "/run/a:b"),
        (b"mx.example:25", Address(host=b"mx.example", port=b"25"), "mx.example:25"),
        (b"mx.example:smtp", Address(host=b"mx.example", port=b"smtp"), "mx.example:smtp"),
        (b"mx.example:", Address(host=b"mx.example", port=PORT), "mx.example:3310"),
        (b"mx.example", Address(host=b"mx.example", port=PORT), "mx.example:3310"),
        (b":25", Address(host=LOCALHOST, port=b"25"), "127.0.0.1:25"),
        (b":", Address(host=LOCALHOST, port=PORT), "127.0.0.1:3310"),
        (b"", Address(host=LOCALHOST, port=PORT), "127.0.0.1:3310"),
        (b"192.0.2.1:25", Address(host=b"192.0.2.1", port=b"25"), "192.0.2.1:25"),
        (b"[::1]:25", Address(host=b"::1", port=b"25"), "[::1]:25"),
        (b"[::1]:", Address(host=b"::1", port=PORT), "[::1]:3310"),
        (b"[::1]", Address(host=b"::1", port=PORT), "[::1]:3310"),
        (b"/run/\xff", Address(path=b"/run/\xff"), "/run/?"),
    ],
)
def test_what_a_person_writes_is_understood(where: bytes, address: Address, shown: str) -> None:
    assert parse(where, PORT) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        (b"::1", "brackets"),
        (b"::1:25", "brackets"),
        (b"[::1", "[::1]:3310"),
        (b"[::1]25", "[::1]:3310"),
        (b"[]:25", "[::1]:3310"),
        (b"run/clamd.ctl", "slash"),
        (b"unix:clamd.ctl", "slash"),
        (b"unix:", "slash"),
        (b"3310", "port as :3310"),
    ],
)
def test_what_cannot_be_understood_says_how_to_write_it(where: bytes, hint: str) -> None:
    with pytest.raises(Usage) as why:
        parse(where, PORT)
    assert hint in why.value.text


def test_without_a_usual_port_one_has_to_be_given() -> None:
    assert parse(b"host:1", b"").port == b"1"
    with pytest.raises(Usage, match="port"):
        parse(b"host", b"")


@given(st.binary(max_size=60), st.sampled_from([b"", PORT]))
def test_any_words_are_an_address_or_wrong_usage(where: bytes, port: bytes) -> None:
    try:
        address = parse(where, port)
    except Usage:
        return
    assert bool(address.path) != bool(address.host)
    assert bool(address.port) == bool(address.host)
    assert str(address).isprintable()


@given(st.binary(max_size=60))
def test_an_address_is_spelled_so_that_it_is_read_back(where: bytes) -> None:
    try:
        address = parse(where, PORT)
    except Usage:
        return
    assert parse(address.spelled(), b"") == address
    # For -S, what begins with a slash is a program.
    assert not address.spelled().startswith(b"/")


def test_addresses_are_the_same_when_their_parts_are() -> None:
    assert Address(path=b"/x") == Address(path=b"/x")
    assert hash(Address(path=b"/x")) == hash(Address(path=b"/x"))
    assert Address(host=b"h", port=b"1") != Address(host=b"h", port=b"2")
    assert Address(path=b"/x") != b"/x"
