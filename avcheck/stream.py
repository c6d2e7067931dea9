"""The bytes to and from a peer, with one deadline; an error of the socket becomes a Defer.

The deadline is a moment (time.monotonic seconds), not a length: a peer that sends a byte
now and then cannot stretch it.
"""

from __future__ import annotations

from sys import byteorder
from time import monotonic

from avcheck import process, unix
from avcheck.dial import limit
from avcheck.exits import BROKEN, EXPIRED, Defer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import TracebackType

    from avcheck.address import Address
else:
    import _socket as socket  # see dial

RECEIVE_MAX = 16384

# Seconds to read what a peer said before it hung up: it is here, or will never come.
LAST_WORDS = 1.0

# Of ETIMEDOUT: it is the kernel that has given up.  When our own time is up there is no errno.
GONE = "the other host has not answered any more"

SLOW = "does not take the message in time"

# ssl.SSL_ERROR_WANT_READ: what TLS says where nothing is there.
WANT_READ = 2


class _Sending:
    """What happens to the errors of sending.

    A peer that hangs up while we send has usually said why (clamd: over
    StreamMaxLength), so that is noted only: the next read gives its reply, or
    raises Defer if there is none.
    """

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> bool:
        if isinstance(why, TimeoutError):
            if why.errno:
                raise Defer(GONE, BROKEN) from why
            raise Defer(SLOW, EXPIRED) from why
        if isinstance(why, OSError):
            # TLS has errors of its own for it.
            if self.stream.encrypted or isinstance(why, BrokenPipeError | ConnectionResetError):
                self.stream.gone = why
                return True
            raise Defer(f"sending: {why.strerror}", BROKEN) from why
        return False


class Stream:
    """A connected socket.

    seen is what has been received and not yet read, gone the error that ended the
    connection, over whether the end of the peer's stream was received.
    """

    __slots__ = (
        "_late",
        "_sending",
        "address",
        "deadline",
        "encrypted",
        "gone",
        "over",
        "seen",
        "sock",
    )

    def __init__(self, sock: socket.socket, address: Address, deadline: float) -> None:
        self._late = 0  # bytes that were received after the deadline
        self._sending = _Sending(self)
        self.sock = sock
        self.address = address
        self.deadline = deadline
        self.seen = bytearray()
        self.gone: OSError | None = None
        self.over = False
        self.encrypted = False

    def put(self, data: bytes) -> None:
        """Send all of it; raises Defer when the time is up."""
        if self.gone:
            return
        with self._sending:
            limit(self.sock, self.deadline)
            self.sock.sendall(data)

    def put_descriptor(self, data: bytes, fd: int) -> None:
        """Send the data, and with it an open file (SCM_RIGHTS)."""
        with self._sending:
            limit(self.sock, self.deadline)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, byteorder))]
            sent = self.sock.sendmsg([data], rights)
            if sent < len(data):
                self.sock.sendall(data[sent:])

    def put_piece(self, fd: int, start: int, size: int) -> int:
        """Send a piece of the file, at most size bytes from start; returns its size."""
        if self.encrypted:
            piece = unix.pread(fd, min(process.PIECE, size), start)
            self.put(piece)
            return len(piece)
        with self._sending:
            while True:
                limit(self.sock, self.deadline)
                try:
                    return unix.sendfile(self.sock.fileno(), fd, start, size)
                except BlockingIOError:
                    self._wait_to_send()
        return size  # the peer has hung up, which the next read will tell

    def _wait_to_send(self) -> None:
        import select

        left = self.deadline - monotonic()
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLOUT)
        poll.poll(max(left, 0) * 1000 if left < 1e6 else None)

    def close_sending(self) -> None:
        """Tell the peer that nothing more is sent; what it says can still be read."""
        try:
            if self.encrypted:  # the shutdown of ssl ends the decryption, too
                socket.socket.shutdown(self.sock, socket.SHUT_WR)
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has hung up
            return

    def arrives(self, seconds: float) -> bool:
        """Whether something has come, or comes within so many seconds, that is not read yet."""
        if not self.seen:
            until = min(self.deadline, monotonic() + seconds)
            try:
                self.sock.settimeout(max(until - monotonic(), 0.0))
                data = self.sock.recv(RECEIVE_MAX)
                self.seen += data
                self.over = not data
            except ConnectionError as why:
                self.gone = why
            except OSError as why:
                # Said once only: a later read would find the end of the stream, and no reason.
                if isinstance(why, TimeoutError) and why.errno:
                    raise Defer(GONE, BROKEN) from why
                nothing = isinstance(why, TimeoutError | BlockingIOError)
                if not nothing and why.errno != WANT_READ:
                    raise Defer(f"receiving: {why.strerror}", BROKEN) from why
        return bool(self.seen)

    def arrived(self) -> bool:
        """Whether something has come that is not read yet, and never an error."""
        try:
            return self.arrives(0.0)
        except Defer:
            return False

    def receive(self) -> bool:
        """Wait for more, and add it to seen; False at the end of the stream."""
        until = min(self.deadline, monotonic() + LAST_WORDS) if self.gone else self.deadline
        try:
            try:
                limit(self.sock, until)
                data = self.sock.recv(RECEIVE_MAX)
            except TimeoutError as why:
                if why.errno:
                    raise
                data = self._late_data(why)
        except TimeoutError as why:
            if self.gone:
                return False
            if why.errno:
                raise Defer(GONE, BROKEN) from why
            raise Defer("no answer in time", EXPIRED) from why
        except ConnectionResetError as why:
            # It hung up before it had read all we sent; its reply has come before this.
            self.gone = why
            return False
        except OSError as why:
            raise Defer(f"receiving: {why.strerror}", BROKEN) from why
        self.seen += data
        return bool(data)

    def _late_data(self, late: TimeoutError) -> bytes:
        """What had come when the time was up; raises late if that is nothing.

        An answer that is there is an answer, whatever the clock says: a process that was
        stopped (a laptop, a snapshot of a virtual machine) wakes up when its time is over.
        A peer that goes on talking gets no more time by it.
        """
        if self._late >= RECEIVE_MAX:
            raise late
        self.sock.settimeout(0)
        try:
            data = self.sock.recv(RECEIVE_MAX - self._late)
        except ConnectionResetError:
            raise
        except OSError:  # nothing is there; TLS has a name of its own for it
            raise late from None
        self._late += len(data)
        return data
