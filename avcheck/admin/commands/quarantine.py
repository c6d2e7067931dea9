"""avcheckctl quarantine: list, show, release, delete and expire what was kept."""

from __future__ import annotations

import click

from avcheck.admin.commands import quarantine_change, quarantine_show


@click.group()
def command() -> None:
    """List, show, release and delete quarantined mail.

    An entry is named by as much of the beginning of its name as is needed, or by the queue
    ID of its message.

    Exit status: 0 done, 1 some of it was not, 2 none of it was.
    """


for each in (
    quarantine_show.list_entries,
    quarantine_show.show,
    quarantine_change.release_entries,
    quarantine_change.delete,
    quarantine_change.expire,
    quarantine_show.log,
):
    command.add_command(each)
