"""What options and operands mean together, and where good mail goes."""

from __future__ import annotations

import pytest

from avcheck.address import Address
from avcheck.options import reading
from avcheck.verdict import ENCRYPTED, FAILED, INFECTED, VERDICTS
from tests.support.wire import settings
from tests.support.words import (
    REQUIRED,
    REQUIRED_WORDS,
    WRONG,
    option,
    read,
    spelled,
    wrong,
)

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
