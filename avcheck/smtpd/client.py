"""The connection to the client: its descriptors, and whether it is there."""

from __future__ import annotations

from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, poll
from time import monotonic

from avcheck import process, unix
from avcheck.exits import BROKEN, EXPIRED, Defer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
else:
    import _socket as socket  # see dial

# What fits where there is any room at all: into a pipe (pipe(7)), and into a socket.
WRITTEN = 4096


class Late(Defer):
    """The client has kept silent for too long, or does not take what we say."""

    def __init__(self) -> None:
        super().__init__("the client says nothing any more", EXPIRED)


class Gone(Defer):
    """The client has hung up."""

    def __init__(self) -> None:
        super().__init__("lost connection with the client", BROKEN)


class Client:
    """Who speaks on descriptor in, and is spoken to on descriptor out.  May be a pair of pipes."""

    __slots__ = ("_in", "_out", "_waits")

    def __init__(self, in_: int, out: int) -> None:
        self._in = in_
        self._out = out
        # A socket is ours alone; who shares a pipe with us did not ask for it not to wait.
        self._waits = not is_socket(in_)
        if not self._waits:
            unix.set_blocking(in_, False)

    def read(self, until: float) -> bytes:
        """What the client says; nothing when it has hung up.  Raises Late."""
        while True:
            try:
                if self._waits:
                    self._wait(self._in, POLLIN, until)
                # Most often it is there already.
                return unix.read(self._in, process.PIECE)
            except BlockingIOError:
                self._wait(self._in, POLLIN, until)
            except OSError:  # the connection was reset
                return b""

    def write(self, data: bytes, until: float) -> None:
        """Say all of it; raises Late, and Gone if nobody can hear it."""
        view = memoryview(data)
        while view:
            try:
                if self._waits:
                    self._wait(self._out, POLLOUT, until)
                view = view[unix.write(self._out, view[:WRITTEN]) :]
            except BlockingIOError:
                self._wait(self._out, POLLOUT, until)
            except OSError as why:
                raise Gone from why

    def has_closed(self) -> bool:
        """Whether it will say nothing more; it may hear us all the same."""
        return bool(process.events(self._in, POLLRDHUP))

    def is_deaf(self) -> bool:
        """Whether nobody can hear us, as far as can be told.

        Of a TCP connection that is only known after something was sent in vain.
        """
        return bool(process.events(self._out, POLLOUT) & (POLLHUP | POLLERR))

    def last_words(self) -> bytes:
        """What one that has closed its side had said before that."""
        said = b""
        while piece := self.read(float("inf")):  # it is there, and does not wait
            said += piece
        return said

    def close(self) -> None:
        for fd in {self._in, self._out}:
            process.close(fd)

    def peer(self) -> bytes:
        """Its address as XFORWARD has it, or empty."""
        try:
            sock = socket.socket(fileno=unix.dup(self._in))
        except OSError:
            return b""
        try:
            name = sock.getpeername()
            return str(name[0]).encode("ascii", "replace") if isinstance(name, tuple) else b""
        except OSError:
            return b""
        finally:
            sock.close()

    def _wait(self, fd: int, event: int, until: float) -> None:
        waiting = poll()
        waiting.register(fd, event)
        left = until - monotonic()
        if left <= 0:
            raise Late
        waiting.poll(min(left, 1e6) * 1000)


def is_socket(fd: int) -> bool:

    try:
        return unix.S_ISSOCK(unix.fstat(fd).st_mode)
    except OSError:
        return False


def is_listening(fd: int) -> bool:
    """Whether it is a socket that connections are to be accepted from."""
    if not is_socket(fd):
        return False
    sock = socket.socket(fileno=unix.dup(fd))
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        sock.close()
