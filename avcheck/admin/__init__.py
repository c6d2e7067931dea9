"""avcheckctl: the administrator's tool.

The only place, with options.help, that imports click, clamd, filelock and rich.  One module
for each command, imported when the command is used.  Every command leaves with 0 when
all is well, 1 when it found that it is not, and 2 when it could not find out or
could not do what it was asked.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from avcheck import __version__

# name: module in this package, help.  The module has a click command named `command`.
COMMANDS = {
    "doctor": ("doctor", "Check a set-up, and say what to correct."),
    "ping": ("ping", "Ask each scanner whether it is there, and how old it is."),
    "probe": ("probe", "Send harmless tests, and say what gets past the scanner."),
    "pause": ("pause", "Hold all mail back, for as long as a command takes."),
    "resume": ("resume", "End a pause."),
    "status": ("status", "Show whether mail is held back, and what is in flight."),
    "stats": ("stats", "Show the totals of --metrics."),
    "quarantine": ("quarantine", "List, show, release and delete quarantined mail."),
    "setup": ("setup", "Print the configuration for a mail system."),
    "completion": ("completion", "Print the completion script for a shell."),
}

EPILOG = (
    "Options of avcheck(1) are the same here; --postfix takes them from master.cf.  "
    "Exit status: 0 all is well, 1 it is not, 2 it could not be found out or done.  "
    "See avcheckctl(8)."
)


class Commands(click.Group):
    """Its commands, each in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, help = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(f"{__name__}.commands.{module}").command
        command.short_help = help
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as why:
            raise _printable(why) from why

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as why:
            raise _printable(why) from why


def _printable(error: click.UsageError) -> click.UsageError:
    """The error without what could move a terminal: click shows arguments as they are."""
    from avcheck.admin.cells import plain

    return click.UsageError(plain(error.format_message()), error.ctx)


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def group() -> None:
    """Look after avcheck, the antivirus client for mail systems."""


def main() -> None:
    """The command avcheckctl.

    What nobody has foreseen is told in one line: a traceback could have anything in it.
    """
    try:
        group(prog_name="avcheckctl")
    except Exception as why:
        if os.environ.get("AVCHECKCTL_DEBUG"):
            raise
        from avcheck.admin import output

        output.bug(why)
        raise SystemExit(output.Trouble.exit_code) from None
