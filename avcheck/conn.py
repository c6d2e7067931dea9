"""One connection to a daemon or a mail server, with one deadline.

Every read either gives what was asked for or raises Defer: at the end of the
stream, when the time is up, when there is too much.  A line cut off by the end
of the stream is not a line.

stream has the socket and its errors, order the order of question and answer.
"""

from __future__ import annotations

from time import monotonic

from avcheck import dial
from avcheck.exits import BROKEN, EXPIRED, SILENT, Defer
from avcheck.order import HEARD_MAX, Ordered
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from avcheck.address import Address

# A reply's line: clamd needs under 300 bytes and the path, SMTP 512 (RFC 5321
# 4.5.3.1.5).  More than this is neither.
LINE_MAX = 8192


def connect(addresses: Sequence[Address], deadline: float, others: int = 0) -> Conn:
    """A connection to the first of the addresses that takes it; Defer (SILENT) if none does.

    others is how many more the caller has to try, which get their share of the time.

    The addresses that a host name stands for are tried in random order, so that
    its load is shared.
    """
    reasons = []
    for number, address in enumerate(addresses):
        left = len(addresses) - number + others
        try:
            return Conn(dial.connected(address, deadline, left), address, deadline)
        except Defer as why:
            reasons.append(why.text)
    raise Defer("; ".join(reasons), SILENT)


class Conn(Ordered):
    """A connection; a Defer that leaves its with block begins with peer, the address."""

    __slots__ = ("_probed", "_tls", "peer")

    def __init__(self, sock: socket.socket, address: Address, deadline: float) -> None:
        super().__init__(sock, address, deadline)
        self._probed = False
        self._tls: tuple[bytes, bytes, bytes, bytes] | None = None
        self.peer = str(address)

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

    def enable_keepalive(self) -> None:
        """Have the next read raise Defer soon after the other host is gone (see dial.PROBES)."""
        self._probed = True
        if not self.address.path:
            dial.enable_keepalive(self.sock)

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
            dial.limit(self.sock, self.deadline)
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
        self.sock = dial.connected(self.address, self.deadline, 1)
        self.seen.clear()
        self.gone = None
        self.over = False
        self.ended = False
        if self._probed:
            self.enable_keepalive()
        if self._tls:
            self.encrypted = False
            self.start_tls(*self._tls)

    def say_no_more(self) -> None:
        """Let the peer know that nothing more is sent; what it says can still be read.

        Not under TLS, which has no half of a connection.
        """
        if not self.encrypted:
            self.close_sending()

    def close(self, silence: float, goodbye: bytes = b"") -> bytes:
        """Tell the peer that we are done; returns what it says until it hangs up or is silent.

        For a reply that nothing else ends: a peer that answers one question after the other
        has given the whole answer to ours before it reads that there is no other.  goodbye is
        the command for it, if the protocol has one.  Nothing can be sent afterwards.
        """
        self.send_kept()
        self.ignored()  # of the goodbye nothing has to be read
        try:
            dial.limit(self.sock, self.deadline)
            self.sock.sendall(goodbye)
        except OSError:  # it has hung up already
            pass
        self.close_sending()
        more = b""
        while len(more) < HEARD_MAX and self.arrives(silence):
            more += self.take(len(self.seen))
        if monotonic() >= self.deadline:
            raise Defer("no answer in time", EXPIRED)
        self.ended = True
        return more

    def has_spoken(self) -> bool:
        """Whether the peer has said something, or hung up, before it was asked.

        Under TLS that cannot be told from what TLS itself sends, and only what has been
        read already counts.
        """
        if self.encrypted:
            return bool(self.seen)
        return self.arrived() or self.over or self.gone is not None

    def has_more(self, seconds: float = 0.0) -> bool:
        """Whether something has come, or comes within so many seconds, that is not read yet.

        It stays there for the next read.  For a reply that may be followed by more, or by
        nothing: what ends it then is a short silence.  False when the peer hangs up.
        """
        self.send_kept()
        return self.arrives(seconds)

    def line(self, end: bytes = b"\n") -> bytes:
        """The next line, without its end."""
        while (at := self.seen.find(end)) < 0:
            if len(self.seen) > LINE_MAX:
                raise Defer(f"a line of more than {LINE_MAX} bytes", BROKEN)
            self._await_more()
        return self.take(at + len(end))[:at]

    def lines(self) -> Iterator[bytes]:
        """The lines, without their LF or CR LF, one by one."""
        while True:
            yield self.line().removesuffix(b"\r")

    def exactly(self, size: int) -> bytes:
        """The next size bytes."""
        while len(self.seen) < size:
            self._await_more()
        return self.take(size)

    def rest(self, limit: int = LINE_MAX) -> bytes:
        """Everything until the peer hangs up, at most limit bytes.

        For protocols whose reply ends so; the parser has to know a whole reply from
        one that was cut off.
        """
        while self.await_answer():
            if len(self.seen) > limit:
                raise Defer(f"a reply of more than {limit} bytes", BROKEN)
        self.ended = True
        return self.take(len(self.seen))

    def _await_more(self) -> None:
        if not self.await_answer():
            said = f" after {printable(bytes(self.seen), 80)!r}" if self.seen else ""
            raise Defer(f"closed the connection{said}", BROKEN) from self.gone
