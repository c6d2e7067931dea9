"""avcheck for a person: --help, --version, usage errors and shell completion.

A click command made of the rows of rows.OPTIONS.  It reads the same command
lines as the quick reader (a test compares them), and is imported only when a
person is asking, because click takes as long to import as a message takes to
be checked.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from avcheck import __version__
from avcheck.exits import CONFIG, OK, TEMPFAIL, USAGE, Usage
from avcheck.options import reading, rows
from avcheck.options.file import read_config
from avcheck.settings import Settings

PURPOSE = """Check the mail message on standard input with a running antivirus daemon.

A good message is handed back to the mail system, an infected one to a handler; with any
other outcome the exit status is 75 and the caller keeps the message.  See avcheck(1)."""


def command() -> click.Command:
    """The command; called with words, it returns the Settings that they mean.

    Raises click.UsageError where they mean nothing, reading.Asked for --help and --version.
    """
    parameters: list[click.Parameter] = [parameter(option) for option in rows.OPTIONS]
    parameters.append(
        click.Argument(["recipient"], nargs=-1, type=click.UNPROCESSED, metavar="RECIPIENT...")
    )

    def settle(recipient: tuple[str, ...], **values: Any) -> Settings:
        given = []
        for option in rows.OPTIONS:
            value = values[key(option)]
            words = value if option.argument else ("",) * value
            given += [reading.Given(option, os.fsencode(word)) for word in words]
        try:
            return reading.settle(given, [os.fsencode(word) for word in recipient], read_config)
        except Usage as why:
            raise click.UsageError(why.text) from None

    return click.Command(
        "avcheck",
        params=parameters,
        callback=settle,
        help=PURPOSE,
        options_metavar="[OPTION]...",
        add_help_option=False,
        context_settings={"allow_interspersed_args": False, "max_content_width": 100},
    )


def key(option: rows.Option) -> str:
    return "option_" + option.name.replace("-", "_")


def parameter(option: rows.Option) -> click.Option:
    spellings = [key(option), "--" + option.name]
    if option.letter:
        spellings.insert(1, "-" + option.letter)
    if option.argument:
        return click.Option(
            spellings,
            multiple=True,
            type=click.UNPROCESSED,
            metavar=option.argument,
            help=option.help,
            shell_complete=functools.partial(_complete, option.argument),
        )
    return click.Option(spellings, count=True, help=option.help)


# What the shell completes by itself, by the argument of an option.
KINDS = {"FILE": "file", "PROGRAM": "file", "DIR": "dir"}


def _complete(
    argument: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What an argument of an option may be: a file, a directory, or one of the words it names."""
    if argument in KINDS:
        return [CompletionItem(incomplete, type=KINDS[argument])]
    words = argument.split("|") if argument.islower() else []
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def read(words: list[str]) -> Settings:
    """The settings that the words mean, by way of click; raises as command() does."""
    settings: Settings = command().main(words, "avcheck", standalone_mode=False)
    return settings


def explain(argv: list[bytes]) -> int:
    """Say on standard error what is wrong with the words, and how to go on; returns USAGE."""
    try:
        read([os.fsdecode(word) for word in argv])
    except click.UsageError as why:
        why.ctx = why.ctx or click.Context(command(), info_name="avcheck")
        why.show(sys.stderr)
    return USAGE


def show(what: str) -> int:
    """Print what a person asked for (help, version, complete); returns the exit status.

    The status is OK only if standard input is a terminal or a device such as /dev/null:
    with --help in master.cf by mistake, OK would be the end of every message.
    """
    status = OK if stat.S_ISCHR(os.fstat(0).st_mode) else TEMPFAIL
    if status != OK:  # for Postfix, and first
        click.echo(f"{CONFIG} avcheck: --{what} is for a person; here is a message", err=True)
    if what == "complete":
        from click.shell_completion import shell_complete

        instruction = os.environ["_AVCHECK_COMPLETE"]
        shell_complete(command(), {}, "avcheck", "_AVCHECK_COMPLETE", instruction)
    elif what == "version":
        click.echo(f"avcheck {__version__}")
    else:
        with click.Context(command(), info_name="avcheck") as context:
            click.echo(command().get_help(context))
    sys.stdout.flush()
    return status
