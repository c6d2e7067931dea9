"""1000 messages (`make chaos`), or a few (`make check`), through each mail system in a storm."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.campaigns.chaos.gate import Gate
from tests.campaigns.chaos.postfix import StormyPostfix
from tests.campaigns.chaos.storm import MailUnderTest, Storm, small_spool
from tests.live.recipe import MailSystem
from tests.live.test_exim import started as exim
from tests.live.test_sendmail import started as sendmail
from tests.live.through import Through, mark, replaced
from tests.support.servers.exim import Exim
from tests.support.servers.fresh import fresh
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sendmail import Program
from tests.support.syslog import NAMESPACE

COUNT = sweeps.messages(15)

# Of one test; it takes longer with more messages.
pytestmark = pytest.mark.timeout(300 + COUNT)


class Syslog:
    """A daemon that keeps every line; `close()` ends it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while line := self._socket.recv(65536):
            self.lines.append(line.decode())

    def __enter__(self) -> Syslog:
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram is the end; the daemon says none.
        self._socket.connect(self._socket.getsockname())
        self._socket.send(b"")
        self._thread.join()
        self._socket.close()


class PostfixMail(StormyPostfix):
    """A Postfix with the documented lines; avcheck's own log goes to `syslog`."""

    def __init__(self, postfix: Postfix, syslog: Syslog) -> None:
        super().__init__(postfix)
        self._syslog = syslog

    def told_of_duplicate(self, queue_id: str) -> bool:
        """Whether a run says that it may be one, or two of them that they have handed it on."""
        lines = [line for line in self._syslog.lines if f" {queue_id}: " in line]
        done = [line for line in lines if ", status=0 (" in line]
        return len(done) > 1 or any("possible duplicate" in line for line in lines)


@contextlib.contextmanager
def postfix(mail_system: MailSystem) -> Iterator[tuple[PostfixMail, Gate]]:
    behind = free_port()
    directory = mail_system.directory / "chaos-postfix"
    names = {"/etc/postfix": f"{directory}/config", "127.0.0.1:10026": f"127.0.0.1:{behind}"}
    # Postfix and its children have a /dev of their own, with the log in it.
    syslog, device = mail_system.directory / "log", mail_system.directory / "dev"
    fresh(device)
    within = ["unshare", "-m", "/bin/sh", "-c", NAMESPACE, "sh", str(device), str(syslog)]
    with Gate(behind) as gate, Syslog(syslog) as log:
        master = replaced(
            mail_system.block("master.cf", names),
            (f"-S 127.0.0.1:{behind}", f"-S 127.0.0.1:{gate.port}"),
            ("--deadline 450", "--deadline 5"),
        )
        with Postfix(
            directory,
            relayhost=mail_system.sink.address,
            main=mail_system.block("main.cf", names),
            master=master,
            files={"avcheck_dsn": mail_system.block("avcheck_dsn")},
            within=within,
        ) as instance:
            yield PostfixMail(instance, log), gate
            assert log.lines


def weather(
    mail_system: MailSystem, mail: MailUnderTest, gate: Gate, *, for_each: bool = False
) -> None:
    """A storm, and the account of it, which `make chaos` shows."""
    storm = Storm(mail_system, mail, gate, COUNT, run_for_each_recipient=for_each)
    storm.rage()
    notes.tell(f"storm, {type(mail).__name__}", storm.happened, storm.account())


@pytest.fixture(autouse=True)
def small(mail_system: MailSystem) -> Iterator[None]:
    with small_spool(mail_system):
        yield


def test_postfix(mail_system: MailSystem) -> None:
    with postfix(mail_system) as (mail, gate):
        weather(mail_system, mail, gate, for_each=True)
        assert "bounced" not in mail.log


class ThroughMail:
    """Exim, or two sendmails, whose queue is run again and again."""

    def __init__(self, through: Through) -> None:
        self._through = through
        self._front = through.front
        self.start = self._front.start
        self.stop = self._front.stop
        self.submit = self._front.submit
        self.try_again = through.run

    @property
    def log(self) -> str:
        return self._front.log

    def waiting(self) -> list[str | None]:
        queues = [self._front.queue()]
        if self._through.behind is not self._front:
            queues.append(self._through.behind.queue())
        return [mark(each) for queue in queues for each in queue if mark(each)]

    def told_of_duplicate(self, queue_id: str) -> bool:
        return any(
            queue_id in line and "possible duplicate" in line for line in self.log.splitlines()
        )


def test_exim(mail_system: MailSystem, open_directory: Path) -> None:
    program = Exim.unpack(open_directory / "exim-package")
    behind = free_port()
    with Gate(behind) as gate:
        change = (f"-S 127.0.0.1:{behind}", f"-S 127.0.0.1:{gate.port}")
        with exim(
            mail_system,
            program,
            "chaos-exim",
            change,
            ("--deadline 450", "--deadline 5"),
            behind=behind,
        ) as through:
            weather(mail_system, ThroughMail(through), gate)
            assert " ** " not in through.front.log


def test_sendmail(mail_system: MailSystem, open_directory: Path) -> None:
    program = Program.unpack(open_directory / "sendmail-package")
    behind = free_port()
    with Gate(behind) as gate:
        change = (f"-S 127.0.0.1:{behind}", f"-S 127.0.0.1:{gate.port}")
        with sendmail(
            *(mail_system, program, "chaos-sendmail", change),
            ("--deadline 450", "--deadline 5"),
            behind=behind,
        ) as through:
            weather(mail_system, ThroughMail(through), gate, for_each=True)
