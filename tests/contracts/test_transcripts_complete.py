"""Every kind of answer is in the transcripts of every type, unless its protocol has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avcheck.scanners.rows import SCANNERS
from avcheck.verdict import CLEAN, ENCRYPTED, FAILED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE
from tests.unit.scanners.test_transcripts import DIALOGUES, Dialogue


def failed(word: str) -> Callable[[Dialogue], bool]:
    """Whether a dialogue is about such trouble; its file is named after it."""
    return lambda dialogue: dialogue.verdict is FAILED and word in dialogue.id.split("/")[1]


KINDS: dict[str, Callable[[Dialogue], bool]] = {
    "clean": lambda dialogue: dialogue.verdict is CLEAN,
    "infected": lambda dialogue: dialogue.verdict is INFECTED,
    "several": lambda dialogue: dialogue.verdict is INFECTED and len(dialogue.names) > 1,
    "suspicious": lambda dialogue: dialogue.verdict is SUSPICIOUS,
    "policy": lambda dialogue: dialogue.verdict is POLICY,
    "encrypted": lambda dialogue: dialogue.verdict is ENCRYPTED,
    "limits": lambda dialogue: dialogue.verdict is UNSCANNABLE,
    "error": failed("error"),
    "licence": failed("licence"),
    "garbage": failed("garbage"),
}

NO_LICENCE = "no word for it: an error like others"

# What a protocol cannot say, and what is said instead.
CANNOT: dict[tuple[str, str], str] = {
    ("aveserver", "policy"): "riskware is a warning (233): suspicious",
    ("aveserver", "licence"): NO_LICENCE,
    ("avast", "policy"): "unwanted programs have names among the viruses",
    ("avp", "policy"): "has 3 (suspicious) and 4 (infected) only",
    ("avp", "encrypted"): "has 8 (could not be scanned) only: limits",
    ("clamd", "several"): "stops at the first",
    ("clamd", "licence"): "free software",
    ("drweb", "encrypted"): "skips it as it skips others: limits",
    ("f-protd", "suspicious"): "has 11 (infected) only",
    ("f-protd", "policy"): "has 11 (infected) only",
    ("f-protd", "licence"): NO_LICENCE,
    ("fpscand", "several"): "one line and one name for a message",
    ("fpscand", "licence"): NO_LICENCE,
    ("kse", "several"): "version 1 has one name, or the word multiple",
    ("mksd", "several"): "one line and one name",
    ("mksd", "suspicious"): "has OK, VIR and ERR only",
    ("mksd", "policy"): "has OK, VIR and ERR only",
    ("mksd", "encrypted"): "has OK, VIR and ERR only",
    ("mksd", "limits"): "has OK, VIR and ERR only",
    ("mksd", "licence"): NO_LICENCE,
    ("sophie", "several"): "stops at the first",
    ("sophie", "suspicious"): "has 0, 1 and -1 only",
    ("sophie", "policy"): "has 0, 1 and -1 only",
    ("sophie", "licence"): NO_LICENCE,
    ("sssp", "suspicious"): "has VIRUS lines only",
    ("sssp", "policy"): "has VIRUS lines only",
    ("sssp", "licence"): NO_LICENCE,
}

# Types with transcripts: one for each module (other names of a type are tested by its row).
TYPES = sorted({dialogue.scanner for dialogue in DIALOGUES})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type_", TYPES)
def test_every_kind_of_answer_is_there_or_cannot_be(type_: str, kind: str) -> None:
    there = [str(each) for each in DIALOGUES if each.scanner == type_ and KINDS[kind](each)]
    if (type_, kind) in CANNOT:
        assert not there, "so it can be said, and is no exception"
    else:
        assert there, f"tests/support/transcripts/{type_} has no dialogue for {kind}"


def test_exceptions_are_about_types_and_kinds_that_there_are() -> None:
    assert {type_ for type_, _ in CANNOT} <= set(TYPES)
    assert {kind for _, kind in CANNOT} <= set(KINDS)
    modules = {row.module for row in SCANNERS.values() if not row.program}
    assert {SCANNERS[type_].module for type_ in TYPES} == modules


@pytest.mark.parametrize("kind", ["clean", "infected", "error", "garbage"])
@pytest.mark.parametrize("type_", TYPES)
def test_what_everybody_can_say_is_never_an_exception(type_: str, kind: str) -> None:
    assert (type_, kind) not in CANNOT
