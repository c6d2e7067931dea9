"""The click command reads what the quick reader reads, and helps a person."""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import hypothesis
import pytest

from avcheck import __version__
from avcheck.exits import Defer, Usage
from avcheck.options import help, reading, rows
from avcheck.options.file import read_config
from tests.support.words import command_lines, shown


def by_quick_reader(words: list[bytes]) -> tuple[str, object]:
    try:
        return "settings", shown(reading.read(words, read_config))
    except reading.Asked as asked:
        return "asked", asked.what
    except Usage:
        return "wrong", None
    except Defer as why:
        return "deferred", why.text


def by_click(words: list[bytes]) -> tuple[str, object]:
    try:
        return "settings", shown(help.read([os.fsdecode(word) for word in words]))
    except reading.Asked as asked:
        return "asked", asked.what
    except click.UsageError:
        return "wrong", None
    except Defer as why:
        return "deferred", why.text


def test_both_readers_agree_on_every_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command is the same each time; making it takes longer than using it.
    monkeypatch.setattr(help, "command", functools.cache(help.command))
    kinds: dict[str, int] = {}

    @hypothesis.settings(max_examples=3000)
    @hypothesis.given(command_lines())
    def agree(words: list[bytes]) -> None:
        quick = by_quick_reader(words)
        assert by_click(words) == quick
        kinds[quick[0]] = kinds.get(quick[0], 0) + 1

    agree()
    total = sum(kinds.values())
    assert kinds["settings"] > total / 4, kinds
    assert kinds["wrong"] > total / 10, kinds
    assert kinds["asked"] > total / 100, kinds


def both(*words: bytes) -> tuple[str, object]:
    line = list(words)
    quick = by_quick_reader(line)
    assert by_click(line) == quick
    return quick


GOOD = (b"-f", b"a@b", b"-s", b"clamd", b"-d", b"/spool")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([b"--help", b"--version"], "asked"),
        ([b"--version", b"--help"], "asked"),
        ([b"-t", b"x", b"--help"], "asked"),
        ([b"--help", b"--nonesuch"], "wrong"),
        ([b"--help", b"-f"], "wrong"),
        ([*GOOD, b"x", b"--help"], "settings"),
        ([*GOOD, b"--", b"--help"], "settings"),
        ([*GOOD, b"--from", b"--help", b"x"], "settings"),
        ([*GOOD, b"-", b"-"], "settings"),
        ([*GOOD, b"-vn", b"-nf-n", b"-vf", b"", b"--", b"--"], "settings"),
        ([*GOOD], "wrong"),
        ([*GOOD, b""], "wrong"),
        ([], "wrong"),
        ([b"--"], "wrong"),
        ([*GOOD, b"-c", b"-t", b"nonsense", b"x"], "settings"),
        ([*GOOD, b"--config", b"/nonesuch", b"x"], "deferred"),
        ([*GOOD, b"-c", b"--config", b"/nonesuch", b"x"], "settings"),
    ],
)
def test_both_readers_agree_on_the_corners(words: list[bytes], kind: str) -> None:
    assert both(*words)[0] == kind


def test_both_readers_read_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("# ours\nheader from the file\ntimeout 5\non infected=discard\n")
    kind, settings = both(*GOOD, b"--config", os.fsencode(file), b"-t", b"7", b"x")
    assert kind == "settings"
    assert isinstance(settings, dict)
    assert (settings["header"], settings["timeout"]) == (b"from the file", 7.0)
    file.write_text("nonesuch\n")
    assert both(*GOOD, b"--config", os.fsencode(file), b"x")[0] == "wrong"


# For a person.


def test_what_is_wrong_is_said_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert help.explain([b"-t", b"soon", *GOOD, b"x"]) == os.EX_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: avcheck [OPTION]... RECIPIENT...\n")
    assert "Error: -t: soon: a number of seconds" in err


@pytest.mark.parametrize("words", [[b"--nonesuch"], [b"-f"], [], [b"-\xff"], [b"--verbose=1"]])
def test_whatever_is_wrong_is_said(words: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert help.explain(words) == os.EX_USAGE
    assert "Error: " in capsys.readouterr().err


def test_help_names_every_option_with_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    help.show("help")
    out = " ".join(capsys.readouterr().out.split())
    for option in rows.OPTIONS:
        letter = f"-{option.letter}, " if option.letter else ""
        argument = f" {option.argument}" if option.argument else ""
        assert f"{letter}--{option.name}{argument}" in out
        assert " ".join(option.help.split()) in out


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    help.show("version")
    assert capsys.readouterr().out == f"avcheck {__version__}\n"


def test_help_is_a_success_for_a_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    stdin = os.dup(0)
    try:
        for path, status in [("/dev/null", os.EX_OK), ("/etc/passwd", os.EX_TEMPFAIL)]:
            file = os.open(path, os.O_RDONLY)
            os.dup2(file, 0)
            os.close(file)
            assert help.show("version") == status
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
