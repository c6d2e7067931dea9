"""Private sendmails: unpacked, each with its own configuration, queue, log and port."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import packages, unpacked
from .queue import MailDaemon, Waiting

CF = "/usr/share/sendmail/cf/"

# Before the first line of a .mc file: files that would be in /etc/mail are ours, too.
SETTINGS = "define(`MAIL_SETTINGS_DIR', `{directory}/mail/')dnl\n"

# After the MAILER lines of the one that delivers: all mail goes to a next hop, and no
# header line is added (the flags D, F, M and x would).
# The long lines are sendmail's own: ruleset, tab, result.
ONWARD = """\
MAILER_DEFINITIONS
Monward, P=[IPC], F=muXa8, E=\\r\\n, L=0, T=DNS/RFC822/SMTP, A=TCP $h {port}
LOCAL_RULE_0
R$* < @ $* > $*\t\t$#onward $@ [{host}] $: $1 < @ $2 > $3
R$+\t\t\t$#onward $@ [{host}] $: $1
"""

# For every sendmail here: its own files, nothing that needs the DNS, and no rest while the
# machine is busy with something else.
PRIVATE = """\
define(`confDOMAIN_NAME', `mail.example.org')dnl
define(`confTRUSTED_USER', `root')dnl
define(`STATUS_FILE', `')dnl
define(`confHOST_STATUS_DIRECTORY')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confREFUSE_LA', `10000')dnl
FEATURE(`accept_unresolvable_domains')dnl
"""

DELIVERING = """\
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
DOMAIN(`debian-mta')dnl
define(`QUEUE_DIR', `{directory}/queue')dnl
define(`confPID_FILE', `{directory}/pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`ALIAS_FILE', `')dnl
FEATURE(`nocanonify')dnl
{options}\
MAILER(`local')dnl
MAILER(`smtp')dnl
"""

# A host without a dot in its name, unknown to /etc/hosts, costs every start of
# sendmail a minute of sleep.  It gets a better name, which only it can see.
NAMED = ["unshare", "--uts", "sh", "-c", 'hostname mail.example.org; exec "$@"', "sh"]


@dataclass(frozen=True)
class Program:
    """An unpacked sendmail, and the m4 files that its configurations are made from."""

    sendmail: Path
    smrsh: Path
    cf: Path

    @staticmethod
    def unpack(directory: Path) -> Program:
        """Debian's package, unpacked below the directory."""
        packages.need_root("sendmail is started by root only")
        packages.need("m4", commands=["m4"])
        place = unpacked.unpack(directory, "sendmail-bin", "sendmail-cf")
        programs = place / "usr" / "libexec" / "sendmail"
        (programs / "sendmail").chmod(0o755)
        cf = place / CF.strip("/")
        for file in cf.rglob("*.m4"):
            text = file.read_text(errors="surrogateescape")
            file.write_text(text.replace(CF, f"{cf}/"), errors="surrogateescape")
        return Program(programs / "sendmail", programs / "smrsh", cf)


class Sendmail(MailDaemon):
    """A sendmail of one's own below `directory`, made from an .mc file; it listens on `port`.

    The .mc file names `directory`/queue as its queue.  Nothing is delivered but by
    run_queue().  It needs root.
    """

    queued_as = r"2\.0\.0 (\w+) Message accepted"

    def __init__(self, directory: Path, program: Program, *, port: int, mc: str) -> None:
        super().__init__(directory)
        self.port = port
        self._program = program
        mc = re.sub(r"^(?=OSTYPE)", SETTINGS.format(directory=self.directory), mc, flags=re.M)
        mc = re.sub(r"^(?=DAEMON_OPTIONS)", PRIVATE, mc, count=1, flags=re.M)
        self.mc = mc.replace(CF, f"{program.cf}/")

    @staticmethod
    def delivering(
        directory: Path,
        program: Program,
        *,
        relayhost: str,
        port: int,
        options: str,
        more: str = "",
    ) -> Sendmail:
        """The sendmail behind the front door: `options` are its DAEMON_OPTIONS, for this port.

        `more` comes last in its .mc file.
        """
        host, _, onward = relayhost.rpartition(":")
        mc = DELIVERING.format(directory=directory.absolute(), options=options)
        mc += ONWARD.format(host=host, port=onward) + more
        return Sendmail(directory, program, port=port, mc=mc)

    def _prepare(self) -> None:
        for name, mode in (("", 0o755), ("mail", 0o755), ("queue", 0o700)):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            (self.directory / name).chmod(mode)
        for name in ("local-host-names", "trusted-users", "relay-domains"):
            (self.directory / "mail" / name).touch()
        self.make()

    def make(self) -> None:
        """The configuration, of its source."""
        mc, cf = self.directory / "sendmail.mc", self.directory / "sendmail.cf"
        mc.write_text(self.mc)
        made = subprocess.run(["m4", str(mc)], stdout=subprocess.PIPE, check=True)
        cf.write_bytes(made.stdout)

    def _command(self) -> list[str]:
        return [*self._words(), "-bD", "-O", "DeliveryMode=queueonly"]

    def run_queue(self) -> None:
        """Try every message once, and wait for the end of it."""
        self._wait_for_locks()
        # Its status is that of some message; and a command that it no longer waits
        # for may keep its output open.
        with open(self.directory / "log", "ab") as log:
            subprocess.run(
                [*self._words(), "-qf", "-v"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )

    def _wait_for_locks(self) -> None:
        """Wait until nobody has a message locked: a queue run passes over those that are.

        Who has received one has it locked for a moment after his yes.
        """
        for file in (self.directory / "queue").glob("qf*"):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as queued:
                fcntl.flock(queued, fcntl.LOCK_SH)

    def queue(self) -> list[Waiting]:
        """The messages in the queue, with their headers and the reasons of the last try."""
        found = []
        for file in sorted((self.directory / "queue").glob("qf*")):
            try:
                found.append(Waiting(file.name.removeprefix("qf"), file.read_bytes()))
            except FileNotFoundError:
                continue  # delivered just now
        return found

    def _words(self) -> list[str]:
        cf = self.directory / "sendmail.cf"
        named = NAMED if "." not in os.uname().nodename and can_be_named() else []
        return [*named, str(self._program.sendmail), "-C", str(cf)]


def can_be_named() -> bool:
    """Whether this process may have a host name of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run([unshare, "--uts", "true"], capture_output=True, check=False)
    return tried.returncode == 0
