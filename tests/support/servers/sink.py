"""An SMTP server that keeps what it is given."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import socketserver
import threading
from dataclasses import dataclass
from types import TracebackType

EXTENSIONS = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"SIZE 0")

# A mailbox in angle brackets, and what follows it.  Quoted local parts may
# hold a ">", parameters may not.
PATH = re.compile(rb"\s*<(.*)>\s*(.*)", re.DOTALL)

# Only CRLF ends a line in SMTP (RFC 5321, 2.3.8); a bare LF is data.
CRLF = b"\r\n"
END = b"\r\n.\r\n"


@dataclass(frozen=True)
class Received:
    """One message: the envelope, and the data as it came, dots unstuffed, CRLF kept."""

    sender: bytes
    recipients: list[bytes]
    data: bytes


class Sink:
    """An SMTP server on 127.0.0.1 that accepts every message and keeps it in `messages`.

    It listens from the moment it is made until `stop()`.
    """

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self._arrived = threading.Condition()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def wait_for(self, count: int, timeout: float = 30.0) -> list[Received]:
        """The messages, once there are `count` or more; raises TimeoutError if they stay away."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages in {timeout} s")
            return list(self.messages)

    def take(self) -> list[Received]:
        """The messages so far; from now on they are counted from none again."""
        with self._arrived:
            taken, self.messages = self.messages, []
            return taken

    def stop(self) -> None:
        """Stop listening and hang up on everybody."""
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def keep(self, message: Received) -> None:
        """Add a message and wake up who waits for it."""
        with self._arrived:
            self.messages.append(message)
            self._arrived.notify_all()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Session)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for request in list(self._open):
            with contextlib.suppress(OSError):  # it may have gone already
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed in the middle is part of the tests, not an error."""


class _Session(socketserver.StreamRequestHandler):
    rfile: io.BufferedReader
    rbufsize = 1 << 16

    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        self._forget()
        self._say(b"220 sink ESMTP")
        while line := self.rfile.readline():
            verb = line.rstrip(b"\r\n")
            word = verb[:4].upper()
            if word == b"QUIT":
                self._say(b"221 2.0.0 bye")
                return
            if word == b"EHLO":
                self._forget()
                words = (b"sink", *EXTENSIONS)
                self._say(*(b"250-" + word for word in words[:-1]), b"250 " + words[-1])
            elif word in (b"HELO", b"RSET"):
                self._forget()
                self._say(b"250 2.0.0 sink")
            elif word == b"NOOP":
                self._say(b"250 2.0.0 yes")
            elif word == b"MAIL" and (path := PATH.match(verb, len(b"MAIL FROM:"))):
                self._forget()
                self.sender = path[1]
                self._say(b"250 2.1.0 sender")
            elif word == b"RCPT" and (path := PATH.match(verb, len(b"RCPT TO:"))):
                self.recipients.append(path[1])
                self._say(b"250 2.1.5 recipient")
            elif word == b"DATA" and self.recipients:
                self._say(b"354 go ahead")
                data = self._data()
                if data is None:
                    return
                self.server.sink.keep(Received(self.sender, self.recipients, data))
                self._forget()
                self._say(b"250 2.0.0 kept")
            else:
                self._say(b"500 5.5.2 not understood: " + verb[:80])

    def _forget(self) -> None:
        self.sender = b""
        self.recipients: list[bytes] = []

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    def _data(self) -> bytes | None:
        """The message; None if the client hangs up before the final dot."""
        raw = bytearray(CRLF)  # before the first line, as before any other
        while piece := self.rfile.peek():
            begin = max(len(raw) - len(END), 0)
            raw += piece
            at = raw.find(END, begin)
            behind = len(raw) - at - len(END) if at >= 0 else 0  # of the next command
            self.rfile.read(len(piece) - behind)
            if at >= 0:
                lines = bytes(raw[: at + len(CRLF)])
                return lines.replace(CRLF + b".", CRLF).removeprefix(CRLF)
        return None
