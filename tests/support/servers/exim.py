"""A private Exim: unpacked, with its own configuration, spool, log and ports."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import packages, unpacked
from .queue import MailDaemon, Waiting

ACCOUNT = "Debian-exim"

# Everything but avcheck's parts.  Mail is only queued by the daemon, which gives up root
# when it has its ports; only root can run queues with a configuration of one's own.
CONFIGURATION = """\
primary_hostname = mail.example.org
exim_path = {program}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
pid_file_path = {directory}/pid
queue_only
keep_environment =
tls_advertise_hosts =
smtp_accept_queue_per_connection = 0
{main}
begin acl
acl_check_rcpt:
  accept
acl_check_data:
  accept
{acl}
begin routers
{router}
onward:
  driver = manualroute
  route_list = * {host}::{port}
  self = send
  transport = onward
begin transports
{transport}
onward:
  driver = smtp
  connection_max_messages = 1
  hosts_try_chunking =
  max_rcpt = 0
begin retry
* * F,4d,1m
"""


class Exim(MailDaemon):
    """An Exim of one's own below `directory`, which other accounts must be able to enter.

    `parts` are lines for the main section ("main") and for those of ACLs, routers and
    transports ("acl", "router", "transport"); the front door's port is `port`.  Mail
    leaves for `relayhost` ("127.0.0.1:2525").  Nothing is delivered but by
    run_queue().  It needs root.
    """

    queued_as = r"id=(\S+)"

    def __init__(
        self, directory: Path, program: Path, *, relayhost: str, port: int, parts: dict[str, str]
    ) -> None:
        super().__init__(directory)
        self.log_file = self.directory / "output"  # its own log is a directory
        self.port = port
        self.configuration = self.directory / "exim.conf"
        self.program = program
        host, _, onward = relayhost.rpartition(":")
        self.text = CONFIGURATION.format(
            directory=self.directory, program=program, host=host, port=onward, **parts
        )

    @staticmethod
    def unpack(directory: Path) -> Path:
        """The program of Debian's package, unpacked below the directory."""
        packages.need_root("Exim is started by root only")
        unpacked.account(ACCOUNT)
        program = unpacked.unpack(directory, "exim4-daemon-light") / "usr" / "sbin" / "exim4"
        program.chmod(0o755)  # nobody is to become root by a copy in a test's directory
        return program

    def _prepare(self) -> None:
        for name in ("", "spool", "log"):
            directory = self.directory / name
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
            if name:
                shutil.chown(directory, ACCOUNT, ACCOUNT)
        self.configuration.write_text(self.text)
        self.configuration.chmod(0o644)

    def _command(self) -> list[str]:
        return [*self._words(), "-bdf"]

    def run_queue(self) -> None:
        """Try every message once, whenever its next try is due, and wait for the end of it.

        A frozen one stays frozen.
        """
        self.command("-qf")

    def queue(self) -> list[Waiting]:
        """The messages in the queue, with their headers."""
        found = []
        for file in sorted((self.directory / "spool" / "input").rglob("*-H")):
            try:
                found.append(Waiting(file.name.removesuffix("-H"), file.read_bytes()))
            except FileNotFoundError:
                continue  # delivered just now
        return found

    @property
    def log(self) -> str:
        """What it has logged so far."""
        files = sorted((self.directory / "log").glob("*log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def _words(self) -> list[str]:
        return [str(self.program), "-C", str(self.configuration)]
