"""Of a message with two readings the worse answer counts, and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avcheck import ask
from avcheck.exits import SILENT, Defer
from avcheck.rendering import HEADERS_MAX
from avcheck.settings import Scanner, Settings
from avcheck.spool import Message
from avcheck.state import canary
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    FAILED,
    INFECTED,
    POLICY,
    UNSCANNABLE,
    Finding,
    Verdict,
)
from tests.support.fakes import FakeClamd
from tests.support.readings import seen_by_scanners, with_mark
from tests.support.wire import spooled
from tests.unit.test_ask import asking, daemons, every  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (b"OK", b"OK", CLEAN),
        (b"OK", b"Eicar FOUND", INFECTED),
        (b"Eicar FOUND", b"OK", INFECTED),
        (b"OK", b"Heuristics.Encrypted.Zip FOUND", ENCRYPTED),
        (b"OK", b"nonsense", FAILED),
        (b"nonsense", b"OK", FAILED),
        (b"nonsense", b"Eicar FOUND", INFECTED),
    ],
)
def test_of_a_message_with_two_readings_the_worse_answer_counts(
    tmp_path: Path,
    daemons: Callable[..., FakeClamd],  # noqa: F811
    first: bytes,
    second: bytes,
    verdict: Verdict,
) -> None:
    received = b"From: x\nno field\n"
    one, other = seen_by_scanners(received)
    daemon = daemons(says=lambda content: {one: first, other: second}[with_mark(content)])
    (tmp_path / "spool").mkdir(mode=0o700)
    with spooled(tmp_path / "spool", received) as letter:
        (answer,) = every(letter, asking(f"clamd:{daemon.where}"))
    assert answer.finding.verdict is verdict
    asked = [with_mark(question.content) for question in daemon.questions]
    infected = first == b"Eicar FOUND"
    assert asked == [one, *([] if infected else [other])]


@pytest.mark.parametrize(("says", "verdict"), [(b"OK", UNSCANNABLE), (b"Eicar FOUND", INFECTED)])
def test_a_message_with_more_in_it_than_is_read_is_not_clean(
    tmp_path: Path,
    daemons: Callable[..., FakeClamd],  # noqa: F811
    says: bytes,
    verdict: Verdict,
) -> None:
    (tmp_path / "spool").mkdir(mode=0o700)
    daemon = daemons(says=says)
    many = b"Content-Type: multipart/signed; boundary=b\n\n" + b"--b\n\n" * HEADERS_MAX
    with spooled(tmp_path / "spool", many) as letter:
        (answer,) = every(letter, asking(f"clamd:{daemon.where}"))
    assert answer.finding.verdict is verdict


@pytest.mark.parametrize(
    ("first", "verdict", "places"),
    [(CLEAN, CLEAN, 2), (ENCRYPTED, FAILED, 1), (UNSCANNABLE, FAILED, 1), (POLICY, POLICY, 1)],
)
def test_a_place_that_found_something_and_then_is_silent_is_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Verdict, verdict: Verdict, places: int
) -> None:
    """Otherwise the next one could say that the message is clean."""
    asked = []

    def dialogue(
        place: Scanner, message: Message, _: Settings, __: float, others: int
    ) -> tuple[str, Finding]:
        asked.append(others)
        if others and not message.other_reading:
            raise Defer("connect: Connection refused", SILENT)
        return "there", Finding(first if others else CLEAN)

    monkeypatch.setattr(ask, "_run_dialogue", dialogue)
    monkeypatch.setattr(canary, "check", lambda *_: (None, False))
    how = asking("clamd:/one,/two", more=("--canary", "300"))
    (tmp_path / "spool").mkdir(mode=0o700)
    with spooled(tmp_path / "spool", b"From: x\nno field\n") as letter:
        (answer,) = every(letter, how)
    assert answer.finding.verdict is verdict
    assert len(set(asked)) == places
