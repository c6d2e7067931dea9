"""avcheck-smtp(8) says what the table of options and the code say."""

from __future__ import annotations

import re

import pytest

from avcheck.options import rows
from avcheck.options.rows import EVERY, PIPE, SMTP, Option
from avcheck.smtpd import content, lines, session
from tests.contracts.test_tables import items
from tests.support.tree import ROOT
from tests.support.words import RIGHT

PAGE = (ROOT / "man" / "avcheck-smtp.8").read_text("utf-8")
COMMAND = rows.Command(SMTP)


def section(title: str) -> str:
    match = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh )", PAGE, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[1]


def head(option: Option) -> str:
    argument = f" Ar {option.argument}" if option.argument else ""
    spellings = [f"Fl {option.letter}{argument}"] if option.letter else []
    return " , ".join([*spellings, f"Fl Fl {option.name}{argument}"])


def test_the_page_has_every_option_in_its_spellings_and_no_other() -> None:
    heads = [head_ for head_, _ in items(section("OPTIONS"))]
    assert heads == [head(option) for option in COMMAND.options]


def test_the_page_names_no_option_that_there_is_none_of() -> None:
    assert set(re.findall(r"\bFl Fl ([a-z][a-z-]*)", PAGE)) <= {each.name for each in EVERY}


def test_what_only_avcheck_knows_is_named_as_wrong_usage() -> None:
    said = section("OPTIONS").partition("are wrong usage")[0]
    said += section("OPTIONS").partition("are wrong usage")[2].partition("One file")[0]
    for option in EVERY:
        if option.commands == PIPE:
            spelled = rf"Fl (\w , )*{option.letter}\b|Fl .*\b{option.letter}\b"
            assert f"Fl Fl {option.name}" in said or (option.letter and re.search(spelled, said)), (
                option.name
            )


def test_the_page_has_the_defaults_of_its_own_options() -> None:
    texts = dict(items(section("OPTIONS")))
    for option in EVERY:
        if option.commands == SMTP and option.argument:
            assert f"{option.default:g} unless given" in texts[head(option)]
            assert f"{option.default:g} unless given" in option.help


def test_the_page_has_the_limits_and_the_names() -> None:
    replies = section("REPLIES")
    assert f"{session.IDLE_MAX:g} seconds" in replies
    assert lines.ERRORS_MAX == 20
    assert "twentieth error since a message was taken" in " ".join(replies.split())
    for name in (content.LONE_DOT, content.FIRST_DOT):
        assert name.decode() in replies


@pytest.mark.parametrize("name", ["from", "client", "no-inject", "ok-status", "queue-id", "orcpt"])
def test_what_belongs_to_one_message_is_not_an_option_of_a_session(name: str) -> None:
    assert name.encode() not in COMMAND.names


def test_every_other_option_is_one_of_both() -> None:
    shared = [each for each in EVERY if each.commands == rows.BOTH]
    assert [each for each in COMMAND.options if each in rows.OPTIONS] == shared
    assert {option.attribute for option, _ in RIGHT} >= {"scanners", "spool"}
