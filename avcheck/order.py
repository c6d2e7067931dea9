"""The order of question and answer.

A reply to a message that the peer has not read does not count.

Several daemons answer before they have the whole message, and some answers are clean.
So the end of a question is kept back until an answer is waited for, and what comes
before that is early.
"""

from __future__ import annotations

from sys import byteorder
from time import monotonic, sleep

from avcheck import unix
from avcheck.exits import EXPIRED, Defer
from avcheck.stream import SLOW, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from avcheck.address import Address

CUT_SHORT = "the spool file was cut short"

# Seconds to wait for an answer before the last byte of a message is sent, on a Unix socket and
# over TCP; see Ordered.watch.
QUIET_UNIX = 0.002
QUIET_TCP = 0.02

# Seconds between two looks whether the peer has taken what was sent, at first and at most.
FIRST_LOOK = 0.00002
LAST_LOOK = 0.005

# Bytes kept back of a question that has the message (see Ordered.watch), and how many may be kept
# with them of what follows, so that they are the message's and not those that mark its end.
KEPT = 2
KEPT_MAX = 64

# Bytes of an answer that are remembered for a second reading.
HEARD_MAX = 256 * 1024


class Ordered(Stream):
    """A stream that knows where a question ends, and whether the answer came after it.

    early tells that an answer began before the end of the question, ended that the peer
    has hung up after its answer; quiet is how long an early answer is waited for.
    """

    __slots__ = ("_heard", "_ignored", "_kept", "_sent", "_watched", "early", "ended", "quiet")

    def __init__(self, sock: socket.socket, address: Address, deadline: float) -> None:
        super().__init__(sock, address, deadline)
        self._heard = bytearray()
        self._ignored: bool | None = None
        self._kept = b""
        self._sent = 0
        self._watched: int | None = None
        self.early = False
        self.ended = False
        self.quiet = QUIET_UNIX if address.path else QUIET_TCP

    def watch(self, size: int) -> None:
        """Have early tell whether an answer began before the end of a question of size bytes.

        The last bytes of a question that long are kept back until an answer is waited for.  On a
        Unix socket the first of them is sent when the peer has read all before it, the rest when
        it has read that one: a peer that answers first and goes on reading has answered by then.
        Only time (quiet) tells for a peer that answers at the very last byte but one or from
        another thread, and over TCP, where a peer's kernel has data that the peer has not read.

        size is 0 for a question without the message: then only what came before it is early.
        """
        self._watched = size

    def send(self, data: bytes) -> None:
        """Send all of it; raises Defer when the time is up."""
        if self._is_kept(len(data)):
            data = self._kept + data
            kept = len(data) if self._kept and len(data) <= KEPT_MAX else KEPT
            data, self._kept = data[:-kept], data[-kept:]
        self.put(data)

    def send_descriptor(self, data: bytes, fd: int) -> None:
        """Send the data, and with it an open file (SCM_RIGHTS; Unix sockets only)."""
        self._is_kept(len(data))
        self.put_descriptor(data, fd)

    def send_file(self, fd: int, start: int, size: int) -> None:
        """Send size bytes of the file from offset start, in constant memory."""
        end = start + size
        kept = min(KEPT, size) if self._is_kept(size) else 0
        if self._kept:
            self.put(self._kept)
        while start < end - kept and not self.gone:
            sent = self.put_piece(fd, start, end - kept - start)
            if not sent:
                raise Defer(CUT_SHORT)
            start += sent
        self._kept = unix.pread(fd, kept, end - kept) if kept else b""
        if len(self._kept) != kept:
            raise Defer(CUT_SHORT)

    def _is_kept(self, size: int) -> bool:
        """Begin to send so many bytes; whether the last of them are to be kept back."""
        self._sent += size
        self._heard.clear()
        if self._watched is None:
            self.early = bool(self.seen)
            return False
        self.early = self.arrives(0.0)
        return 0 < self._watched <= self._sent

    def send_kept(self) -> None:
        """Send what was kept back, and note whether an answer came before that."""
        kept, self._kept = self._kept, b""
        if not kept:
            return
        if self.address.path:
            self._wait_until_read()
            if len(kept) > 1:
                self.put(kept[:1])
                kept = kept[1:]
                self._wait_until_read()
            self.early |= self.arrives(self.quiet)
        else:
            # Its kernel may acknowledge after 40 ms only, so one wait serves for both.
            self.arrives(self.quiet)
            self._wait_until_read()
            self.early |= bool(self.seen)
        self.put(kept)

    def _wait_until_read(self) -> None:
        """Return when the peer has read all that was sent, or says something, or is gone."""
        pause = FIRST_LOOK
        while not self.arrives(0.0) and not (self.gone or self.over) and self.unread():
            left = self.deadline - monotonic()
            if left <= 0:
                raise Defer(SLOW, EXPIRED)
            sleep(min(pause, left))
            pause = min(2 * pause, LAST_LOOK)

    def unread(self) -> int:
        """How much the peer has not read yet, as the kernel counts; over TCP, not acknowledged.

        0 where the kernel does not tell (Linux does).
        """
        from fcntl import ioctl
        from termios import TIOCOUTQ  # the same number as SIOCOUTQ, see unix(7), tcp(7)

        try:
            return int.from_bytes(ioctl(self.sock.fileno(), TIOCOUTQ, bytes(4)), byteorder)
        except OSError:
            return 0

    def ignored(self) -> bool:
        """Whether the peer has answered, or hung up, with some of our question unread.

        (Of what goes over TCP the kernel only knows whether it has arrived.)
        """
        if self._ignored is None:
            self.arrives(0.0)
            # A peer that has hung up has left nothing unread, or has reset the connection.
            left = self.address.path and not self.ended and self.unread()
            self._ignored = bool(self.gone or left)
        return self._ignored

    def heard(self) -> bytes:
        """All that has come since the last question, read or not."""
        self.arrived()
        return bytes(self._heard + self.seen)[:HEARD_MAX]

    def take(self, size: int) -> bytes:
        """The next size bytes, which have come."""
        taken = bytes(self.seen[:size])
        del self.seen[:size]
        self._heard += taken[: HEARD_MAX - len(self._heard)]
        return taken

    def await_answer(self) -> bool:
        """Send what was kept back, and add what comes to seen; False at the end of the stream."""
        if self._kept:
            self.send_kept()
            if self.early:
                return True
        return self.receive()
