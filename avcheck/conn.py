"""One connection to a daemon or a mail server, with one deadline.

Every read either gives what was asked for or raises Defer: at the end of the
stream, when the time is up, when there is too much.  A line cut off by the end
of the stream is not a line.  The deadline is a moment (time.monotonic seconds),
not a length: a peer that sends a byte now and then cannot stretch it.
"""

from __future__ import annotations

import os
from sys import byteorder
from time import monotonic, sleep

from avcheck.dial import _limit, _tcp, _unix
from avcheck.exits import BROKEN, EXPIRED, SILENT, Defer
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from avcheck.address import Address
else:
    # The C half of the module: all that is used here, without the 5 ms that
    # socket takes to import selectors and to name its constants.
    import _socket as socket

# Seconds of silence before a TCP connection is probed, seconds between two probes, and how many
# of them may stay without an answer: a host that is gone is noticed within half a minute.
PROBE_AFTER = 10
PROBE_EVERY = 5
PROBES = 3

# A reply's line: clamd needs under 300 bytes and the path, SMTP 512 (RFC 5321
# 4.5.3.1.5).  More than this is neither.
LINE_MAX = 8192

_RECEIVE = 16384

# Seconds for the last words of a peer that has hung up: they are here, or will never come.
LAST_WORDS = 1.0

# Of ETIMEDOUT: it is the kernel that has given up.  When our own time is up there is no errno.
GONE = "the other host has not answered any more"

CUT_SHORT = "the spool file was cut short"
SLOW = "does not take the message in time"

# ssl.SSL_ERROR_WANT_READ: what TLS says where nothing is there.
WANT_READ = 2

# What is read of a file at once, where the kernel cannot send it itself.
PIECE = 64 * 1024

# Seconds that a peer which gets a message is listened to before it gets the last byte, on a Unix
# socket and on others; see Conn.watch.
QUIET_UNIX = 0.002
QUIET_TCP = 0.02

# Seconds between two looks whether the peer has taken what was sent, at first and at most.
FIRST_LOOK = 0.00002
LAST_LOOK = 0.005

# Bytes kept back of a question that has the message (see Conn.watch), and how much may be kept
# with them of what follows, so that they are the message's and not those of the sign for its end.
KEPT = 2
KEPT_MAX = 64

# Bytes of an answer that are remembered for a second reading.
HEARD_MAX = 256 * 1024


def connect(addresses: Sequence[Address], deadline: float, others: int = 0) -> Conn:
    """A connection to the first of the addresses that takes it; Defer (SILENT) if none does.

    others is how many more the caller has to try, which shall have their share of the time.

    The addresses that a host name stands for are tried in random order, so that
    its load is shared.
    """
    reasons = []
    for number, address in enumerate(addresses):
        left = len(addresses) - number + others
        try:
            sock = _unix(address, deadline, left) if address.path else _tcp(address, deadline, left)
            return Conn(sock, address, deadline)
        except Defer as why:
            reasons.append(why.text)
    raise Defer("; ".join(reasons), SILENT)


class _Sending:
    """What happens to the errors of sending.

    A peer that hangs up while we send has usually said why (clamd: over
    StreamMaxLength), so that is noted only: the next read gives its words, or
    raises Defer if there are none.
    """

    __slots__ = ("conn",)

    def __init__(self, conn: Conn) -> None:
        self.conn = conn

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
            if self.conn.encrypted or isinstance(why, BrokenPipeError | ConnectionResetError):
                self.conn.gone = why
                return True
            raise Defer(f"sending: {why.strerror}", BROKEN) from why
        return False


class Conn:
    """A connection; a Defer that leaves its with block begins with peer, the address."""

    __slots__ = (
        "_ignored",
        "_kept",
        "_late",
        "_over",
        "_probed",
        "_read",
        "_sending",
        "_sent",
        "_tls",
        "_watched",
        "address",
        "deadline",
        "early",
        "encrypted",
        "ended",
        "gone",
        "peer",
        "quiet",
        "seen",
        "sock",
    )

    def __init__(self, sock: socket.socket, address: Address, deadline: float) -> None:
        self._over = False  # the peer says nothing more: its end of the stream was read
        self._late = 0  # bytes that were read when the time was up
        self._probed = False
        self._sending = _Sending(self)
        self.sock = sock
        self.address = address
        self.peer = str(address)
        self.deadline = deadline
        self.seen = bytearray()
        self.gone: OSError | None = None
        self.encrypted = False
        self._tls: tuple[bytes, bytes, bytes, bytes] | None = None
        self._watched: int | None = None
        self._sent = 0
        self._kept = b""
        self._ignored: bool | None = None
        self._read = bytearray()
        self.quiet = QUIET_UNIX if address.path else QUIET_TCP
        self.early = False
        self.ended = False

    def __enter__(self) -> Conn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        try:  # noqa: SIM105 - contextlib takes 1.7 ms to import
            self.sock.close()
        except OSError:  # what was to be said has been said
            pass
        if isinstance(why, Defer):
            why.text = f"{self.peer}: {why.text}"

    def send(self, data: bytes) -> None:
        """Send all of it; raises Defer when the time is up."""
        if self._keeps(len(data)):
            data = self._kept + data
            kept = len(data) if self._kept and len(data) <= KEPT_MAX else KEPT
            data, self._kept = data[:-kept], data[-kept:]
        self._send(data)

    def _send(self, data: bytes) -> None:
        if self.gone:
            return
        with self._sending:
            _limit(self.sock, self.deadline)
            self.sock.sendall(data)

    def send_descriptor(self, words: bytes, fd: int) -> None:
        """Send the words, and with them an open file (SCM_RIGHTS; Unix sockets only)."""
        self._keeps(len(words))
        with self._sending:
            _limit(self.sock, self.deadline)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, byteorder))]
            sent = self.sock.sendmsg([words], rights)
            if sent < len(words):
                self.sock.sendall(words[sent:])

    def enable_keepalive(self) -> None:
        """Have the next read raise Defer soon after the other host is gone (TCP; see PROBES).

        One without power, or behind a cable that was pulled, says as little as one that
        is busy; but a busy one's kernel answers probes.  (Once all that was sent has arrived;
        until then it is the deadline that ends it.)
        """
        self._probed = True
        if self.address.path:
            return
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:  # then there is the deadline
            return

    def start_tls(
        self, name: bytes, authorities: bytes, certificate: bytes = b"", key: bytes = b""
    ) -> None:
        """Encrypt from now on; name is the server's, for SNI and for its certificate.

        That is verified only if there are authorities to do it with: a file in PEM
        format, or "system".  certificate and key are our own, files in PEM format.
        Raises Defer where the handshake fails.
        """
        if self.seen:  # said in the clear, to be taken for what is said under TLS
            raise Defer("the server went on talking after its reply to STARTTLS", BROKEN)
        from avcheck import tls

        try:
            _limit(self.sock, self.deadline)
        except TimeoutError as why:
            raise Defer("no time is left for the TLS handshake", EXPIRED) from why
        self.sock = tls.wrap(self.sock, name, authorities, certificate, key)
        self._tls = (name, authorities, certificate, key)
        self.encrypted = True

    def again(self) -> None:
        """Connect once more to the same address, for a peer that hangs up after an answer.

        Encrypted if it was; raises Defer as connect() and start_tls() do.
        """
        self.sock.close()
        address, deadline = self.address, self.deadline
        self.sock = _unix(address, deadline, 1) if address.path else _tcp(address, deadline, 1)
        self.seen.clear()
        self.gone = None
        self._over = False
        self.ended = False
        if self._probed:
            self.enable_keepalive()
        if self._tls:
            self.encrypted = False
            self.start_tls(*self._tls)

    def send_file(self, fd: int, start: int, size: int) -> None:
        """Send size bytes of the file from offset start, in constant memory."""
        end = start + size
        kept = min(KEPT, size) if self._keeps(size) else 0
        if self._kept:
            self._send(self._kept)
        while start < end - kept and not self.gone:
            sent = self._send_some(fd, start, end - kept - start)
            if not sent:
                raise Defer(CUT_SHORT)
            start += sent
        self._kept = os.pread(fd, kept, end - kept) if kept else b""
        if len(self._kept) != kept:
            raise Defer(CUT_SHORT)

    def _send_some(self, fd: int, start: int, size: int) -> int:
        """Send a piece of the file; returns its size."""
        if self.encrypted:
            piece = os.pread(fd, min(PIECE, size), start)
            self._send(piece)
            return len(piece)
        with self._sending:
            while True:
                _limit(self.sock, self.deadline)
                try:
                    return os.sendfile(self.sock.fileno(), fd, start, size)
                except BlockingIOError:
                    self._wait_to_send()
        return size  # the peer has hung up, which the next read will tell

    def _wait_to_send(self) -> None:
        import select

        left = self.deadline - monotonic()
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLOUT)
        poll.poll(max(left, 0) * 1000 if left < 1e6 else None)

    def say_no_more(self) -> None:
        """Let the peer know that nothing more is sent; what it says can still be read.

        Not under TLS, which has no half of a connection.
        """
        if not self.encrypted:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:  # it has hung up
                return

    # The order of questions and answers.

    def watch(self, size: int) -> None:
        """Have early tell whether an answer began before the end of a question of size bytes.

        Of one that is as long or longer the last bytes are kept back until an answer is waited
        for.  On a Unix socket the first of them goes out when the peer has read all before it,
        and the others when it has read that: who answers first and reads on afterwards has
        answered by then.  What is left to time, the seconds in quiet, is one who answers at
        the very last byte but one, or in another thread; and TCP, where nothing but the other
        kernel is known to have it.

        size is 0 for a question without the message: then only what was said before it is early.
        """
        self._watched = size

    def _keeps(self, size: int) -> bool:
        """Begin to send so many bytes; whether their last ones are to be kept back."""
        self._sent += size
        self._read.clear()
        if self._watched is None:
            self.early = bool(self.seen)
            return False
        self.early = self._comes(0.0)
        return 0 < self._watched <= self._sent

    def _let_go(self) -> None:
        """Send what was kept back, and note whether somebody has spoken before that."""
        kept, self._kept = self._kept, b""
        if not kept:
            return
        if self.address.path:
            self._wait_until_read()
            if len(kept) > 1:
                self._send(kept[:1])
                kept = kept[1:]
                self._wait_until_read()
            self.early |= self._comes(self.quiet)
        else:
            # Its kernel may take 40 ms to tell that it has it, so the two times are one.
            self._comes(self.quiet)
            self._wait_until_read()
            self.early |= bool(self.seen)
        self._send(kept)

    def _wait_until_read(self) -> None:
        """Return when the peer has read all that was sent, or says something, or is gone."""
        pause = FIRST_LOOK
        while not self._comes(0.0) and not (self.gone or self._over) and self.unread():
            left = self.deadline - monotonic()
            if left <= 0:
                raise Defer(SLOW, EXPIRED)
            sleep(min(pause, left))
            pause = min(2 * pause, LAST_LOOK)

    def unread(self) -> int:
        """How much the peer has not read yet, in the kernel's measure; over TCP, its host.

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
            self._comes(0.0)
            # Who has hung up has left nothing unread, or has reset the connection.
            left = self.address.path and not self.ended and self.unread()
            self._ignored = bool(self.gone or left)
        return self._ignored

    def heard(self) -> bytes:
        """All that was said since the last question, what nobody has read yet included."""
        try:  # noqa: SIM105 - contextlib takes 1.7 ms to import
            self._comes(0.0)
        except Defer:  # there is a reason already
            pass
        return bytes(self._read + self.seen)[:HEARD_MAX]

    def close(self, silence: float, goodbye: bytes = b"") -> bytes:
        """What the peer says more until it hangs up, which it is asked to, or until a silence.

        For a reply that nothing else ends: who answers one question after the other has
        given the whole answer to ours before he reads that there is no other.  goodbye is
        the word for it, if the protocol has one.  Nothing can be sent afterwards.
        """
        self._let_go()
        self.ignored()  # of the goodbye nothing has to be read
        try:
            _limit(self.sock, self.deadline)
            self.sock.sendall(goodbye)
            if self.encrypted:  # that of ssl ends the decryption, too
                socket.socket.shutdown(self.sock, socket.SHUT_WR)
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has hung up already
            pass
        found = b""
        while len(found) < HEARD_MAX:
            if not self._comes(silence):
                break
            found += self._take(len(self.seen))
        if monotonic() >= self.deadline:
            raise Defer("no answer in time", EXPIRED)
        self.ended = True
        return found

    # Receiving.

    def has_spoken(self) -> bool:
        """Whether the peer has said something, or hung up, before it was asked.

        Under TLS that cannot be told from what TLS itself sends, and only what has been
        read already counts.
        """
        if self.seen or self.encrypted:
            return bool(self.seen)
        self.sock.settimeout(0)
        try:
            self.seen += self.sock.recv(_RECEIVE)
        except ConnectionError as why:
            self.gone = why
        except OSError:  # nothing is there, or nothing can be read now
            return False
        return True

    def pending(self, seconds: float = 0.0) -> bool:
        """Whether something has come, or comes within so many seconds, that is not read yet.

        It stays there for the next read.  For a reply that may be followed by more, or by
        nothing: what ends it then is a short silence.  False when the peer hangs up.
        """
        self._let_go()
        return self._comes(seconds)

    def _comes(self, seconds: float) -> bool:
        if not self.seen:
            until = min(self.deadline, monotonic() + seconds)
            try:
                self.sock.settimeout(max(until - monotonic(), 0.0))
                data = self.sock.recv(_RECEIVE)
                self.seen += data
                self._over = not data
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

    def line(self, end: bytes = b"\n") -> bytes:
        """The next line, without its end."""
        while (at := self.seen.find(end)) < 0:
            if len(self.seen) > LINE_MAX:
                raise Defer(f"a line of more than {LINE_MAX} bytes", BROKEN)
            self._more()
        return self._take(at + len(end))[:at]

    def lines(self) -> Iterator[bytes]:
        """The lines, without their LF or CR LF, one by one."""
        while True:
            yield self.line().removesuffix(b"\r")

    def exactly(self, size: int) -> bytes:
        """The next size bytes."""
        while len(self.seen) < size:
            self._more()
        return self._take(size)

    def rest(self, limit: int = LINE_MAX) -> bytes:
        """Everything until the peer hangs up, at most limit bytes.

        For protocols whose reply ends so; the parser has to know a whole reply from
        one that was cut off.
        """
        while self._hear():
            if len(self.seen) > limit:
                raise Defer(f"a reply of more than {limit} bytes", BROKEN)
        self.ended = True
        return self._take(len(self.seen))

    def _take(self, size: int) -> bytes:
        """The next size bytes, which have come."""
        found = bytes(self.seen[:size])
        del self.seen[:size]
        self._read += found[: HEARD_MAX - len(self._read)]
        return found

    def _hear(self) -> bool:
        """Add what comes to seen, when the question is out; False at the end of the stream."""
        if self._kept:
            self._let_go()
            if self.early:
                return True
        return self._receive()

    def _more(self) -> None:
        if not self._hear():
            said = f" after {printable(bytes(self.seen), 80)!r}" if self.seen else ""
            raise Defer(f"closed the connection{said}", BROKEN) from self.gone

    def _receive(self) -> bool:
        """Add what comes to seen; False at the end of the stream."""
        until = min(self.deadline, monotonic() + LAST_WORDS) if self.gone else self.deadline
        try:
            try:
                _limit(self.sock, until)
                data = self.sock.recv(_RECEIVE)
            except TimeoutError as why:
                if why.errno:
                    raise
                data = self._arrived(why)
        except TimeoutError as why:
            if self.gone:
                return False
            if why.errno:
                raise Defer(GONE, BROKEN) from why
            raise Defer("no answer in time", EXPIRED) from why
        except ConnectionResetError as why:
            # It hung up before it had read all we sent; its words have come before this.
            self.gone = why
            return False
        except OSError as why:
            raise Defer(f"receiving: {why.strerror}", BROKEN) from why
        self.seen += data
        return bool(data)

    def _arrived(self, late: TimeoutError) -> bytes:
        """What has come by the end of the time; raises late if that is nothing.

        An answer that is there is an answer, whatever the clock says: a process that was
        stopped (a laptop, a snapshot of a virtual machine) wakes up when its time is over.
        Who goes on talking gets no more time by it.
        """
        if self._late >= _RECEIVE:
            raise late
        self.sock.settimeout(0)
        try:
            data = self.sock.recv(_RECEIVE - self._late)
        except ConnectionResetError:
            raise
        except OSError:  # nothing is there; TLS has a name of its own for it
            raise late from None
        self._late += len(data)
        return data
