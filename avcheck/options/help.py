"""avcheck for a person: --help, wrong usage and shell completion.

A click command made of the rows of rows.OPTIONS.  It reads no command line: reading does
that, and its errors are printed here.  This is imported only when a person is asking,
because click takes as long to import as a message takes to be checked.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import click
from click.shell_completion import CompletionItem

from avcheck.exits import USAGE, Usage
from avcheck.options import rows

PURPOSE = {
    rows.PIPE: """Check the mail message on standard input with a running antivirus daemon.

A good message is handed back to the mail system, an infected one to a handler; with any
other outcome the exit status is 75 and the caller keeps the message.  See avcheck(1).""",
    rows.SMTP: """Check the messages of an SMTP connection with a running antivirus daemon.

Standard input is the connection, or a listening socket.  A good message is passed on to the
next server while the client waits; any other is refused, or taken and dealt with.  See
avcheck-smtp(8).""",
}


def command(name: str = rows.PIPE) -> click.Command:
    """The command, for its help and for completion."""
    options = rows.Command(name).options
    parameters: list[click.Parameter] = [parameter(option) for option in options]
    if name == rows.PIPE:
        parameters.append(
            click.Argument(["recipient"], nargs=-1, type=click.UNPROCESSED, metavar="RECIPIENT...")
        )
    return click.Command(
        name,
        params=parameters,
        help=PURPOSE[name],
        options_metavar="[OPTION]...",
        add_help_option=False,  # it is in the table, as the others
        context_settings={"allow_interspersed_args": False, "max_content_width": 100},
    )


def key(option: rows.Option) -> str:
    """What click calls the option's parameter."""
    return "option_" + option.name.replace("-", "_")


def parameter(option: rows.Option) -> click.Option:
    """The option for click."""
    spellings, attributes = declaration(option)
    return click.Option(spellings, **attributes)


def declaration(option: rows.Option) -> tuple[list[str], dict[str, Any]]:
    """How the option is declared to click; its value is all that was given, in order."""
    spellings = [key(option), "--" + option.name]
    if option.letter:
        spellings.insert(1, "-" + option.letter)
    if not option.argument:
        return spellings, {"count": True, "help": option.help}
    return spellings, {
        "multiple": True,
        "type": click.UNPROCESSED,
        "metavar": option.argument,
        "help": option.help,
        "shell_complete": functools.partial(_complete, option.argument),
    }


# What the shell itself can complete, by the argument of an option.
KINDS = {"FILE": "file", "PROGRAM": "file", "DIR": "dir"}


def _complete(
    argument: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What the argument may be: a file, a directory, or one of a choice such as never|may."""
    if argument in KINDS:
        return [CompletionItem(incomplete, type=KINDS[argument])]
    choices = argument.split("|") if argument.islower() else []
    return [CompletionItem(choice) for choice in choices if choice.startswith(incomplete)]


def explain(error: Usage, name: str = rows.PIPE) -> int:
    """Say on standard error what is wrong with the command line; returns USAGE."""
    with click.Context(command(name), info_name=name) as context:
        usage = context.get_usage()
    click.echo(f"{usage}\nTry '{name} --help' for help.\n\nError: {error.text}", err=True)
    return USAGE


def show(name: str = rows.PIPE) -> None:
    """Print the help."""
    with click.Context(command(name), info_name=name) as context:
        click.echo(command(name).get_help(context))


def complete() -> None:
    """Print what may come next on a command line, for a shell."""
    from click.shell_completion import shell_complete

    shell_complete(command(), {}, "avcheck", "_AVCHECK_COMPLETE", os.environ["_AVCHECK_COMPLETE"])
