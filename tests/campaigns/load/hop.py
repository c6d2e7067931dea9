"""The next mail server: a process that can be killed, and its journal that cannot.

The server (aiosmtpd) writes a line for each message before it says yes to it: whoever is told yes
will find it there, and a message of which nobody was told may be there as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.fakes import PATIENCE
from tests.support.servers.ports import free_port
from tests.support.tree import ROOT


@dataclass(frozen=True)
class Taken:
    """A message in the journal: its envelope, its first line, and the digest of the others."""

    sender: str
    recipients: tuple[str, ...]
    first: str
    digest: str


class Journal:
    """What the server does with a message."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        first, _, rest = envelope.content.partition(b"\r\n")
        words = [envelope.mail_from or "", ",".join(envelope.rcpt_tos), first.decode("latin-1")]
        line = "\t".join([*words, hashlib.sha256(rest).hexdigest()]) + "\n"
        os.write(self._file, line.encode())
        return "250 2.0.0 kept"


class Hop:
    """The server, which listens on `where` when it was started."""

    def __init__(self, directory: Path) -> None:
        self._journal = directory / "journal"
        self._log = directory / "hop.log"
        self._port = free_port()
        self.where = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it is not running."""
        if self._process is None:
            raise RuntimeError("this server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.campaigns.load.hop",
                    str(self._port),
                    str(self._journal),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"the next hop does not answer: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)  # a server has no other way to say it is ready

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 5) as probe:
                return probe.recv(3) == b"220"
        except OSError:
            return False

    def stop(self) -> None:
        """Ask it to end and wait; nothing happens if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            process.wait(PATIENCE)

    def taken(self) -> list[Taken]:
        """Every message in the journal."""
        found = []
        if self._journal.exists():
            for line in self._journal.read_text().splitlines():
                sender, recipients, first, digest = line.split("\t")
                found.append(Taken(sender, tuple(recipients.split(",")), first, digest))
        return found


async def serve(port: int, journal: str) -> None:
    """Be the server, for ever."""
    handler = Journal(journal)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="hop.example", enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1",
        port,
        reuse_address=True,
        backlog=100,
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
