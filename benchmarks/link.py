"""A mail server that counts what comes over the connection, and a slow link to it."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

# struct tcp_info of linux/tcp.h: segs_out and segs_in, and of these data_segs_in and _out.
SEGMENTS = struct.Struct("@II")
SEGMENTS_AT, DATA_AT, TCP_INFO_SIZE = 136, 152, 160

PIECE = 1 << 16

DOT = b"\r\n.\r\n"


@dataclass(frozen=True)
class Session:
    """One connection, as the server has seen it.

    turns is how often it had answered everything and waited for the client, until the answer
    to the final dot: the round trips without that of the TCP handshake.  came and went are
    segments of TCP, and with data those that carried some.  answered is the moment of the
    answer to the final dot (time.perf_counter).
    """

    turns: int
    came: int
    went: int
    came_with_data: int
    went_with_data: int
    answered: float

    @property
    def segments(self) -> int:
        return self.came + self.went


class CountingServer:
    """An SMTP server on 127.0.0.1 that takes every message, pipelined as Postfix does.

    Answers are sent when there is no further command to be read.  One client after the
    other; what was counted is got by session().
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._sessions: queue.Queue[Session] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def session(self) -> Session:
        """What was counted of the next session that ends with a message."""
        return self._sessions.get(timeout=60)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> CountingServer:
        return self

    def __exit__(self, *why: object) -> None:
        self.stop()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # stop()
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _Conversation(client, self._sessions).hold()


@dataclass
class _Conversation:
    client: socket.socket
    sessions: queue.Queue[Session]
    come: bytearray = field(default_factory=bytearray)
    answers: bytearray = field(default_factory=bytearray)
    turns: int = 0
    answered: float = 0.0
    until_taken: int = 0

    def hold(self) -> None:
        self.answers += b"220 counting ESMTP\r\n"
        with contextlib.suppress(ConnectionError):
            while line := self._until(b"\r\n"):
                verb = line[:4].upper()
                if verb == b"EHLO":
                    self.answers += (
                        b"250-counting\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME\r\n"
                    )
                elif verb == b"DATA":
                    self.answers += b"354 go ahead\r\n"
                    self._until(DOT)
                    self.answers += b"250 2.0.0 taken\r\n"
                    self._answer()
                    self.answered, self.until_taken = time.perf_counter(), self.turns
                elif verb == b"QUIT":
                    self.answers += b"221 2.0.0 bye\r\n"
                    self._answer()
                    break
                else:
                    self.answers += b"250 2.0.0 yes\r\n"
            # When the client has hung up, nothing is on its way any more.
            while self.client.recv(PIECE):
                pass
        if self.answered:
            self.sessions.put(self._counted())

    def _until(self, end: bytes) -> bytes:
        """What comes until this end, which is left out; empty when the client hangs up."""
        searched = 0
        while (at := self.come.find(end, searched)) < 0:
            searched = max(0, len(self.come) - len(end) + 1)
            self._answer()
            piece = self.client.recv(PIECE)
            if not piece:
                return b""
            self.come += piece
        found = bytes(self.come[:at])
        del self.come[: at + len(end)]
        return found

    def _answer(self) -> None:
        if self.answers:
            self.turns += 1
            self.client.sendall(self.answers)
            self.answers.clear()

    def _counted(self) -> Session:
        info = self.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        went, came = SEGMENTS.unpack_from(info, SEGMENTS_AT)
        came_with_data, went_with_data = SEGMENTS.unpack_from(info, DATA_AT)
        return Session(self.until_taken, came, went, came_with_data, went_with_data, self.answered)


class SlowLink:
    """A port of 127.0.0.1 from which everything takes `delay` seconds to the server, and back.

    `connected` is when the last client's connect(2) would have begun on such a link: its
    handshake, which the kernel does at once here, is waited for as well.
    """

    def __init__(self, server: CountingServer, delay: float) -> None:
        self._server = ("127.0.0.1", server.port)
        self.delay = delay
        self.connected = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> SlowLink:
        return self

    def __exit__(self, *why: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # left
            while True:
                client, _ = self._listener.accept()
                self.connected = time.perf_counter()
                # SYN there, SYN and ACK back, ACK there: only then the server accepts.
                time.sleep(3 * self.delay)
                with client, socket.create_connection(self._server) as server:
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    lanes = [
                        threading.Thread(target=self._pass_on, args=ends, daemon=True)
                        for ends in ((client, server), (server, client))
                    ]
                    for lane in lanes:
                        lane.start()
                    for lane in lanes:
                        lane.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Everything from one end to the other, each piece so much later than it came."""
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
        reader = threading.Thread(target=self._read, args=(source, waiting), daemon=True)
        reader.start()
        piece = b"x"
        with contextlib.suppress(OSError):  # who has hung up does not listen either
            while piece:
                due, piece = waiting.get()
                time.sleep(max(due - time.perf_counter(), 0))
                if piece:
                    target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        reader.join()

    def _read(self, source: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        piece = b"x"
        while piece:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            waiting.put((time.perf_counter() + self.delay, piece))
