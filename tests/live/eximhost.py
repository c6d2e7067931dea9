"""A Debian machine with Exim, on which docs/exim.md is followed to its section 7."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.debian import Debian
from tests.support.servers.machine import HOSTNAME, Layer
from tests.support.tree import ROOT

PAGE = ROOT / "docs" / "exim.md"
PYTHON = "/opt/avcheck/bin/python3"
MAINLOG = "/var/log/exim4/mainlog"
CONFIGURATION = ("/etc/exim4", "/var/lib/exim4")

# SENDER RECIPIENT...: what a client on the network does.
CLIENT = """\
import smtplib, sys
with smtplib.SMTP("127.0.0.1", 25) as client:
    client.sendmail(sys.argv[1], sys.argv[2:], sys.stdin.buffer.read())
"""

# COUNT: connections to the front door, greeted, until standard input ends.
IDLE = """\
import socket, sys
idle = [socket.create_connection(("127.0.0.1", 25)) for _ in range(int(sys.argv[1]))]
for each in idle:
    print(each.recv(4), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Answers:
    """What a person answers to Debian's questions; the rest of the configuration is as it comes."""

    split: bool
    site: str
    listens: str

    @property
    def form(self) -> str:
        """What the blocks of the page are named after."""
        return "split" if self.split else "one-file"


class EximHost(Debian):
    """The machine; usable inside a with statement.

    One after the other, several answers can be tried on it, for undo() leaves nothing.
    """

    def __init__(self, layer: Layer, wheels: Path) -> None:
        super().__init__(layer, wheels)
        self.answers = Answers(split=False, site="", listens="")
        self.before: dict[str, tuple[int, int, int, bytes]] = {}

    def __enter__(self) -> EximHost:
        super().__enter__()
        try:
            self.shell("useradd --create-home anna; useradd --create-home bert")
            self.append("/etc/aliases", "jürgen: bert\n")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def configure_exim(self, answers: Answers) -> None:
        """Answer the questions, and follow the page; `before` has the files in between."""
        self.answers = answers
        file = self.path("/etc/exim4/update-exim4.conf.conf")
        text = file.read_text()
        for name, value in (
            ("dc_use_split_config", str(answers.split).lower()),
            ("dc_eximconfig_configtype", answers.site),
            ("dc_local_interfaces", answers.listens),
        ):
            text, found = re.subn(f"^{name}=.*$", f"{name}='{value}'", text, flags=re.MULTILINE)
            assert found == 1, name
        file.write_text(text)
        self.run("systemctl", "restart", "exim4")
        self.before = self.files(*CONFIGURATION)
        self.follow(PAGE, f"debian-{answers.form}", "debian-interfaces", "debian-on")

    def undo(self) -> None:
        """Go the page's way back, and see that the configuration is as before, file by file."""
        self.follow(PAGE, f"undo-{self.answers.form}", "undo-debian")
        assert self.files(*CONFIGURATION) == self.before

    def send(self, way: str, message: bytes) -> None:
        """Send a message the way of this name."""
        {"local": self.local, "network": self.network}[way](message)

    def local(self, message: bytes, recipient: str = f"bert@{HOSTNAME}", sender: str = "") -> None:
        """Send a message with sendmail(1)."""
        as_sender = ("-f", sender) if sender else ()
        words = ("sendmail", "-i", *as_sender, "--", recipient)
        self.run(*words, data=message.replace(b"\r\n", b"\n"))

    def network(self, message: bytes, recipient: str = f"bert@{HOSTNAME}") -> None:
        """Send a message by SMTP, from the machine itself."""
        self.run("python3", "-c", CLIENT, "anna@example.com", recipient, data=message)

    @contextmanager
    def idle_clients(self, count: int) -> Iterator[list[bytes]]:
        """So many connections to the front door; what each was greeted with."""
        words = self.enter("python3", "-c", IDLE, str(count))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield [process.stdout.readline() for _ in range(count)]
            process.communicate()

    def mailbox(self, user: str = "bert") -> str:
        """All mail that a user has."""
        return self.read(f"/var/mail/{user}")

    @property
    def log(self) -> str:
        return self.read(MAINLOG)

    def state(self) -> str:
        """What helps to see why something did not happen."""
        return super().state() + self.log[-4000:] + self.read("/var/log/exim4/paniclog")

    def queue(self) -> list[str]:
        """The names of the messages that wait."""
        return re.findall(r"^ *\S+ +\S+ (\S+) <", self.run("exim4", "-bp"), re.MULTILINE)

    def wait_for_empty_queue(self) -> None:
        """Wait until all mail has gone where it belongs; Exim says so a moment after."""
        self.wait_until(lambda: not self.queue(), "empty queue")

    def wait_for_deferral(self) -> None:
        """Wait until the one message in the queue has been tried, and avcheck has said 75."""
        [name] = self.queue()
        said = "Child process of avcheck transport returned 75"
        self.wait_until(lambda: said in self.run("exim4", "-Mvl", name), "message that waits")

    def pids(self, program: str) -> list[str]:
        """The machine's processes that run a program."""
        return self.attempt("pidof", program).stdout.decode().split()
