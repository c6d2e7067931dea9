"""A private Postfix: its own configuration, queue, log and ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from . import packages
from .daemon import output_of
from .fresh import fresh
from .ports import free_port
from .queue import submit

# How long Postfix may take over one step of a test: it is idle but for us,
# and the largest message takes it a second.
PATIENCE = 60.0

# As systemd does it when a machine starts.
MORE_LINES = """\
cd /proc/sys/net/unix
if [ "$(cat max_dgram_qlen)" -lt 512 ]; then echo 512 >max_dgram_qlen || :; fi
"""

PARTS = ("config", "queue", "data")

# The services that a Postfix needs to receive, queue and send by SMTP.  pickup looks
# every second, not every minute, at what was queued anew.
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n       -       n       1       1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
scache    unix  -       -       n       -       1       scache
anvil     unix  -       -       n       -       1       anvil
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
postlog   unix-dgram n  -       n       -       1       postlogd
"""

# Mail for everybody goes to the next hop; nothing is looked up in the DNS.
# Clients count as strangers, so that Postfix adds nothing but its trace.
MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = mail.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
local_recipient_maps =
local_header_rewrite_clients =
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_tls_security_level = none
relayhost = {relayhost}
alias_maps =
message_size_limit = 0
"""


@dataclass(frozen=True)
class Queued:
    """A message in the queue: which part of it, for whom, and why it is still there."""

    queue: str
    queue_id: str
    recipients: list[str]
    reasons: list[str]


class Postfix:
    """A Postfix of one's own below `directory`, which other accounts must be able to enter.

    Mail leaves it for `relayhost` ("127.0.0.1:2525").  `main` and `master` are
    lines put after the instance's own main.cf, where they replace those of the same
    name, and master.cf; `files` are further files of the configuration directory
    `config`.  `within` are words of a command that starts its daemons.  After `start()` it
    takes mail by SMTP on 127.0.0.1:`port`.  It needs root.
    """

    def __init__(
        self,
        directory: Path,
        *,
        relayhost: str,
        main: str = "",
        master: str = "",
        files: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.directory = directory.absolute()
        self.config = self.directory / "config"
        self.port = free_port()
        host, _, port = relayhost.rpartition(":")
        names = {"directory": self.directory, "relayhost": f"[{host}]:{port}", "port": self.port}
        self._within = within
        self._files = {
            **(files or {}),
            "main.cf": _without(MAIN.format_map(names), main) + main,
            "master.cf": MASTER.format_map(names) + master,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What makes the commands of Postfix, sendmail too, work on this instance."""
        return {**os.environ, "PATH": packages.PLACES, "MAIL_CONFIG": str(self.config)}

    def start(self) -> None:
        """Start it; raises RuntimeError with its words if it does not."""
        packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
        packages.need_root("Postfix is started by root only")
        # Its daemons run as another account, whatever our umask is.
        for directory in (self.directory, *map(self.directory.joinpath, PARTS)):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        shutil.chown(self.directory / "data", "postfix")
        for name, text in self._files.items():
            file = self.config / name
            file.write_text(text)
            file.chmod(0o644)
        self._let_it_log()
        self.command(*self._within, "postfix", "start")

    def _let_it_log(self) -> None:
        """Give master(8) room in its own log socket, as systemd gives it to all.

        After a reload it starts postlogd(8) with the first line, and waits for itself, for ever,
        if it has more lines to say than the socket keeps: ten, where nobody has changed that
        (Linux 6, observed with Postfix 3.7).
        """
        self.command(*self._within, "sh", "-c", MORE_LINES)

    def stop(self) -> None:
        """Stop it, with everything it has started, and wait."""
        self.command("postfix", "stop")

    def reload(self) -> None:
        """Make it read its configuration again."""
        self.command("postfix", "reload")

    def __enter__(self) -> Postfix:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def command(self, *words: str, stdin: bytes = b"") -> str:
        """Run a command of Postfix on this instance; raises RuntimeError unless it exits 0."""
        try:
            return output_of(words, stdin, self.environment)
        except RuntimeError as why:
            raise RuntimeError(f"{why}\n{self.log}") from None

    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """Send a message (with CRLF) to the public port; the queue id that it got.

        Raises smtplib.SMTPException when a recipient or the message is refused.
        """
        said = submit(self.port, sender, recipients, message)
        found = re.search(r"queued as (\w+)", said)
        if found is None:
            raise RuntimeError(f"no queue id in {said!r}")
        return found[1]

    def flush(self, queue_id: str | None = None) -> None:
        """Try deferred mail again at once: one message or all of it."""
        self.command("postqueue", *(["-i", queue_id] if queue_id else ["-f"]))

    def queue(self) -> list[Queued]:
        """The messages in the queue."""
        return [
            Queued(
                entry["queue_name"],
                entry["queue_id"],
                [recipient["address"] for recipient in entry["recipients"]],
                [recipient.get("delay_reason", "") for recipient in entry["recipients"]],
            )
            for entry in map(json.loads, self.command("postqueue", "-j").splitlines())
        ]

    def queue_length(self, *names: str) -> int:
        """How many messages are in these parts of the queue ("active", "deferred")."""
        # What is moved from one part to another meanwhile can be counted twice, or not.
        return sum(
            len(files) for name in names for _, _, files in os.walk(self.directory / "queue" / name)
        )

    @property
    def log(self) -> str:
        """What it has logged so far."""
        try:
            return (self.directory / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def outcomes(self, queue_id: str, relay: str = "") -> list[str]:
        """What the log says has become of each recipient of a message, a line for each try.

        With `relay`, only what that service did ("avcheck").
        """
        return [
            line
            for line in self.log.splitlines()
            if f" {queue_id}: to=<" in line and f" relay={relay}" in line
        ]

    def wait_for_outcomes(self, queue_id: str, count: int = 1, relay: str = "") -> list[str]:
        """The outcomes, once there are `count` or more."""
        self.wait_until(
            lambda: len(self.outcomes(queue_id, relay)) >= count, f"{queue_id}: {count} outcomes"
        )
        return self.outcomes(queue_id, relay)

    def wait_until(
        self, condition: Callable[[], bool], what: str, patience: float = PATIENCE
    ) -> None:
        """Wait for something that Postfix does; raises TimeoutError with its log if it does not."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not in {patience} s; the log:\n{self.log[-4000:]}")
            time.sleep(0.05)  # Postfix tells nobody but its log


def _without(lines: str, others: str) -> str:
    """The lines of a main.cf but those whose parameters the others set: Postfix warns of both."""
    given = {line.split("=")[0].strip() for line in others.splitlines() if "=" in line}
    return "".join(
        line for line in lines.splitlines(True) if line.split("=")[0].strip() not in given
    )


def commands_for_all(where: Path) -> Path:
    """A directory with Postfix's commands, for `command_directory`; everybody can submit by them.

    Debian's postdrop is set-group-ID and takes a configuration of one's own from root only.
    This one is not, and so the instance's maildrop has to be open to those who submit:
    open_maildrop().
    """
    fresh(where)
    for command in Path(packages.find("postdrop")).parent.glob("post*"):
        (where / command.name).symlink_to(command)
    (where / "postdrop").unlink()
    shutil.copyfile(packages.find("postdrop"), where / "postdrop")
    (where / "postdrop").chmod(0o755)
    return where


def open_maildrop(instance: Postfix) -> None:
    """Let everybody submit by the commands of commands_for_all()."""
    (instance.directory / "queue" / "maildrop").chmod(0o1777)
    (instance.directory / "queue" / "public").chmod(0o755)
