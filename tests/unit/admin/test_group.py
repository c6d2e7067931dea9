"""The command avcheckctl as a whole: help, errors, colours, completion, what it imports."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from avcheck.admin import COMMANDS, output
from avcheck.admin.output import Styled, Trouble
from tests.support.admin import avcheckctl


def written(name: str) -> bool:
    """Whether the module of a command is there."""
    return importlib.util.find_spec(f"avcheck.admin.commands.{COMMANDS[name][0]}") is not None


PRESENT = [name for name in COMMANDS if written(name)]


def test_help_names_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; from avcheck.admin import group; "
        "group(['--help'], 'avcheckctl', standalone_mode=False); "
        "print(*sorted(n for n in sys.modules if n.startswith(('avcheck', 'clamd', 'filelock'))))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for name, (_, sentence) in COMMANDS.items():
        assert name in said
        assert sentence in said
    assert said.splitlines()[-1].split() == ["avcheck", "avcheck.admin"]


@pytest.mark.parametrize("name", PRESENT)
def test_every_command_has_help_that_states_its_exit_status(name: str) -> None:
    said = avcheckctl(name, "--help")
    assert said.status == 0
    command = importlib.import_module(f"avcheck.admin.commands.{COMMANDS[name][0]}").command
    assert isinstance(command, click.Command)
    if name not in ("completion", "setup"):
        assert "Exit status: 0" in " ".join(said.out.split())


def test_a_command_that_is_none_is_an_error_with_a_next_step() -> None:
    said = avcheckctl("pnig")
    assert said.status == 2
    assert "--help" in said.err


def test_the_installed_command_prints_its_version(command: Path) -> None:
    installed = command.with_name("avcheckctl")
    said = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("avcheckctl ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    said = avcheckctl("completion", shell)
    assert said.status == 0
    assert "_AVCHECKCTL_COMPLETE" in said.out


def test_completion_completes_commands_and_options(command: Path) -> None:
    def complete(line: str, word: int) -> str:
        environment = {
            **os.environ,
            "_AVCHECKCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(word),
        }
        return subprocess.run(
            [command.with_name("avcheckctl")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert complete("avcheckctl pa", 1) == "plain,pause\n"
    assert "plain,--waitfile\n" in complete("avcheckctl pause --w", 2)


def test_trouble_says_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    Trouble("it is broken", "mend it").show()
    assert capsys.readouterr().err == "avcheckctl: error: it is broken\n    mend it\n"


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[list[str | Styled]] = [
        ["a", Styled("bbbb", output.GOOD), "c"],
        ["aa", "a long sentence at the end"],
    ]
    output.table(rows, ["X", "Y", "Z"])
    assert capsys.readouterr().out == "X   Y     Z\na   bbbb  c\naa  a long sentence at the end\n"
    output.table([])
    assert capsys.readouterr().out == ""


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = ("ping", "-s", "clamd:/nowhere")
    assert "\033[" in avcheckctl(*words, colour=True).out
    assert "\033[" not in avcheckctl(*words).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in avcheckctl(*words, colour=True).out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)]
)
def test_a_length_of_time_has_a_unit(text: str, seconds: float) -> None:
    assert output.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1.5h", "-1", "10 m", "9" * 20])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s"):
        output.duration(text)


def test_a_size_has_a_unit() -> None:
    assert output.number_of_bytes("25M") == 25_000_000
    assert output.number_of_bytes(7) == 7
    with pytest.raises(click.BadParameter, match="write 500000"):
        output.number_of_bytes("many")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e6, "23 days")],
)
def test_ages_are_for_people(seconds: float, words: str) -> None:
    assert output.age(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(5, "5 B"), (25_000, "25 kB"), (2.5e7, "25.0 MB"), (3e9, "3.0 GB")]
)
def test_sizes_are_for_people(number: float, words: str) -> None:
    assert output.size(number) == words


def test_progress_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with output.Progress("waiting"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = output.Progress("waiting")
    looked = iter([False, True])
    monkeypatch.setattr(progress._done, "wait", lambda seconds: next(looked))
    with progress:
        pass
    assert "waiting ... 0 s" in capsys.readouterr().err
    looked = iter([False, True])
    progress = output.Progress("waiting")
    monkeypatch.setattr(progress._done, "wait", lambda seconds: next(looked))
    progress.now("for something else", 180.0)
    with progress:
        pass
    assert "for something else ... 0 s of at most 3 min" in capsys.readouterr().err


def test_progress_fits_the_terminal_and_moves_it_no_further(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    progress = output.Progress("for \x1b[2J" + "x" * 300)
    looked = iter([False, True])
    monkeypatch.setattr(progress._done, "wait", lambda seconds: next(looked))
    with progress:
        pass
    line = capsys.readouterr().err.replace("\r", "").replace("\033[K", "")
    assert line == "for ?[2J" + "x" * 28 + "..."
