"""avcheckctl(8) and uchroot(8) name every command and option that there is, and no other."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest

from avcheck.admin import COMMANDS
from avcheck.options import rows
from tests.support.servers import packages
from tests.support.tree import ROOT

MAN = ROOT / "man"

AVCHECKS = {option.name for option in rows.OPTIONS}

# Said once for all commands.
COMMON = {"help", "postfix"}


def page() -> str:
    return (MAN / "avcheckctl.8").read_text()


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, (module, _) in COMMANDS.items():
        if name == "setup":
            continue  # its page is its --help
        command = importlib.import_module(f"avcheck.admin.commands.{module}").command
        if isinstance(command, click.Group):
            for inner, each in command.commands.items():
                yield f"{name} {inner}", each
        else:
            yield name, command


def long_names(command: click.Command) -> set[str]:
    names = {
        spelling.removeprefix("--")
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
        if spelling.startswith("--")
    }
    takes_avchecks = any(each.name == "in_postfix" for each in command.params)
    return names - COMMON - (AVCHECKS if takes_avchecks else set())


def synopsis(name: str) -> set[str]:
    """The long options that the page gives the command in its SYNOPSIS."""
    part = page().partition(".Sh SYNOPSIS")[2].partition(".Sh ")[0]
    for usage in part.split(".Nm\n"):
        if usage.startswith(f".Cm {name}\n"):
            return set(re.findall(r"Fl Fl (\S+)", usage))
    raise AssertionError(f"{name} is not in the SYNOPSIS")


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda each: str(each))
def test_the_synopsis_has_the_options_of_each_command(name: str, command: click.Command) -> None:
    assert synopsis(name) == long_names(command)


def test_every_option_is_explained() -> None:
    text = page().partition(".Sh DESCRIPTION")[2]
    for name, command in commands():
        for option in long_names(command):
            assert re.search(rf"Fl Fl {option}\b", text), f"{name} --{option}"


def test_every_command_is_explained() -> None:
    for name in COMMANDS:
        assert f".Ss {name}\n" in page()


@pytest.mark.parametrize("name", ["avcheck-smtp.8", "avcheckctl.8", "uchroot.8"])
def test_mandoc_finds_nothing_wrong(name: str) -> None:
    packages.need("mandoc", commands=["mandoc"])
    done = subprocess.run(
        # Not -W style: it asks for the pages of other packages to be installed here.
        ["mandoc", "-T", "lint", "-W", "warning", MAN / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert all(len(line) <= 80 for line in (MAN / name).read_text().splitlines())


def examples() -> Iterator[tuple[str, str]]:
    """The command lines in the --help of each command."""
    for name, command in commands():
        for line in (command.help or "").splitlines():
            if line.strip().startswith(f"avcheckctl {name} "):
                yield name, line.strip()


@pytest.mark.parametrize(("name", "line"), sorted(examples()))
def test_the_examples_of_help_are_right_usage(name: str, line: str) -> None:
    command = dict(commands())[name]
    words = shlex.split(line.partition(" | ")[0], comments=True)[1 + len(name.split()) :]
    with click.Context(command, info_name=name) as context:
        command.make_parser(context).parse_args(words)


def test_there_are_examples() -> None:
    assert len(list(examples())) > 8
