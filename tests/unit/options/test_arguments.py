"""The arguments of options: what they mean, and what is wrong with them, by the option's name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.address import Address
from avcheck.exits import Usage
from avcheck.options.rows import EVERY, OPTIONS, Option
from avcheck.scanners.rows import SCANNERS
from avcheck.settings import Settings
from tests.support.wire import settings
from tests.support.words import (
    ARGUMENTS,
    REQUIRED,
    REQUIRED_WORDS,
    RIGHT,
    WITH_ARGUMENT,
    WRONG,
    option,
    read,
    shown,
    spelled,
    wrong,
)

# The table.


def test_every_option_is_spelled_in_its_own_way() -> None:
    letters = [each.letter for each in OPTIONS if each.letter]
    names = [each.name for each in OPTIONS]
    attributes = [each.attribute for each in OPTIONS if each.attribute]
    for spellings in (letters, names, attributes):
        assert len(set(spellings)) == len(spellings)
    assert all(len(letter) == 1 and letter.isalpha() for letter in letters)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in names)
    assert all(each.help.endswith(".") for each in OPTIONS)


def test_the_options_of_the_original_are_all_there() -> None:
    letters = {each.letter for each in OPTIONS if each.letter}
    assert letters >= set("fsdtngShiwc")


def test_settings_have_an_attribute_for_every_option() -> None:
    attributes = {each.attribute for each in EVERY if each.attribute}
    declared = set(Settings.__annotations__)
    # -S becomes a program, or a server; the recipients have no option.
    assert declared - {"server", "recipients"} == attributes
    assert set(vars(read(*REQUIRED_WORDS, b"x"))) == declared


# The readers of arguments.


def test_the_examples_here_are_for_every_option() -> None:
    assert set(ARGUMENTS) == {each.attribute for each in WITH_ARGUMENT}


def line(row: Option, argument: bytes, how: int = 0) -> list[bytes]:
    """A command line that is right but maybe for this argument."""
    required = [
        word
        for attribute, value in REQUIRED.items()
        if attribute != row.attribute
        for word in spelled(option(attribute), value, 0)
    ]
    company = [b"--queue-id=4XYZ"] if row.attribute == "attempts" else []
    return [*required, *company, *spelled(row, argument, how), b"--", b"x"]


ALONE = {
    # attribute: what is right for its reader, but not alone or not for this message
    "need": {b"2", b"007", b"99999"},
    "config": {b"/x"},
}


def named(each: tuple[Option, bytes]) -> str:
    return f"{each[0].name}={each[1][:20]!r}"


@pytest.mark.parametrize("row", RIGHT, ids=named)
def test_a_right_argument_is_taken_in_every_spelling(row: tuple[Option, bytes]) -> None:
    option_, argument = row
    option_.read(argument)
    if argument in ALONE.get(option_.attribute, ()):
        return
    first, *others = [shown(read(*line(option_, argument, how))) for how in range(4)]
    assert others == [first] * 3


@pytest.mark.parametrize("row", WRONG, ids=named)
def test_a_wrong_argument_is_named_by_its_option(row: tuple[Option, bytes]) -> None:
    option_, argument = row
    spelling = f"-{option_.letter}" if option_.letter else f"--{option_.name}"
    for how in range(4):
        text = wrong(*line(option_, argument, how))
        assert text.startswith(f"{spelling}: ")
        assert len(text) > len(spelling) + 5


@given(st.sampled_from(WITH_ARGUMENT), st.binary(max_size=30))
def test_any_bytes_are_an_argument_or_wrong_usage(row: Option, argument: bytes) -> None:
    try:
        row.read(argument)
    except Usage as why:
        assert why.text


@pytest.mark.parametrize(
    ("words", "attribute", "value"),
    [
        ([b"-f", b"<>"], "sender", b""),
        ([b"-f", b""], "sender", b""),
        ([b"-t", b"1.5"], "timeout", 1.5),
        ([b"-t", b"0"], "timeout", float("inf")),
        ([], "timeout", float("inf")),
        ([], "deadline", 900.0),
        ([b"--deadline=0"], "deadline", float("inf")),
        ([b"-g", b"007"], "ok_status", 7),
        ([b"-n"], "no_inject", True),
        ([], "no_inject", False),
        ([b"-h", b"mx.example"], "header", b"mx.example"),
        ([b"--canary", b"0"], "canary", 0.0),
        ([], "canary", 0.0),
        ([b"--queue-id", b"\x1bA\n"], "queue_id", b"?A"),
        ([b"--notify", b"success,delay"], "notify", b"SUCCESS,DELAY"),
        ([b"--ret=full"], "ret", b"FULL"),
        ([b"--envid", b"a b"], "envid", b"a b"),
        ([b"--envid", b"\xc3\xbc"], "envid", b""),
        (
            [b"--xforward=name=x", b"--xforward", b"ADDR=::1"],
            "xforward",
            ((b"NAME", b"x"), (b"ADDR", b"::1")),
        ),
        ([b"--orcpt", b"o@b"], "original", (b"o@b",)),
        ([b"-t1", b"-t", b"2", b"--timeout=3"], "timeout", 3.0),
        ([b"--need=1"], "need", 1),
        ([], "need", 1),
        ([b"-s", b"clamd:/x"], "need", 2),
    ],
)
def test_what_an_argument_means(words: list[bytes], attribute: str, value: object) -> None:
    assert vars(read(*REQUIRED_WORDS, *words, b"x"))[attribute] == value


# Scanners.


def targets(scanner: bytes, spool: bytes = b"/spool") -> list[tuple[str, str, bool]]:
    found = read(b"-f", b"", b"-s", scanner, b"-d", spool, b"x").scanners[0]
    return [(str(each.address), each.way, each.tls) for each in found.targets]


@pytest.mark.parametrize(
    ("scanner", "spool", "found"),
    [
        (b"clamd", b"/spool", [("/run/clamav/clamd.ctl", "descriptor", False)]),
        (b"clamd:", b"/spool", [("/run/clamav/clamd.ctl", "descriptor", False)]),
        (b"clamd:/x", b"/spool", [("/x", "descriptor", False)]),
        (b"clamd::3311", b"/spool", [("127.0.0.1:3311", "stream", False)]),
        (b"clamd:host", b"/spool", [("host:3310", "stream", False)]),
        (b"clamd:/x", b"/a/./b", [("/x", "path", False)]),
        (b"clamd:host", b"/a/./b", [("host:3310", "path", False)]),
        (b"clamd+stream:/x", b"/a/./b", [("/x", "stream", False)]),
        (b"clamd+path:/x", b"/spool", [("/x", "path", False)]),
        (b"clamd+tls:host", b"/spool", [("host:3310", "stream", True)]),
        (b"clamd+tls+path:host", b"/spool", [("host:3310", "path", True)]),
        (
            b"clamd:/x,host:1",
            b"/spool",
            [("/x", "descriptor", False), ("host:1", "stream", False)],
        ),
    ],
)
def test_the_way_follows_from_the_place(
    scanner: bytes, spool: bytes, found: list[tuple[str, str, bool]]
) -> None:
    assert targets(scanner, spool) == found


@pytest.mark.parametrize(
    "scanner",
    [
        b"clamd+descriptor::3310",
        b"clamd+tls:/x",
        b"clamd+tls+descriptor:host",
        b"clamd:x/y",
        b"clamd:::1",
    ],
)
def test_a_way_that_does_not_lead_there_is_wrong(scanner: bytes) -> None:
    text = wrong(b"-f", b"", b"-s", scanner, b"-d", b"/spool", b"x")
    assert text.startswith("-s: ")


@pytest.mark.parametrize("scanner", [b"AVP:/x", b"Avp:/x", b"DrWeb:/x", b"CLAMD+stream:/X"])
def test_a_type_is_known_in_any_case(scanner: bytes) -> None:
    """As the manual page of avcheck 0.91 spells them."""
    (found,) = read(b"-f", b"a@b", b"-s", scanner, b"-d", b"/spool", b"x").scanners
    assert found.type == scanner.decode().partition(":")[0].partition("+")[0].lower()
    assert found.row is SCANNERS[found.type]
    (target,) = found.targets
    assert target.address is not None
    assert target.address.path == scanner.partition(b":")[2]


def test_the_module_of_somebody_else_is_named_as_it_is() -> None:
    words = (b"-f", b"a@b", b"-s", b"My.Scanner:/x", b"-d", b"/spool", b"x")
    assert read(*words).scanners[0].type == "My.Scanner"


def test_a_scanner_of_somebody_else_is_a_module() -> None:
    found = settings(b"-s", b"my.scanner:/x?a=%3F%26&b=").scanners[1]
    assert (found.type, found.row.module) == ("my.scanner", "my.scanner")
    assert found.targets[0].parameters == {"a": b"?&", "b": b""}
    assert found.targets[0].address == Address(path=b"/x")


@pytest.mark.parametrize("words", [b"a=50%", b"a=%4", b"a=%zz", b"a=%  ", b"a", b"&"])
def test_parameters_have_names_and_escapes(words: bytes) -> None:
    text = wrong(*REQUIRED_WORDS, b"--backup", b"my.scanner:/x?" + words, b"x")
    assert text.startswith("--backup: ")
