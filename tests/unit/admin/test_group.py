"""The command avcheckctl as a whole: help, errors, completion, what it imports."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from avcheck.admin import COMMANDS, cells, output
from avcheck.admin.cells import Styled
from avcheck.admin.output import Trouble
from tests.support.admin import avcheckctl


def written(name: str) -> bool:
    """Whether the module of a command is there."""
    return importlib.util.find_spec(f"avcheck.admin.commands.{COMMANDS[name][0]}") is not None


PRESENT = [name for name in COMMANDS if written(name)]


def test_help_names_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; from avcheck.admin import group; "
        "group(['--help'], 'avcheckctl', standalone_mode=False); "
        "ours = ('avcheck', 'clamd', 'filelock', 'rich'); "
        "print(*sorted(n for n in sys.modules if n.startswith(ours)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for name, (_, help) in COMMANDS.items():
        assert name in said
        assert help in said
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


def test_completion_without_a_shell_names_them() -> None:
    said = avcheckctl("completion")
    assert said.status == 2
    assert "Error: name a shell: bash, zsh or fish\n" in said.err


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


# A title for the terminal's window, a colour as one byte, text from right to left, a new line.
HOSTILE = "x\x1b]0;y\x07\x1b[31m\udc9b31m\u202e\r\nError: none"


@pytest.mark.parametrize(
    "words",
    [
        [HOSTILE],
        [f"--{HOSTILE}"],
        [f"-{HOSTILE}"],
        ["setup", HOSTILE],
        ["setup", "postfix", HOSTILE],
        ["setup", "postfix", "--file", HOSTILE],
        ["setup", "postfix", "--user", HOSTILE],
        ["setup", "postfix", f"--{HOSTILE}"],
        ["setup", f"--file={HOSTILE}"],
        ["completion", HOSTILE],
        ["pause", HOSTILE],
        ["pause", "-w", "/nonexistent/wait", "--limit", HOSTILE],
        ["status", f"--json={HOSTILE}"],
        ["stats", "--watch", HOSTILE],
        ["ping", "-s", HOSTILE],
        ["probe", "-t", HOSTILE],
        ["doctor", HOSTILE],
        ["quarantine", HOSTILE],
        ["quarantine", "list", HOSTILE],
        ["quarantine", "expire", "--directory", "/nonexistent", "--older", HOSTILE],
        ["quarantine", "release", "--directory", "/nonexistent", "--to", HOSTILE, "1"],
    ],
    ids=lambda words: "-".join(words).replace(HOSTILE, "HOSTILE"),
)
def test_an_error_about_an_argument_cannot_move_the_terminal(words: list[str]) -> None:
    said = avcheckctl(*words)
    assert said.status == 2
    assert said.out == ""
    assert "Error: " in said.err
    assert all(line.isascii() and line.isprintable() for line in said.err.split("\n"))
    assert "\nError: none" not in said.err


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[list[str | Styled]] = [
        ["a", Styled("bbbb", cells.GOOD), "c"],
        ["aa", "a long sentence at the end"],
    ]
    output.table(rows, ["X", "Y", "Z"])
    assert capsys.readouterr().out == "X   Y     Z\na   bbbb  c\naa  a long sentence at the end\n"
    output.table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_program_does_not_wait_for_what_draws(tmp_path: Path, words: list[str]) -> None:
    call = ["status", "-d", str(tmp_path), *words]
    program = (
        "import sys; from avcheck.admin import group; "
        f"group({call!r}, 'avcheckctl', standalone_mode=False); print('rich' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "False"
