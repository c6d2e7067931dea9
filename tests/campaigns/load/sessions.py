"""The same with avcheck-smtp: a socket that is listened on, and clients that keep connections.

Whoever listens starts it again whenever it has ended and somebody comes, as systemd and inetd do.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from tests.campaigns.load.mta import AGAIN, Agent, Letter, MailSystem, Ran, sender
from tests.campaigns.load.place import Place
from tests.support.fakes import PATIENCE
from tests.support.mta import TEMPFAIL, until
from tests.support.smtp_client import Talk

# One message in so many is the last of its connection.
LAST_ONE_IN = 4

# Seconds between two signals to sessions, and for how long one is stopped.
STRUCK_EVERY = 0.4
STOPPED_FOR = 0.5

BLOWS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)


class Owner:
    """Listens, and has a process serve whoever comes."""

    def __init__(self, line: list[str]) -> None:
        self.starts = 0
        self._line = line
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.where = self._listening.getsockname()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def parent(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def sessions(self) -> list[int]:
        """The processes that serve a connection, those of this parent."""
        place = Path(f"/proc/{self.parent}/task/{self.parent}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in place.read_text().split()]
        return []

    def _watch(self) -> None:
        while not self._over.is_set():
            if self._process is None and select.select([self._listening], [], [], 0.1)[0]:
                self.starts += 1
                self._process = subprocess.Popen(
                    self._line,
                    stdin=self._listening.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                    env={"PATH": "/usr/bin:/bin", "LANG": "C"},
                )
            elif self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.1)
                    self._process = None

    def close(self) -> None:
        """End it, and wait for that."""
        self._over.set()
        self._thread.join()
        process, self._process = self._process, None
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        self._listening.close()


class Sessions(MailSystem):
    """A mail system whose delivery agents are clients of avcheck-smtp."""

    def __init__(self, place: Place, agents: int, seed: int) -> None:
        words = place.options
        self.owner = Owner([words[0].replace("bin/avcheck", "bin/avcheck-smtp"), *words[1:]])
        self.kills = 0
        self._talks: dict[int, Talk] = {}
        super().__init__(place, agents, seed)
        self._striker = threading.Thread(target=self._strike, daemon=True)
        self._blow = random.Random(seed + 1)

    def start(self) -> None:
        super().start()
        self._striker.start()

    def calm_down(self) -> None:
        super().calm_down()
        self._striker.join()
        lost = sum(ran.status == -signal.SIGKILL for ran in self.runs)
        assert lost <= self.kills, f"{lost} sessions ended without a reply, {self.kills} killed"
        for place in [*self._talks]:
            self._drop(place)
        self.owner.close()
        # Those whose parent was killed before.
        until(lambda: not self.place.processes(str(self.place.spool)))

    def close(self) -> None:
        for place in [*self._talks]:
            self._drop(place)
        self.owner.close()

    def kill_an_agent(self) -> None:
        """The process that accepts the connections; its sessions go on."""
        if parent := self.owner.parent:
            self.agents_killed += 1
            number = self._blow.choice((signal.SIGKILL, signal.SIGHUP))
            with contextlib.suppress(ProcessLookupError):
                os.kill(parent, number)

    def _hired(self, agents: int) -> list[Agent]:
        return []

    def _accept(self) -> Letter:
        accepted = super()._accept()
        # Over the wire a message comes with CRLF, and is kept so.
        accepted.digest = accepted.wire_digest
        return accepted

    def _strike(self) -> None:
        """Strike sessions, until no more messages are accepted."""
        while self._accepting and not self.failed:
            time.sleep(STRUCK_EVERY)
            if not (pids := self.owner.sessions):
                continue
            pid, number = self._blow.choice(pids), self._blow.choice(BLOWS)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                self.kills += number == signal.SIGKILL
                if number == signal.SIGSTOP:
                    time.sleep(self._blow.uniform(0, STOPPED_FOR))
                    os.kill(pid, signal.SIGCONT)

    def _run(self, place: int, letter: Letter) -> Ran:
        """Until the message has been sent once, whatever comes of it."""
        while True:
            with self._lock:
                number = self._number = self._number + 1
            began = time.monotonic() - self.began
            reply = self._sent(place, letter, number)
            if reply is None:  # it has not come to the message
                calm = not self._accepting and time.monotonic() > self._calm_until
                assert not calm, f"no session takes message {letter.number}"
                time.sleep(AGAIN)
                continue
            if not reply:
                # Nobody else ends like that; what was in hand then may have been handed on.
                return Ran(number, letter, -signal.SIGKILL, blows=(signal.SIGKILL,), at=began)
            assert reply[:1] in (b"2", b"4"), reply
            status = 0 if reply.startswith(b"2") else TEMPFAIL
            output = reply[4:] if status else reply[4:].partition(b" ")[2]
            return Ran(number, letter, status, output, self._memory(), at=began)

    def _memory(self) -> int:
        """Of the process that accepts, in KiB."""
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{self.owner.parent}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])
        return 0

    def _sent(self, place: int, letter: Letter, number: int) -> bytes | None:
        """The reply to the message, empty if there was none; None if it was not sent."""
        sent = False
        try:
            talk = self._talk(place)
            if talk is None:
                return None
            commands = [b"XFORWARD IDENT=Q%d" % letter.number]
            commands += [b"MAIL FROM:<%b>" % sender(number).encode()]
            commands += [b"RCPT TO:<%b>" % each.encode() for each in letter.recipients]
            for command in [*commands, b"DATA"]:
                reply = talk.ask(command)
                assert reply[:1] != b"5", reply
                if reply[:1] == b"4":
                    self._drop(place)
                    return None
            wire = letter.file.read_bytes().replace(b"\n", b"\r\n")
            wire = wire.replace(b"\r\n.", b"\r\n..") + b".\r\n"
            sent = True
            talk.say(wire)
            reply = talk.hear()
            if reply.startswith(b"421") or not self._blow.randrange(LAST_ONE_IN):
                self._drop(place)
            return reply
        except AssertionError as why:
            if not str(why).startswith("hung up after b''"):
                raise
        except OSError:
            pass
        self._drop(place)
        return b"" if sent else None

    def _talk(self, place: int) -> Talk | None:
        """The connection of that client."""
        if place not in self._talks:
            talk = Talk(socket.create_connection(self.owner.where, PATIENCE))
            self._talks[place] = talk
            if not (talk.hear().startswith(b"220") and talk.ask(b"EHLO load").startswith(b"250")):
                self._drop(place)
                return None
        return self._talks[place]

    def _drop(self, place: int) -> None:
        if talk := self._talks.pop(place, None):
            talk.close()
