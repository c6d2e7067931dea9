"""Two commands and one table: which option is whose, and one file for both."""

from __future__ import annotations

import pytest

from avcheck.exits import Usage
from avcheck.options import reading, rows
from avcheck.options.rows import EVERY, PIPE, SMTP
from avcheck.settings import Settings
from tests.support.words import ARGUMENTS, read

SESSION = rows.Command(SMTP)
REQUIRED = [b"-s", b"clamd", b"-d", b"/spool"]
FILE = b"scanner clamd\nspool /spool\nprocesses 7\nrefused bounce\nmessages 3\nhide\n"


def read_session(*words: bytes, file: bytes = b"") -> Settings:
    return reading.read(list(words), lambda path: file, SESSION)


def test_a_session_needs_a_scanner_and_a_spool() -> None:
    settings = read_session(*REQUIRED)
    assert (settings.messages, settings.session, settings.processes) == (100, 600.0, 20)
    assert settings.need == 1
    for missing in (REQUIRED[:2], REQUIRED[2:]):
        with pytest.raises(Usage, match="is required"):
            read_session(*missing)


@pytest.mark.parametrize("option", [each for each in EVERY if each.commands == PIPE])
def test_an_option_of_a_message_is_none_of_a_session(option: rows.Option) -> None:
    for spelled in ("--" + option.name, "-" + option.letter):
        if spelled != "-":
            with pytest.raises(Usage, match=f"^{spelled}: an option of avcheck only$"):
                read_session(*REQUIRED, spelled.encode(), b"x")


@pytest.mark.parametrize("option", [each for each in EVERY if each.commands == SMTP])
def test_an_option_of_a_session_is_none_of_a_message(option: rows.Option) -> None:
    with pytest.raises(Usage, match=f"^--{option.name}: an option of avcheck-smtp only$"):
        read(b"-f", b"a@b", *REQUIRED, b"--" + option.name.encode(), b"r@x")


def test_recipients_are_wrong_usage_for_a_session() -> None:
    with pytest.raises(Usage, match="a@b: recipients come from the SMTP dialogue"):
        read_session(*REQUIRED, b"a@b")


def test_one_file_serves_both() -> None:
    file = FILE.replace(b"hide\n", b"")
    settings = read_session(b"--config", b"/f", file=file)
    assert (settings.processes, settings.messages, settings.refused) == (7, 3, "defer")
    words = [b"--config", b"/f", b"-f", b"a@b", b"r@x"]
    other = reading.read(words, lambda path: file)
    assert other.refused == "bounce"
    for command, more in ((SESSION, []), (rows.AVCHECK, words[2:])):
        with pytest.raises(Usage, match="line 6: no such option: hide"):
            reading.read([*words[:2], *more], lambda path: FILE, command)


def test_attempts_need_no_option_where_the_client_tells_the_queue_id() -> None:
    assert read_session(*REQUIRED, b"--attempts", b"3").attempts == 3


@pytest.mark.parametrize("option", [each for each in SESSION.options if each.argument])
def test_arguments_are_read_as_for_a_message(option: rows.Option) -> None:
    right, wrong = ARGUMENTS.get(option.attribute, ([b"1"], [b"", b"x", b"-1"]))
    for value in right:
        option.read(value)
    for value in wrong:
        with pytest.raises(Usage):
            option.read(value)
