"""A connection to somebody who has said everything before he is asked, and a message to ask about.

What a unit test of a scanner or of SMTP needs: the real conn.Conn over a real socket,
and no thread, because every reply is in the socket already when the first one is read.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType

from avcheck import spool
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.directory import Directory
from avcheck.incoming import Incoming
from avcheck.options import reading
from avcheck.run import Run
from avcheck.settings import Settings

# Seconds until a connection gives up.  A test that passes never waits for it to end.
PATIENCE = 20.0

DESCRIPTORS_MAX = 4

SENDER = b"sender@example.org"
MESSAGE = b"Subject: a letter\n\nHello.\n.\nBye.\n"


def soon() -> float:
    return monotonic() + PATIENCE


def tick() -> float:
    """A deadline that comes at once, for one who waits for something that never comes."""
    return monotonic() + 0.05


def at(path: Path) -> Address:
    return Address(path=os.fsencode(path))


@contextlib.contextmanager
def listening(path: Path, backlog: int = 8) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(backlog)
        yield server


@contextlib.contextmanager
def listening_tcp(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, Address]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = b"%d" % server.getsockname()[1]
        yield server, Address(host=host.encode(), port=port)


class OneByOne(socket.socket):
    """A socket from which no read gets more than one byte."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return super().recv(min(size, 1), flags)


class InSteps(socket.socket):
    """A socket whose peer speaks when he is waited for, and then goes one step further.

    A look whether he has spoken (a read that does not wait) finds that he has not.  Before he
    speaks he has read all that was said to him.
    """

    steps: list[int]
    hear: Callable[[], None]

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.gettimeout() == 0:
            raise BlockingIOError
        self.hear()
        if not self.steps:
            return super().recv(size, flags)
        data = super().recv(min(size, self.steps[0]), flags)
        self.steps[0] -= len(data)
        if not self.steps[0]:
            del self.steps[0]
        return data


class Wire:
    """conn is what avcheck holds; the other end has said all of reply and hung up.

    With stays the other end does not hang up, and only answers.  With steps, which are
    sizes, a read gets no more of the reply than the next of them.
    """

    def __init__(
        self,
        reply: bytes,
        *,
        one_by_one: bool = False,
        stays: bool = False,
        steps: Sequence[int] | None = None,
    ) -> None:
        ours, self._theirs = socket.socketpair()
        self._theirs.sendall(reply)
        if not stays:
            self._theirs.shutdown(socket.SHUT_WR)
        sock: socket.socket
        if steps is not None:
            sock = InSteps(fileno=ours.detach())
            sock.hear = self._listen
            sock.steps = [1] * sum(steps) if one_by_one else [size for size in steps if size]
        else:
            kind = OneByOne if one_by_one else socket.socket
            sock = kind(fileno=ours.detach())
        self.conn = Conn(sock, Address(path=b"/run/wire"), monotonic() + PATIENCE)
        self.files: list[bytes] = []
        self._heard = b""

    def heard(self) -> bytes:
        """What came over the wire until now; what came in an open file is in files."""
        self._listen()
        return self._heard

    def _listen(self) -> None:
        self._theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                piece, files, _, _ = socket.recv_fds(self._theirs, 1 << 16, DESCRIPTORS_MAX)
                for file in files:
                    self.files.append(os.pread(file, os.fstat(file).st_size, 0))
                    os.close(file)
                if not piece:
                    break
                self._heard += piece

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.conn.sock.close()
        self._theirs.close()


@contextlib.contextmanager
def spooled(
    directory: Path | bytes, content: bytes = MESSAGE, *, named: bool = False
) -> Iterator[spool.Message]:
    """A message in the spool directory, received as avcheck receives it."""
    how = settings(b"-s", b"clamd+path") if named else settings()
    with (
        given(content) as stdin,
        Directory(os.fsencode(directory)) as place,
        spool.receive(Incoming(stdin), place, how) as message,
    ):
        yield message


@contextlib.contextmanager
def given(content: bytes) -> Iterator[int]:
    """A descriptor to read the bytes from, to their end."""
    fd = os.memfd_create("given")
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def open_files() -> set[str]:
    """The descriptors that are open now."""
    directory = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return set(os.listdir(directory)) - {str(directory)}
    finally:
        os.close(directory)


def settings(*words: bytes) -> Settings:
    """Settings for a message of SENDER to one recipient, from a command line."""
    line = [b"-f", SENDER, b"-s", b"clamd", b"-d", b"/spool", *words, b"r@example.org"]
    return reading.read(line, no_file)


def no_file(name: bytes) -> bytes:
    """What --config loads where no test should need it."""
    raise AssertionError(name)


def new_run(called: bytes = b"", seconds: float = PATIENCE) -> Run:
    """A run that has just begun, with so much time, but without touching the signals."""
    run = Run(called)
    run.deadline = run.record.began + seconds
    return run
