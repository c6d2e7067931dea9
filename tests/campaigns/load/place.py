"""Where it happens: three scanners, a next hop, a handler, and the command line."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.load.hop import Hop
from tests.support.servers.clamd import Clamd

# Seconds: for the scanners, for a whole run, and until the mail system kills it.
TIMEOUT = 3
DEADLINE = 6
LIMIT = 12

SLOTS = 8
CANARY = 5
ATTEMPTS = 2

# Takes the message over by a rename, under the sender's name: that is the run's.
HANDLER = """\
#!/bin/sh
exec mv "$1" {taken}/"$AVCHECK_SENDER $AVCHECK_VERDICT"
"""


class Place:
    """Scanners, next hop and directories below the directory; use it in a with block."""

    def __init__(self, command: Path, directory: Path) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.quarantine = directory / "quarantine"
        self.taken = directory / "taken"
        self.letters = directory / "letters"
        for each in (self.spool, self.quarantine, self.taken, self.letters):
            each.mkdir(mode=0o700)
        self.metrics = directory / "avcheck.prom"
        handler = directory / "handler"
        handler.write_text(HANDLER.format(taken=shlex.quote(str(self.taken))))
        handler.chmod(0o700)
        settings = {"AlertEncrypted": "yes", "AlertExceedsMax": "yes"}
        self.scanners = [
            Clamd(directory / name, settings=settings, tcp=name == "second")
            for name in ("first", "second", "third")
        ]
        self.hop = Hop(directory)
        self._command = command
        self._handler = handler

    def __enter__(self) -> Place:
        with contextlib.ExitStack() as started:
            servers: list[Clamd | Hop] = [*self.scanners, self.hop]
            for each in servers:
                started.callback(each.stop)
                each.start()
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()

    @property
    def options(self) -> list[str]:
        """The command with everything that is shared between runs."""
        first, second, third = self.scanners
        return [
            str(self._command),
            *("-d", str(self.spool)),
            *("-s", f"clamd:{first.socket}", "-s", f"clamd:127.0.0.1:{second.port}"),
            *("--need", "2", "--backup", f"clamd+stream:{third.socket}"),
            *("-S", self.hop.where, "-h", "load", "-i", str(self._handler)),
            *("--on", f"infected=quarantine:{self.quarantine}"),
            *("-t", str(TIMEOUT), "--deadline", str(DEADLINE), "--slots", str(SLOTS)),
            *("--canary", str(CANARY), "--attempts", str(ATTEMPTS)),
            *("--metrics", str(self.metrics)),
        ]

    def words(self, sender: str, recipients: Sequence[str], queue_id: str) -> list[str]:
        """The command line of a run."""
        return [*self.options, "--queue-id", queue_id, "-f", sender, "--", *recipients]

    def processes(self, mark: str) -> list[int]:
        """The processes that have the mark among their words."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended
                    words = Path(f"/proc/{entry.name}/cmdline").read_bytes()
                    if os.fsencode(mark) in words:
                        found.append(int(entry.name))
        return found
