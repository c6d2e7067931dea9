"""avcheckctl completion: the script that has a shell complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from avcheck.admin import group

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS), metavar="bash|zsh|fish")
def command(shell: str | None) -> None:
    """Print the completion script for a shell, to be evaluated or sourced.

    \b
    For bash, in ~/.bashrc:  eval "$(avcheckctl completion bash)"
    For zsh, in ~/.zshrc:    eval "$(avcheckctl completion zsh)"
    For fish:  avcheckctl completion fish > ~/.config/fish/completions/avcheckctl.fish
    """
    if shell is None:
        raise click.UsageError(f"name a shell: {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    kind = get_completion_class(shell)
    assert kind is not None, "SHELLS has what click has"
    click.echo(kind(group, {}, "avcheckctl", "_AVCHECKCTL_COMPLETE").source())
