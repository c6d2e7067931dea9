"""A door before a port that can be shut while people are in it."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

PIECE = 64 * 1024


class Gate:
    """Passes connections to its `port` on to another port of this host; open at first."""

    def __init__(self, onward: int) -> None:
        self._onward = onward
        self._lock = threading.Lock()
        self._inside: set[socket.socket] = set()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._let_in(self._listener)

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shut()

    def open(self) -> None:
        """Let people in again; nothing happens if it is open."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
            self._let_in(self._listener)

    def shut(self) -> None:
        """Refuse connections from now on, and cut those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for each in self._inside:
                with contextlib.suppress(OSError):  # gone by itself
                    each.shutdown(socket.SHUT_RDWR)

    def _let_in(self, listener: socket.socket) -> None:
        def listen() -> None:
            with contextlib.suppress(OSError):  # shut
                while True:
                    guest, _ = listener.accept()
                    threading.Thread(target=self._lead, args=(guest,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()

    def _lead(self, guest: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            guest,
            socket.create_connection(("127.0.0.1", self._onward)) as host,
        ):
            with self._lock:
                self._inside |= {guest, host}
            back = threading.Thread(target=_pass, args=(host, guest), daemon=True)
            back.start()
            _pass(guest, host)
            back.join()
            with self._lock:
                self._inside -= {guest, host}


def _pass(giver: socket.socket, taker: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := giver.recv(PIECE):
            taker.sendall(piece)
    for each in (giver, taker):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
