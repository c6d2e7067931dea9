"""A good message is handed on, with a header that says no more than is proved."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from avcheck import deliver
from avcheck.caller import Caller
from avcheck.deliver import sendmail, smtp
from avcheck.exits import Defer
from avcheck.incoming import Incoming
from avcheck.run import Run
from avcheck.settings import Settings
from avcheck.spool import Message
from avcheck.verdict import CLEAN, FAILED, INFECTED, Finding
from tests.support.wire import new_run, settings, spooled

Call = tuple[str, bytes]


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    with spooled(tmp_path) as letter:
        yield letter


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What was handed on, by which module and with which header."""
    made: list[Call] = []

    def sender(name: str) -> object:
        def send(message: object, header: bytes, settings: Settings, run: Run) -> str:
            made.append((name, header))
            return f"said by {name}"

        return send

    monkeypatch.setattr(smtp, "send", sender("smtp"))
    monkeypatch.setattr(sendmail, "send", sender("sendmail"))
    return made


def send_on(message: Message, finding: Finding, *words: bytes) -> str:
    return deliver.send_on(message, finding, settings(*words), new_run())


def test_a_server_or_a_program_gets_it(message: Message, calls: list[Call]) -> None:
    assert send_on(message, Finding(CLEAN)) == "said by smtp"
    assert send_on(message, Finding(CLEAN), b"-S", b"/s -i") == "said by sendmail"
    assert calls == [("smtp", b""), ("sendmail", b"")]


def test_with_n_nobody_gets_it(message: Message, calls: list[Call]) -> None:
    assert "-n" in send_on(message, Finding(CLEAN), b"-n", b"-h", b"x")
    assert calls == []


def test_with_n_half_a_message_is_not_good_either(
    message: Message, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Caller, "is_gone", lambda caller: True)
    with pytest.raises(Defer, match="cut short"):
        send_on(message, Finding(CLEAN), b"-n")


def header(message: Message, calls: list[Call], finding: Finding, text: bytes) -> bytes:
    send_on(message, finding, b"-h", text)
    return calls[-1][1]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns", "XXX-14"])
def test_the_header_says_when_and_what(
    message: Message, calls: list[Call], monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        line = header(message, calls, Finding(CLEAN), b"mx.example (a: b)").decode()
    finally:
        monkeypatch.undo()
        time.tzset()
    match = re.fullmatch(r"X-AV-Checked: (\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}) (.*)", line)
    assert match
    assert match[2] == "mx.example (a: b)"
    assert abs(parsedate_to_datetime(match[1]).timestamp() - time.time()) < 600


def test_without_h_there_is_no_header(message: Message, calls: list[Call]) -> None:
    assert header(message, calls, Finding(CLEAN), b"") == b""


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding(INFECTED, (b"Eicar", b"Other")), b"(infected: Eicar, Other)"),
        (Finding(FAILED, (), b"no answer\r\nX-Forged: x"), b"(failed: no answer  X-Forged: x)"),
    ],
)
def test_what_is_not_proved_is_not_said(
    message: Message, calls: list[Call], finding: Finding, words: bytes
) -> None:
    line = header(message, calls, finding, b"mx.example")
    assert line.startswith(b"X-AV-Unchecked: ")
    assert b"X-AV-Checked" not in line
    assert line.endswith(b" mx.example " + words)


def test_a_header_line_is_never_too_long_nor_two(message: Message, calls: list[Call]) -> None:
    names = tuple(b"%d" % number + b"\n" * 100 for number in range(100))
    for finding in (Finding(CLEAN), Finding(INFECTED, names), Finding(FAILED, (), b"x" * 5000)):
        line = header(message, calls, finding, b"x" * 900)
        assert len(line) <= 998
        assert line.isascii()
        assert line.decode().isprintable()


def test_what_is_injected_is_not_called_checked(calls: list[Call]) -> None:
    how = settings(b"-h", b"x")
    assert deliver.inject(Incoming(0), b"", how, new_run()) == "said by smtp"
    assert calls == [("smtp", b"")]
