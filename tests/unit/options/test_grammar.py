"""The grammar of the command line: options, their arguments, and the operands after them."""

from __future__ import annotations

import getopt

import hypothesis
import pytest

from avcheck.exits import HelpRequest, Usage
from avcheck.options import reading
from avcheck.options.reading import parse_options
from avcheck.options.rows import OPTIONS
from tests.support.words import REQUIRED_WORDS, command_lines, read, wrong


@pytest.mark.parametrize(
    ("words", "operands"),
    [
        ([b"x", b"-n", b"--", b"y"], (b"x", b"-n", b"--", b"y")),
        ([b"--", b"-n"], (b"-n",)),
        ([b"-", b"-n"], (b"-", b"-n")),
        ([b"-n", b"--", b"--"], (b"--",)),
        ([b"-nv", b"-t3", b"x"], (b"x",)),
        ([b"-nvt", b"3", b"x"], (b"x",)),
        ([b"-t", b"3", b"-nvt3", b"x"], (b"x",)),
        ([b"\xff"], (b"\xff",)),
    ],
)
def test_the_first_operand_ends_the_options(
    words: list[bytes], operands: tuple[bytes, ...]
) -> None:
    assert read(*REQUIRED_WORDS, *words).recipients == operands


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([b"-x"], "no such option: -x"),
        ([b"-nx"], "no such option: -x"),
        ([b"-n-"], "no such option: --"),
        ([b"-\xff"], "no such option: -?"),
        ([b"--nonesuch=1"], "no such option: --nonesuch"),
        ([b"--fro", b"x"], "no such option: --fro"),
        ([b"--=x"], "no such option: --"),
        ([b"---"], "no such option: ---"),
        ([b"--no-inject=1"], "--no-inject takes no argument"),
        ([b"--no-inject="], "--no-inject takes no argument"),
        ([b"-t"], "--timeout needs an argument: SECONDS"),
        ([b"-nt"], "--timeout needs an argument: SECONDS"),
        ([b"--header"], "--header needs an argument: TEXT"),
    ],
)
def test_what_is_no_option_is_named(words: list[bytes], text: str) -> None:
    assert wrong(*REQUIRED_WORDS, *words) == text


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([b"--help"], "help"),
        ([b"--version"], "version"),
        ([b"-t", b"nonsense", b"--help"], "help"),
        ([b"-c", b"--version"], "version"),
    ],
)
def test_a_person_asks_for_help_with_or_without_the_rest(words: list[bytes], what: str) -> None:
    with pytest.raises(HelpRequest) as asked:
        read(*words)
    assert asked.value.what == what
    assert asked.value.status == 75


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([b"--help", b"--version"], "version"),
        ([b"--version", b"--help"], "version"),
        ([b"--help", b"--nonesuch"], "no such option: --nonesuch"),
        ([b"--help", b"-f"], "--from needs an argument: ADDRESS"),
    ],
)
def test_a_command_line_that_cannot_be_split_is_no_request_for_help(
    words: list[bytes], what: str
) -> None:
    with pytest.raises((HelpRequest, Usage)) as end:
        read(*words)
    assert getattr(end.value, "what", end.value.text) == what


@pytest.mark.parametrize(
    ("words", "recipients"),
    [
        ([b"x", b"--help"], (b"x", b"--help")),
        ([b"--", b"--help"], (b"--help",)),
        ([b"--from", b"--help", b"x"], (b"x",)),
        ([b"-", b"-"], (b"-", b"-")),
        ([b"-vn", b"-nf-n", b"-vf", b"", b"--", b"--"], (b"--",)),
        ([b"-c", b"-t", b"nonsense", b"x"], (b"x",)),
    ],
)
def test_what_only_looks_like_an_option_is_none(
    words: list[bytes], recipients: tuple[bytes, ...]
) -> None:
    assert read(*REQUIRED_WORDS, *words).recipients == recipients


SHORT = "".join(each.letter + (":" if each.argument else "") for each in OPTIONS if each.letter)
LONG = [each.name + ("=" if each.argument else "") for each in OPTIONS]


def by_getopt(words: list[bytes]) -> tuple[list[tuple[str, bytes]], list[bytes]] | None:
    """The options and operands as getopt(3) splits them; None where it does not."""
    try:
        options, operands = getopt.getopt([word.decode("latin-1") for word in words], SHORT, LONG)
    except getopt.GetoptError:
        return None
    known = [(name.lstrip("-"), value.encode("latin-1")) for name, value in options]
    return known, [operand.encode("latin-1") for operand in operands]


def test_options_are_split_as_getopt_splits_them() -> None:
    """But for the names that it completes by itself."""
    kinds: dict[str, int] = {}

    @hypothesis.settings(max_examples=500)
    @hypothesis.given(command_lines())
    def agree(words: list[bytes]) -> None:
        theirs = by_getopt(words)
        try:
            given, operands = parse_options(words)
        except Usage as why:
            kind = "wrong"
            assert theirs is None or "no such option: --" in why.text
        else:
            kind = "right"
            assert theirs is not None
            assert operands == theirs[1]
            assert [each.argument for each in given] == [value for _, value in theirs[0]]
            for each, (name, _) in zip(given, theirs[0], strict=True):
                assert name in (each.option.letter, each.option.name)
        kinds[kind] = kinds.get(kind, 0) + 1

    agree()
    assert min(kinds["right"], kinds["wrong"]) > sum(kinds.values()) / 50, kinds


@hypothesis.given(command_lines())
def test_any_command_line_is_settings_or_a_request_for_help_or_wrong(words: list[bytes]) -> None:
    try:
        assert reading.read(words, lambda path: b"").recipients
    except (HelpRequest, Usage) as why:
        assert why.text.isprintable()
