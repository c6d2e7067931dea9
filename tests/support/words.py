"""Arguments for every option, right ones and wrong ones, and command lines made of them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from avcheck.exits import Usage
from avcheck.options import reading, rows
from avcheck.options.rows import OPTIONS, Option
from avcheck.settings import Settings
from tests.support.wire import no_file

ADDRESSES = [
    b"a@b.example",
    b"-a@b",
    b"--",
    b"-",
    b"-f",
    b"=x@y",
    b"\xff\xfe@x",
    b"two words@x",
    b"--from=x",
]
WRONG_ADDRESSES = [b"a\nb@c", b"a\rb@c", b"a\0b@c"]
FILES = [b"/x", b"x y", b"-x", b"\xff", b"="]
WRONG_FILES = [b"", b"/x\0y"]
SECONDS = [b"60", b"1.5", b".5", b"5.", b"0", b"0.0", b"007", b"999999999"]
WRONG_SECONDS = [
    b"",
    b"-1",
    b"1e3",
    b"x",
    b"1.2.3",
    b".",
    b"1 ",
    b"inf",
    b"nan",
    b"\xb2",
    b"9999999999",
]
NUMBERS = [b"1", b"2", b"007", b"99999"]
WRONG_NUMBERS = [b"", b"0", b"-1", b"x", b"1.0", b"100000", b"\xb2", b"9" * 5000]

# By attribute: what is read, and what is wrong usage.
ARGUMENTS: dict[str, tuple[list[bytes], list[bytes]]] = {
    "sender": ([*ADDRESSES, b"", b"<>"], WRONG_ADDRESSES),
    "scanners": (
        [
            b"clamd",
            b"clamd:",
            b"clamd:/run/x,127.0.0.1:3310",
            b"clamd::3310",
            b"clamd+stream:/x",
            b"clamd+path:/x",
            b"clamd+descriptor",
            b"clamd+tls:host:1",
            b"clamd+tls+stream:host:1",
            b"clamd:[::1]:3310",
            b"clamd:/x=y",
            b"my.module:/x?a=b&c=%2526",
        ],
        [b"", b":", b"nonesuch", b"clamd+magic", b"clamd+", b"my.module"],
    ),
    "spool": (
        [b"/", b"/spool", b"/a/./b", b"/x y", b"/\xff"],
        [b"", b"spool", b"./spool", b"/a\nb", b"/a\0"],
    ),
    "timeout": (SECONDS, WRONG_SECONDS),
    "deadline": (SECONDS, WRONG_SECONDS),
    "ok_status": (
        [b"0", b"1", b"75", b"255", b"007"],
        [b"", b"-1", b"256", b"x", b"1.0", b"0000", b"\xb2"],
    ),
    "program": (
        [b"/usr/sbin/sendmail -G -i", b"mx:25", b":25", b"unix:/x", b"[::1]:25", b"", b" ", b"-i"],
        [b"/x\0y"],
    ),
    "header": (
        [b"", b"mx.example", b"a: b", b"x" * 900],
        [b"a\nb", b"a\rb", b"a\0b", b"\xc3\xbc", b"\t", b"x" * 901],
    ),
    "infected": (FILES, WRONG_FILES),
    "waitfile": (FILES, WRONG_FILES),
    "backups": ([b"clamd", b"clamd:/x"], [b"", b"nonesuch"]),
    "need": (NUMBERS, WRONG_NUMBERS),
    "on": (
        [
            b"infected=discard",
            b"failed=deliver",
            b"policy=quarantine:/q",
            b"clean=defer",
            b"encrypted=reject",
        ],
        [
            b"",
            b"infected",
            b"infected=",
            b"nonesuch=discard",
            b"clean=nonesuch",
            b"clean=discard:/x",
            b"clean=quarantine",
            b"clean=quarantine:x",
            b"Clean=defer",
        ],
    ),
    "attempts": (NUMBERS, WRONG_NUMBERS),
    "slots": (NUMBERS, WRONG_NUMBERS),
    "canary": ([b"60", b"0.5"], WRONG_SECONDS),
    "metrics": (FILES, WRONG_FILES),
    "config": ([b"/x"], WRONG_FILES),
    "scanner_ca": (FILES, WRONG_FILES),
    "scanner_cert": (FILES, WRONG_FILES),
    "scanner_key": (FILES, WRONG_FILES),
    "tls": ([b"never", b"may", b"require"], [b"", b"Never", b"always"]),
    "tls_ca": ([*FILES, b"system"], WRONG_FILES),
    "tls_name": (
        [b"mx.example", b"192.0.2.1", b"::1", b"a-b"],
        [b"", b".", b"a b", b"a_b/", b"\xc3\xbc"],
    ),
    "refused": ([b"defer", b"bounce"], [b"", b"Bounce", b"drop"]),
    "xforward": ([b"NAME=x", b"addr=::1", b"HELO=", b"NAME=a=b"], [b"", b"NAME", b"=x", b"WHO=x"]),
    "envid": ([b"", b"QQ1", b"a b", b"\xff", b"x" * 101], []),
    "ret": ([b"full", b"HDRS"], [b"", b"all"]),
    "notify": ([b"never", b"success", b"FAILURE,delay"], [b"", b"never,delay", b"success,", b"x"]),
    "original": ([b"", *ADDRESSES], WRONG_ADDRESSES),
    "queue_id": ([b"", b"4XYZ", b"\xff\n"], []),
}


def spelled(option: Option, argument: bytes, how: int) -> list[bytes]:
    """The option with its argument, in one of its spellings."""
    letter, name = b"-" + option.letter.encode(), b"--" + option.name.encode()
    spellings = [[name + b"=" + argument], [name, argument]]
    if option.letter:
        spellings.append([letter, argument])
        if argument:
            spellings.append([letter + argument])
    return spellings[how % len(spellings)]


def arguments_of(option: Option) -> tuple[list[bytes], list[bytes]]:
    """What is read as its argument, and what is wrong usage."""
    try:
        return ARGUMENTS[option.attribute]
    except KeyError:
        raise KeyError(f"{__file__}: ARGUMENTS has none for --{option.name}") from None


FLAGS = [option for option in OPTIONS if not option.argument]
WITH_ARGUMENT = [option for option in OPTIONS if option.argument]
RIGHT = [(each, value) for each in WITH_ARGUMENT for value in arguments_of(each)[0]]
WRONG = [(each, value) for each in WITH_ARGUMENT for value in arguments_of(each)[1]]
LETTERS = b"".join(option.letter.encode() for option in FLAGS)


@st.composite
def given_options(draw: st.DrawFn, valid: bool) -> list[bytes]:
    """An option, with its argument if it takes one; or several flags together."""
    kind = draw(st.integers(0, 9))
    flags = bytes(draw(st.lists(st.sampled_from(list(LETTERS)), min_size=1, max_size=3)))
    if kind == 0:
        return [b"-" + flags]
    if kind == 1:
        return [b"--" + draw(st.sampled_from(FLAGS)).name.encode()]
    option = draw(st.sampled_from(WITH_ARGUMENT))
    right, wrong = arguments_of(option)
    arguments = right if valid or not wrong else [*right, *wrong]
    words = spelled(option, draw(st.sampled_from(arguments)), draw(st.integers(0, 3)))
    if kind == 2 and words[0][1:2] != b"-":
        words[0] = b"-" + flags + words[0][1:]
    return words


# What only looks like an option, or is a wrong one.
ODD_ALONE = (
    b"-",
    b"",
    b"---",
    b"--=x",
    b"-x",
    b"-nx",
    b"-n-",
    b"-\xff",
    b"--\xff",
    b"-=",
    b"-F",
    b"-from",
)
ODD_LONG = (
    b"--nonesuch",
    b"--nonesuch=x",
    b"--fro=x",
    b"--n",
    b"--FROM=x",
    b"--help=x",
    b"--client=",
)
ODD_UNFINISHED = (b"-f", b"--from", b"-nf", b"--header")
ODD = st.sampled_from((*ODD_ALONE, *ODD_LONG, *ODD_UNFINISHED)).map(lambda word: [word])

REQUIRED = {"sender": b"a@b", "scanners": b"clamd", "spool": b"/spool"}
REQUIRED_WORDS = [b"-f", b"a@b", b"-s", b"clamd", b"-d", b"/spool"]


def read(*words: bytes) -> Settings:
    """The settings of a command line that needs no file."""
    return reading.read(list(words), no_file)


def wrong(*words: bytes) -> str:
    """What is said of a command line that means nothing."""
    with pytest.raises(Usage) as why:
        read(*words)
    return why.value.text


@st.composite
def command_lines(draw: st.DrawFn) -> list[bytes]:
    """Words for avcheck; about half of them are right."""
    valid = draw(st.integers(0, 3)) > 0
    parts = draw(st.lists(given_options(valid), max_size=4))
    for attribute, argument in REQUIRED.items():
        if valid or draw(st.integers(0, 9)):
            (option,) = [each for each in OPTIONS if each.attribute == attribute]
            place = draw(st.integers(0, len(parts)))
            parts.insert(place, spelled(option, argument, draw(st.integers(0, 3))))
    if not valid and draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), draw(ODD))
    words = [word for part in parts for word in part]
    if draw(st.integers(0, 2)):
        words.append(b"--")
    recipients = st.sampled_from(ADDRESSES if valid else [*ADDRESSES, *WRONG_ADDRESSES, b""])
    words += draw(st.lists(recipients, min_size=int(valid), max_size=3))
    if not draw(st.integers(0, 4)):
        words.append(b"-n")  # after the operands: an operand
    return words


def option(attribute: str) -> rows.Option:
    """The row of the attribute."""
    (row,) = [each for each in OPTIONS if each.attribute == attribute]
    return row


def shown(settings: Settings) -> dict[str, object]:
    """All that the words mean, as values that can be compared."""
    every = dict(vars(settings))
    for name in ("scanners", "backups"):
        every[name] = [
            (
                each.type,
                each.row.module,
                [(t.address, t.way, t.tls, t.path, dict(t.parameters)) for t in each.targets],
            )
            for each in every[name]
        ]
    return every
