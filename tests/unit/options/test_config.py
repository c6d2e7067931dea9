"""The lines of --config: each means what its option means, and the command line wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avcheck.exits import Defer, Usage
from avcheck.options import reading, rows
from avcheck.options.file import read_config
from avcheck.settings import Scanner, Settings
from avcheck.verdict import FAILED, INFECTED
from tests.support.wire import no_file
from tests.support.words import REQUIRED_WORDS

# An argument for each option that a file may have.
ARGUMENTS = {
    "scanner": "clamd:/run/x",
    "spool": "/spool",
    "timeout": "10",
    "deadline": "20",
    "no-inject": "",
    "ok-status": "3",
    "sendmail": "/usr/sbin/sendmail -G -i",
    "header": "some words",
    "infected": "/bin/true",
    "waitfile": "/wait",
    "backup": "clamd:/run/y",
    "need": "2",
    "on": "infected=discard",
    "attempts": "3",
    "slots": "4",
    "canary": "60",
    "metrics": "/metrics",
    "scanner-ca": "/ca",
    "scanner-cert": "/cert",
    "scanner-key": "/key",
    "tls": "may",
    "tls-ca": "system",
    "tls-name": "mail.example.com",
    "refused": "bounce",
    "xforward": "NAME=mail.example.com",
    "envid": "abc",
    "ret": "hdrs",
    "notify": "never",
    "orcpt": "b@example.net",
    "queue-id": "4X",
    "verbose": "",
}

# These say what one message is, or that nothing is scanned at all: no matter for a file.
NOT_IN_A_FILE = {"from", "client", "config", "version", "help"}


def read_file(*lines: str, words: tuple[str, ...] = ()) -> Settings:
    """The settings of a file, with words on the command line."""
    message = ["--queue-id=1"] if not any("queue-id" in each for each in (*lines, *words)) else []
    line = ["--config", "/x", "-f", "a@example.com", *message, *words, "--", "b@example.net"]
    data = "".join(each + "\n" for each in lines).encode()
    return reading.read([os.fsencode(word) for word in line], lambda path: data)


def test_every_option_is_in_one_of_the_two_lists() -> None:
    assert {option.name for option in rows.OPTIONS} == ARGUMENTS.keys() | NOT_IN_A_FILE


BASE = ("spool /s", "scanner clamd:/c", "backup clamd:/d")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_line_means_what_the_option_means(name: str) -> None:
    line = f"{name} {ARGUMENTS[name]}".rstrip()
    option = f"--{name}={ARGUMENTS[name]}" if ARGUMENTS[name] else f"--{name}"
    base = [each for each in BASE if each.partition(" ")[0] != name]
    in_file, on_line = read_file(*base, line), read_file(*base, words=(option,))
    default = read_file(*BASE)
    attribute = rows.NAMES[name.encode()].attribute
    assert plain(getattr(in_file, attribute)) == plain(getattr(on_line, attribute))
    assert plain(getattr(in_file, attribute)) != plain(getattr(default, attribute))


def plain(value: object) -> object:
    """The value, with what has no == of its own taken apart."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Scanner):
        return [value.type, *((target.address, target.way) for target in value.targets)]
    return value


@pytest.mark.parametrize("name", sorted(ARGUMENTS.keys() - {"on"}))
def test_whatever_is_given_twice_is_as_on_the_command_line(name: str) -> None:
    wrong = {
        "scanner": "clamd:/else",
        "spool": "/else",
        "sendmail": "/else",
        "header": "else",
        "infected": "/else",
        "waitfile": "/else",
        "backup": "clamd:/else",
        "metrics": "/else",
        "tls": "require",
        "tls-name": "else.example.com",
        "refused": "defer",
        "xforward": "NAME=else",
        "envid": "else",
        "ret": "full",
        "notify": "delay",
        "orcpt": "else@example.net",
        "queue-id": "else",
    }.get(name, "/else" if name.startswith(("scanner-", "tls-")) else "1")
    if not ARGUMENTS[name]:
        return
    base = [each for each in BASE if each.partition(" ")[0] != name]
    option = f"--{name}={ARGUMENTS[name]}"
    both = read_file(*base, f"{name} {wrong}", words=(option,))
    alone = read_file(*base, words=(option,))
    attribute = rows.NAMES[name.encode()].attribute
    assert plain(getattr(both, attribute)) == plain(getattr(alone, attribute))


def test_without_the_option_no_file_is_read() -> None:
    line = [b"-s", b"clamd", b"-d", b"/s", b"-f", b"a@example.com", b"b@example.net"]
    assert reading.read(line, no_file).config == b""


def test_the_loader_gives_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a\0\xff\r\n")
    assert read_config(os.fsencode(file)) == b"a\0\xff\r\n"
    with pytest.raises(Defer) as why:
        read_config(os.fsencode(tmp_path / "none"))
    assert why.value.code == "4.3.5"


def test_a_nul_is_wrong_where_it_would_end_a_path() -> None:
    for name in ("infected", "waitfile", "metrics", "spool"):
        with pytest.raises(Usage, match="/x, line"):
            read_file(*(line for line in BASE if not line.startswith(name)), f"{name} /a\0b")


def configured_by(text: bytes, *words: bytes) -> Settings:
    def load(path: bytes) -> bytes:
        assert path == b"/conf"
        return text

    return reading.read([*REQUIRED_WORDS, b"--config=/conf", *words, b"x"], load)


def test_the_file_says_more_and_the_command_line_wins() -> None:
    found = configured_by(
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
        configured_by(text)
    assert why.value.text.startswith(said)
