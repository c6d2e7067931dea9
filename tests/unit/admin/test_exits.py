"""How avcheckctl ends, and what its help says of avcheck's options."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from avcheck.admin import COMMANDS, output
from avcheck.options import rows
from tests.support.admin import ENTRY as NAME
from tests.support.admin import avcheckctl, ctl, entry
from tests.support.program import Program


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "quarantine"
    made.mkdir(mode=0o700)
    return made


# Exit statuses.


def test_a_release_that_is_refused_is_not_0(place: Path) -> None:
    entry(place)
    act = {"time": "t", "what": "released", "entry": NAME, "by": "b", "to": ["c@d"]}
    (place / ".log").write_text(json.dumps(act) + "\n")
    said = ctl(place, "release", "2", "-S", ":9")
    assert said.status == 2
    assert "is not sent again" in said.err


def test_a_release_of_which_some_is_refused_is_1(place: Path, tmp_path: Path) -> None:
    entry(place)
    entry(place, "30260102T030405Z-0123456789ab")
    act = {"time": "t", "what": "released", "entry": NAME, "by": "b", "to": ["c@d"]}
    (place / ".log").write_text(json.dumps(act) + "\n")
    program = Program(tmp_path / "sendmail")
    assert ctl(place, "release", "2", "3", "-S", program.path).status == 1
    assert program.calls == 1


def test_a_delete_that_nobody_meant_is_2(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(place)
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdin)
    said = avcheckctl("quarantine", "delete", "--directory", place, "2", stdin=b"n\n")
    assert said.status == 2
    assert (place / NAME).exists()
    said = avcheckctl("quarantine", "delete", "--directory", place, "2", stdin=b"y\n")
    assert said.status == 0


@pytest.mark.parametrize(("bad", "status"), [([1], 1), ([1, 2], 2)])
def test_an_expire_of_which_some_fails(place: Path, bad: list[int], status: int) -> None:
    for number in (1, 2):
        made = entry(place, f"{number}{NAME[1:]}")
        if number in bad:
            (made / "directory").mkdir()
    said = ctl(place, "expire", "--older", "0s")
    assert said.status == status
    assert said.err.count("cannot be removed") == len(bad)
    assert {1: "1 entry,", 2: "0 entries,"}[len(bad)] in said.err


# The help.


def helped() -> Iterator[tuple[str, click.Command]]:
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"avcheck.admin.commands.{module}").command
        inner = command.commands.items() if isinstance(command, click.Group) else [(name, command)]
        yield from inner


NEEDED = {
    "doctor": {"scanner", "spool"},
    "ping": {"scanner"},
    "probe": {"scanner", "spool"},
    "pause": {"waitfile"},
    "resume": {"waitfile"},
    "stats": {"metrics"},
}


@pytest.mark.parametrize(("name", "command"), list(helped()), ids=lambda each: str(each))
def test_the_help_is_the_commands_own(name: str, command: click.Command) -> None:
    names = {option.name for option in rows.OPTIONS}
    required = set()
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden and parameter.help:
            (long, *_) = (each for each in parameter.opts if each.startswith("--"))
            assert "without -c" not in parameter.help
            if long.removeprefix("--") in names and "Required" in parameter.help:
                without = (
                    "--postfix or --exim or --sendmail-cf" if name == "doctor" else "--postfix"
                )
                assert parameter.help.endswith(f"Required without {without}.")
                required.add(long.removeprefix("--"))
    assert required == NEEDED.get(name, set())


def test_the_help_of_stats_and_release_says_what_they_do() -> None:
    said = " ".join(avcheckctl("stats", "--help").out.split())
    assert "file that avcheck keeps up to date" in said
    said = " ".join(avcheckctl("quarantine", "release", "--help").out.split())
    assert "in the place of the recorded one" in said
    assert "never by root" in said
