"""What the commands of a quarantine have in common: its directory, and the names of entries."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from avcheck.admin import quarantine_store
from avcheck.admin.output import Trouble
from avcheck.printable import printable

DIRECTORY = "/var/spool/avcheck/quarantine"


def directory_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--directory",
        metavar="DIR",
        default=DIRECTORY,
        envvar="AVCHECK_QUARANTINE",
        show_default=True,
        show_envvar=True,
        type=click.Path(file_okay=False, readable=False),
        help="The quarantine.",
    )(function)


def complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of entries that begin so, for a shell; none where they cannot be seen."""
    directory = context.params.get("directory") or os.environ.get("AVCHECK_QUARANTINE")
    with (
        contextlib.suppress(Trouble),
        quarantine_store.opened(directory or DIRECTORY) as quarantine,
    ):
        names = sorted(name for name in quarantine.names() if name.startswith(incomplete))
        return [CompletionItem(name) for name in names]
    return []


def names_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument(
        "names", nargs=-1, callback=_some, metavar="ENTRY...", shell_complete=complete
    )(function)


def _some(
    context: click.Context, parameter: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    """The names; raises click.UsageError if there is none, and says where one may have gone."""
    if names:
        return names
    if directory := context.params.get("in_postfix"):
        raise click.UsageError(
            f"{printable(directory)} was taken for the directory of --postfix;"
            " write --postfix= before it"
        )
    raise click.MissingParameter(ctx=context, param=parameter)
