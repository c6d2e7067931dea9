"""avcheck-smtp as spawn(8), systemd and inetd run it, and a strict client at the other end.

All three standard descriptors are the connection, so whatever is said in any way is heard by the
client, which takes nothing but whole replies for an answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.fakes import PATIENCE
from tests.support.mta import MAIL, RECIPIENT, SENDER, Site, until

REPLY = re.compile(rb"(?:(\d{3})-[^\r\n]*\r\n)*(\d{3}) [^\r\n]*\r\n", re.ASCII)

# The message of the other tests, as it goes over the wire, without and with its end.
CONTENT = MAIL.replace(b"\n", b"\r\n")
WIRE = CONTENT.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Talk:
    """A connection to an SMTP server, whose every byte has to be part of a reply."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.settimeout(PATIENCE)
        self._heard = b""

    def say(self, words: bytes) -> None:
        self.socket.sendall(words)

    def hear(self) -> bytes:
        """The next reply, all its lines."""
        while not (whole := REPLY.match(self._heard)):
            piece = self.socket.recv(65536)
            assert piece, f"hung up after {self._heard!r}"
            self._heard += piece
        reply, self._heard = self._heard[: whole.end()], self._heard[whole.end() :]
        assert len({line[:3] for line in reply.splitlines()}) == 1, reply
        return reply

    def ask(self, command: bytes) -> bytes:
        """The reply to one command."""
        self.say(command + b"\r\n")
        return self.hear()

    def hello(self) -> bytes:
        """The greeting and EHLO; returns the reply to that."""
        assert self.hear().startswith(b"220 ")
        return self.ask(b"EHLO client.example")

    def envelope(
        self, sender: bytes = SENDER, recipients: Sequence[bytes] = (RECIPIENT,)
    ) -> list[bytes]:
        """The replies to MAIL and every RCPT."""
        replies = [self.ask(b"MAIL FROM:<%b>" % sender)]
        return replies + [self.ask(b"RCPT TO:<%b>" % each) for each in recipients]

    def data(self, wire: bytes = WIRE) -> bytes:
        """The reply to the final dot."""
        assert self.ask(b"DATA").startswith(b"354 ")
        self.say(wire)
        return self.hear()

    def send(self, wire: bytes = WIRE, **envelope: object) -> bytes:
        """The reply to a whole message, for which everything before it is accepted."""
        for reply in self.envelope(**envelope):  # type: ignore[arg-type]
            assert reply.startswith(b"250 "), reply
        return self.data(wire)

    def quit(self) -> None:
        """Say goodbye; nothing else is said."""
        assert self.ask(b"QUIT") == b"221 2.0.0 Bye\r\n"
        self.hung_up()

    def hung_up(self) -> None:
        """Return when the other side has hung up, without another word."""
        try:
            said = self.socket.recv(65536)
        except ConnectionResetError:
            said = b""
        assert self._heard + said == b""

    def close(self) -> None:
        self.socket.close()


class Served(Talk):
    """A session in a process of its own."""

    def __init__(self, connected: socket.socket, process: subprocess.Popen[bytes]) -> None:
        super().__init__(connected)
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> int:
        """Hang up, if that has not been done, and wait for its end; returns its status."""
        self.close()
        return self.process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()
        if why is not None:
            self.process.kill()
        self.process.wait(PATIENCE)


def words(site: Site, *options: str) -> list[str]:
    """The command line at the site."""
    *before, avcheck = site.command
    command = [*before, str(Path(avcheck).with_name("avcheck-smtp"))]
    handler = ("-i", site.infected) if site.infected else ()
    scanner = ("-s", f"clamd:{site.scanner.where}")
    return [*command, "-d", str(site.spool), *scanner, *site.hop, *handler, *options]


def spawn(site: Site, *options: str, environment: Mapping[str, str] | None = None) -> Served:
    """A session, as spawn(8) starts one."""
    return spawned(words(site, *options), environment)


def spawned(line: Sequence[str], environment: Mapping[str, str] | None = None) -> Served:
    ours, theirs = socket.socketpair()
    with theirs:
        return Served(ours, _started(line, theirs, environment or {}))


def _started(
    line: Sequence[str], descriptor: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    fd = descriptor.fileno()
    return subprocess.Popen(
        line,
        stdin=fd,
        stdout=fd,
        stderr=fd,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", **environment},
        start_new_session=True,
        pass_fds=[fd],  # as systemd has it, once more
    )


class Listening:
    """A listening socket, and the process that was started with it as inetd's wait does."""

    def __init__(self, line: Sequence[str], path: Path | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.listen(64)
        self._line = line
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, as whoever listens does it with the next connection."""
        self.process = _started(self._line, self.socket, {})
        return self.process

    def connect(self) -> Talk:
        where = self.socket.getsockname()
        client = socket.socket(self.socket.family)
        client.settimeout(PATIENCE)
        client.connect(where)
        return Talk(client)

    @property
    def children(self) -> list[int]:
        place = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(pid) for pid in place.read_text().split()]
        except FileNotFoundError:
            return []

    def has_children(self, number: int) -> None:
        """Return when it has so many of them."""
        until(lambda: len(self.children) == number)

    def __enter__(self) -> Listening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            for pid in self.children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.socket.close()


def with_own_package(site: Site, command: Path) -> Path:
    """The directory of a package of its own, which the command at the site runs from now on."""
    python = "python{}.{}".format(*sys.version_info)
    lib = site.directory / "lib" / python / "site-packages"
    package = Path(sysconfig.get_path("purelib")) / "avcheck"
    shutil.copytree(package, lib / "avcheck", ignore=shutil.ignore_patterns("__pycache__"))
    place = site.directory / "bin"
    place.mkdir()
    for name in ("avcheck", "avcheck-smtp"):
        shutil.copy(command.with_name(name), place / name)
    (place / python).symlink_to(Path(sys.executable).resolve())
    site.command = [str(place / "avcheck")]
    return lib / "avcheck"


def is_quiet(talk: Talk) -> bool:
    """Whether nothing is said that was not asked for."""
    return not select.select([talk.socket], [], [], 0)[0]
