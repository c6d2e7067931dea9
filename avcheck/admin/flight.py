"""The messages in flight: who has the lock on the spool directory, and with which message.

The queue ID is on the command line of avcheck, as the process shows it; that is the word
of the account that it runs as.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from avcheck.admin import locks, places
from avcheck.admin.calls import GUARDS, NAME
from avcheck.admin.peer import ARGV_MAX
from avcheck.exits import Leave
from avcheck.options import reading
from avcheck.printable import printable

# Postfix's long ones have under 20 characters.
QUEUE_ID_MAX = 40


@dataclass(frozen=True)
class Flight:
    """A message in flight: the process, 0 in another container, and the queue ID if it is known."""

    process: int
    queue_id: str

    def __str__(self) -> str:
        return self.queue_id or f"process {self.process}"


def over(spool: bytes) -> list[Flight]:
    """The messages in flight that use the spool directory."""
    with places.opened(spool) as folder:
        return inside(folder)


def inside(folder: places.Folder) -> list[Flight]:
    """The same of a directory that is open; looked at as its owner."""
    processes = locks.holders(os.fstat(folder.fd), "READ")
    return [Flight(process, _queue_id(process)) for process in processes]


def listed(flights: Sequence[Flight]) -> str:
    """The queue IDs, or the processes of those that have none."""
    return ", ".join(map(str, flights))


def _queue_id(process: int) -> str:
    """What --queue-id of the process says; empty if it is not there, or gone."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return parse(file.read(ARGV_MAX).split(b"\0"))
    except OSError:
        return ""


def parse(argv: list[bytes]) -> str:
    """The queue ID on a command line that has avcheck somewhere in it, printable."""
    names = [os.path.basename(word).decode("ascii", "replace") for word in argv]
    name = next((each for each in (NAME, *GUARDS) if each in names), "")
    if not name:
        return ""
    try:
        given, _ = reading.parse_options(argv[names.index(name) + 1 :])
    except Leave:  # cut off, or no avcheck of this version
        return ""
    found = [each.argument for each in given if each.option.attribute == "queue_id"]
    return printable(found[-1], QUEUE_ID_MAX) if found else ""
