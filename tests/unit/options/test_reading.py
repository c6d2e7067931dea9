"""The quick reader: what the words mean, and what is wrong with them, by the option's name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.address import Address
from avcheck.exits import Usage
from avcheck.options import reading
from avcheck.options.reading import Asked
from avcheck.options.rows import OPTIONS, Option
from avcheck.scanners.rows import SCANNERS
from avcheck.settings import Settings
from avcheck.verdict import ENCRYPTED, FAILED, INFECTED, VERDICTS
from tests.support.wire import no_file, settings
from tests.support.words import ARGUMENTS, REQUIRED, WITH_ARGUMENT, option, shown, spelled

REQUIRED_WORDS = [b"-f", b"a@b", b"-s", b"clamd", b"-d", b"/spool"]


def read(*words: bytes) -> Settings:
    return reading.read(list(words), no_file)


def wrong(*words: bytes) -> str:
    with pytest.raises(Usage) as why:
        read(*words)
    return why.value.text


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
    attributes = {each.attribute for each in OPTIONS if each.attribute}
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


RIGHT = [(each, value) for each in WITH_ARGUMENT for value in ARGUMENTS[each.attribute][0]]
WRONG = [(each, value) for each in WITH_ARGUMENT for value in ARGUMENTS[each.attribute][1]]
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


# Where good mail goes.


@pytest.mark.parametrize(
    ("words", "program", "server"),
    [
        ([], (), Address(host=b"127.0.0.1", port=b"smtp")),
        ([b""], (), Address(host=b"127.0.0.1", port=b"smtp")),
        ([b"mx"], (), Address(host=b"mx", port=b"smtp")),
        ([b":26"], (), Address(host=b"127.0.0.1", port=b"26")),
        ([b"[::1]"], (), Address(host=b"::1", port=b"smtp")),
        ([b"unix:/run/smtp"], (), Address(path=b"/run/smtp")),
        ([b"/s -G -i"], (b"/s", b"-G", b"-i"), None),
        ([b"/s", b"-G", b"-i"], (b"/s", b"-G", b"-i"), None),
        ([b"/s", b" -G  -i "], (b"/s", b"-G", b"-i"), None),
    ],
)
def test_a_program_or_a_server_takes_good_mail(
    words: list[bytes], program: tuple[bytes, ...], server: Address | None
) -> None:
    given_words = [each for word in words for each in (b"-S", word)]
    found = read(*REQUIRED_WORDS, *given_words, b"x")
    assert found.program == program
    assert server is None or found.server == server


@pytest.mark.parametrize("words", [[b"mx -i"], [b"mx", b"-i"], [b"::1"], [b"25"], [b"run/x"]])
def test_neither_a_program_nor_a_server(words: list[bytes]) -> None:
    given_words = [each for word in words for each in (b"-S", word)]
    assert wrong(*REQUIRED_WORDS, *given_words, b"x").startswith("-S: ")


# What goes together.


@pytest.mark.parametrize("attribute", sorted(REQUIRED))
def test_a_required_option_that_is_missing_is_named(attribute: str) -> None:
    words = [
        word
        for each, value in REQUIRED.items()
        if each != attribute
        for word in spelled(option(each), value, 0)
    ]
    assert wrong(*words, b"x").startswith(f"-{option(attribute).letter} is required")


def test_nobody_to_deliver_to_is_wrong() -> None:
    assert wrong(*REQUIRED_WORDS) == "no recipient"
    assert wrong(*REQUIRED_WORDS, b"--") == "no recipient"
    assert wrong(*REQUIRED_WORDS, b"x", b"") == "an empty recipient"
    assert "line break" in wrong(*REQUIRED_WORDS, b"x", b"a\nb")


def test_what_is_wrong_is_made_harmless() -> None:
    assert "\x1b" not in wrong(*REQUIRED_WORDS, b"--\x1b[31m")
    assert len(wrong(*REQUIRED_WORDS, b"--" + b"x" * 1000)) <= 400


def test_with_c_only_the_sender_and_the_way_on_count() -> None:
    ignored = [
        word
        for row, argument in WRONG
        if row.attribute not in reading.CLIENT
        for word in spelled(row, argument, 1)
    ]
    found = read(b"-c", b"-f", b"a@b", *ignored, b"-S:26", b"x")
    assert found.client
    assert (found.sender, found.recipients) == (b"a@b", (b"x",))
    assert found.server.port == b"26"
    assert found.deadline == 900.0
    assert found.tls == "never"
    assert wrong(b"-c", b"-f", b"", b"--tls=maybe", b"x").startswith("--tls: ")
    assert wrong(b"-c", b"x").startswith("-f is required")
    assert wrong(b"-c", b"-f", b"a\nb", b"x").startswith("-f: ")


def test_an_original_recipient_is_for_each_recipient() -> None:
    assert "--orcpt" in wrong(*REQUIRED_WORDS, b"--orcpt=o@b", b"x", b"y")
    assert read(*REQUIRED_WORDS, b"--orcpt=", b"--orcpt=o@b", b"x", b"y").original == (b"", b"o@b")


def test_no_more_scanners_are_needed_than_there_are() -> None:
    assert "--need: 2: " in wrong(*REQUIRED_WORDS, b"--need=2", b"x")
    assert read(*REQUIRED_WORDS, b"--need=2", b"--backup=clamd:/y", b"x").need == 2


def test_attempts_are_counted_by_queue_id() -> None:
    assert "--queue-id" in wrong(*REQUIRED_WORDS, b"--attempts=3", b"x")


def test_the_policy_has_an_action_for_every_verdict() -> None:
    found = settings(b"--on", b"infected=quarantine:/q", b"--on=encrypted=deliver").on
    assert set(found) == set(VERDICTS)
    assert found[INFECTED] == ("quarantine", b"/q")
    assert found[ENCRYPTED] == ("deliver", b"")
    assert found[FAILED] == ("defer", b"")


def test_two_actions_for_one_verdict_are_wrong() -> None:
    settings(b"--on=infected=discard", b"--on=infected=discard")
    assert "--on: two actions for infected" in wrong(
        *REQUIRED_WORDS, b"--on=infected=discard", b"--on=infected=reject", b"x"
    )


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


# The grammar.


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
    with pytest.raises(Asked) as asked:
        read(*words)
    assert asked.value.what == what
    assert asked.value.status == 75


# The configuration file.


def configured(text: bytes, *words: bytes) -> Settings:
    def load(path: bytes) -> bytes:
        assert path == b"/conf"
        return text

    return reading.read([*REQUIRED_WORDS, b"--config=/conf", *words, b"x"], load)


def test_the_file_says_more_and_the_command_line_wins() -> None:
    found = configured(
        b"# a comment\n\n  timeout   5 \nheader\ta  b\nno-inject\n"
        b"on infected=discard\non failed=deliver",
        b"-t7",
        b"--on=failed=defer",
    )
    assert (found.timeout, found.header, found.no_inject) == (7.0, b"a  b", True)
    assert (found.on[INFECTED], found.on[FAILED]) == (("discard", b""), ("defer", b""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\nnonesuch x", "/conf, line 2: no such option: nonesuch"),
        (b"t 5", "/conf, line 1: no such option: t"),
        (b"help", "/conf, line 1: no such option: help"),
        (b"config /other", "/conf, line 1: no such option: config"),
        (b"timeout", "/conf, line 1: timeout needs an argument: SECONDS"),
        (b"client", "/conf, line 1: no such option: client"),
        (b"from a@b", "/conf, line 1: no such option: from"),
        (b"verbose yes", "/conf, line 1: verbose takes no argument"),
        (b"# x\ntimeout soon", "/conf, line 2: timeout: soon: a number of seconds"),
        (b"\nbackup clamd:x/y", "/conf, line 2: backup: x/y: a socket's path"),
        (b"sendmail a b", "/conf, line 1: sendmail: a b: "),
        (b"need 9", "/conf, line 1: need: 9: there are not so many"),
        (b"on clean=defer\non clean=discard", "/conf, line 2: on: two actions for clean"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_line(text: bytes, said: str) -> None:
    with pytest.raises(Usage) as why:
        configured(text)
    assert why.value.text.startswith(said)
