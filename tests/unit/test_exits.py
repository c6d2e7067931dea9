"""How avcheck leaves: statuses and the first bytes of its output."""

from __future__ import annotations

import errno
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import exits
from avcheck.exits import Defer, Leave, Refused, Usage, defer_from

TEMPORARY = re.compile(r"4\.\d{1,3}\.\d{1,3}")


def test_the_statuses_are_those_of_sysexits() -> None:
    assert (exits.OK, exits.USAGE, exits.TEMPFAIL, exits.REJECT) == (
        os.EX_OK,
        os.EX_USAGE,
        os.EX_TEMPFAIL,
        os.EX_NOPERM,
    )


def test_an_expected_end_keeps_the_mail() -> None:
    assert Defer("x").status == os.EX_TEMPFAIL
    assert Usage("x").status == os.EX_TEMPFAIL
    assert Refused("x", ".1.1").status == os.EX_TEMPFAIL


def test_every_code_of_ours_is_temporary() -> None:
    codes = [
        value
        for name, value in vars(exits).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    ]
    assert len(codes) >= 8
    assert all(TEMPORARY.fullmatch(code) for code in codes)


@given(st.one_of(st.binary(), st.text()))
def test_the_text_is_printable_whatever_it_was_made_of(words: bytes | str) -> None:
    for end in (Defer(words), Usage(words), Refused(words, ".0.0")):
        assert end.text.isprintable()
        assert end.text.isascii()
        assert TEMPORARY.fullmatch(end.code)


def test_refused_is_temporary_until_it_is_to_be_for_good() -> None:
    refused = Refused("no such user", ".1.1")
    assert refused.code == "4.1.1"
    end = refused.for_good()
    assert isinstance(end, Leave)
    assert (end.status, end.code, end.text) == (os.EX_NOPERM, "5.1.1", "no such user")
    assert refused.status == os.EX_TEMPFAIL


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_what_the_system_refused_keeps_the_mail_and_says_why(number: int) -> None:
    end = defer_from(b"saving\r\n", OSError(number, os.strerror(number)))
    assert end.status == os.EX_TEMPFAIL
    assert end.text == f"saving: {os.strerror(number)}"
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    assert end.code == (exits.FULL if full else exits.SYSTEM)


@pytest.mark.parametrize(
    ("why", "text"),
    [(OSError("no reason"), "x: no reason"), (TimeoutError(), "x: TimeoutError")],
)
def test_an_error_without_a_number_has_a_text_too(why: OSError, text: str) -> None:
    assert defer_from("x", why).text == text
