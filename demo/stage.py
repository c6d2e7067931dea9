"""Where the demonstration happens: everything in one private directory and on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.screen import Screen
from tests.support.servers.clamd import Clamd
from tests.support.servers.sink import Received, Sink

# Where PROGRAMS says, or beside the interpreter that runs this: the virtual environment's.
AVCHECK = Path(os.environ.get("PROGRAMS", Path(sys.executable).parent), "avcheck")

# A site that uses the handler has told it where its real quarantine is.
SITE_SETTINGS = Path("/etc/avcheck/infected.conf")

# No step takes seconds; one that takes this long is broken.
PATIENCE = 60

DEFER, DELIVERED = 75, 0
MEANINGS = {
    DELIVERED: "done; the mail system may forget the message",
    DEFER: "not now; the mail system keeps the message and tries again",
}


class Stage:
    """A spool, a clamd, and the mail server that avcheck hands clean mail to."""

    def __init__(self, directory: Path, screen: Screen) -> None:
        self.directory = directory
        self.screen = screen
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.quarantine = self.spool / "quarantine"
        self.waitfile = directory / "waitfile"
        self.clamd = Clamd(directory / "clamd")
        self.sink = Sink()
        self._handler: list[tuple[str, str]] = []
        if SITE_SETTINGS.exists():
            self._handler = [("-i", str(self._handler_of_its_own()))]

    def close(self) -> None:
        """Stop what was started."""
        self.clamd.stop()
        self.sink.stop()

    def send(self, name: str, letter: bytes, sender: str, recipient: str) -> int:
        """Give avcheck a message, show it, and return its exit status."""
        file = self.directory / name
        file.write_bytes(letter)
        pairs = [
            ("-f", sender),
            ("-d", str(self.spool)),
            ("-s", f"clamd:{self.clamd.socket}"),
            ("-S", self.sink.address),
            ("-w", str(self.waitfile)),
            ("-h", "mx.example.net"),
            *self._handler,
            ("--", recipient),
        ]
        shown = [self.short(" ".join(pair)) for pair in pairs]
        self.screen.command("avcheck", *shown, f"<$D/{name}")
        with file.open("rb") as stdin:
            done = subprocess.run(
                [str(AVCHECK), *(word for pair in pairs for word in pair)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/bin"},  # as Postfix does: next to nothing
                timeout=PATIENCE,
                check=False,
            )
        self.screen.output(self.short(done.stdout.decode("ascii", "replace")))
        self.screen.status(done.returncode, MEANINGS.get(done.returncode, "unexpected"))
        return done.returncode

    def arrived(self) -> list[Received]:
        """What the mail server has got since the last time."""
        return self.sink.take()

    def left_behind(self) -> list[str]:
        """What is in the spool directory, but for the quarantine."""
        return sorted(path.name for path in self.spool.iterdir() if path != self.quarantine)

    def short(self, text: str) -> str:
        """The text with $D for the directory, and no directory before the installed programs."""
        text = text.replace(str(self.directory), "$D")
        # avcheck prints a directory of any name in ASCII.
        ascii_only = str(AVCHECK.parent).encode().decode("ascii", "replace").replace("\ufffd", "?")
        return text.replace(f"{ascii_only}/", "")

    def _handler_of_its_own(self) -> Path:
        text = AVCHECK.with_name("infected.sh").read_text()
        own = self.directory / "infected.sh"
        own.write_text(text.replace(f"settings={SITE_SETTINGS}", "settings=/nonexistent/none"))
        own.chmod(0o755)
        return own


@contextmanager
def stage(screen: Screen) -> Iterator[Stage]:
    """A stage that is gone afterwards, whatever happens."""
    # Not in $TMPDIR: a socket's path has to be short.
    directory = Path(tempfile.mkdtemp(prefix="avcheck-demo-", dir="/var/tmp"))
    os.chmod(directory, 0o700)
    try:
        where = Stage(directory, screen)
        try:
            yield where
        finally:
            where.close()
    finally:
        shutil.rmtree(directory)
