"""avcheck for a person: what is wrong is said, help has every option, the shell completes them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avcheck import __version__
from avcheck.exits import Usage
from avcheck.options import asked, help, rows

# For a person.


def test_what_is_wrong_is_said_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert help.explain(Usage("-t: soon: a number of seconds")) == os.EX_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "Usage: avcheck [OPTION]... RECIPIENT...\n"
        "Try 'avcheck --help' for help.\n"
        "\n"
        "Error: -t: soon: a number of seconds\n"
    )


def test_help_names_every_option_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    asked.show("help")
    out = " ".join(capsys.readouterr().out.split())
    for option in rows.OPTIONS:
        letter = f"-{option.letter}, " if option.letter else ""
        argument = f" {option.argument}" if option.argument else ""
        assert f"{letter}--{option.name}{argument}" in out
        assert " ".join(option.help.split()) in out


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked.show("version")
    assert capsys.readouterr().out == f"avcheck {__version__}\n"


def test_the_version_needs_no_package() -> None:
    """Mail is checked without click, and doctor asks for the version to see that it can be."""
    program = "import sys; sys.modules['click'] = None; from avcheck.options import asked;"
    program += " sys.exit(asked.show('version'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout == f"avcheck {__version__}\n"


def test_help_is_a_success_for_a_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    stdin = os.dup(0)
    try:
        for path, status in [("/dev/null", os.EX_OK), ("/etc/passwd", os.EX_TEMPFAIL)]:
            file = os.open(path, os.O_RDONLY)
            os.dup2(file, 0)
            os.close(file)
            assert asked.show("version") == status
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)


# Shell completion.


def complete(command: Path, words: str, **environment: str) -> list[str]:
    """What click's script for bash asks for, and what it gets."""
    done = subprocess.run(
        [command],
        env={
            **os.environ,
            "_AVCHECK_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_shell_completes_options(command: Path) -> None:
    assert complete(command, "avcheck --sp") == ["plain,--spool"]
    assert complete(command, "avcheck -n --tls-") == ["plain,--tls-ca", "plain,--tls-name"]
    every = complete(command, "avcheck --")
    assert every == [f"plain,--{option.name}" for option in rows.OPTIONS]


def test_bash_completes_options_by_the_script(command: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    script = """
        eval "$(_AVCHECK_COMPLETE=bash_source "$0")" || exit
        COMP_WORDS=("$0" --queue)
        COMP_CWORD=1
        _avcheck_completion "$0"
        printf '%s\\n' "${COMPREPLY[@]}"
        complete -p avcheck
    """
    done = subprocess.run(
        # By its name, as a person calls it; click's script knows no path with blanks.
        [bash, "-c", script, command.name],
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    completed, *rest = done.stdout.splitlines()
    assert completed == "--queue-id"
    assert "_avcheck_completion avcheck" in rest[-1]
