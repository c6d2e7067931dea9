"""A slow or broken line between avcheck and a daemon."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PIECE = 64 * 1024


class Relay:
    """Passes one conversation on to a daemon, whose place is a path or host and port.

    After so many bytes (`there`) the client's words stay here; `reached` is called then, and
    what the daemon says goes back all the same.  Of that, only so many bytes (`back`) do;
    then the line is dead.  It listens on `address`, or on the path that it is given.
    """

    def __init__(
        self,
        daemon: Path | tuple[str, int],
        *,
        at: Path | None = None,
        there: int | None = None,
        back: int | None = None,
        reached: Callable[[], object] | None = None,
    ) -> None:
        self._daemon = daemon
        self._there = there
        self._back = back
        self._reached = reached
        self.said = 0
        if at:
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(str(at))
            self._server.listen(1)
            self.address = str(at)
        else:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # nobody has come
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._server.accept()
            with client, self._connect() as daemon:
                answers = threading.Thread(target=self._answer, args=(daemon, client))
                answers.start()
                with contextlib.suppress(OSError):
                    self._ask(client, daemon)
                    daemon.shutdown(socket.SHUT_RDWR)
                answers.join(60)

    def _connect(self) -> socket.socket:
        if isinstance(self._daemon, Path):
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(str(self._daemon))
            return daemon
        return socket.create_connection(self._daemon)

    def _ask(self, client: socket.socket, daemon: socket.socket) -> None:
        """Pass on what the client says, until it hangs up."""
        left = self._there
        while True:
            if left == 0 and self._reached:
                self._reached()
                self._reached = None
            piece = client.recv(PIECE)
            if not piece:
                return
            if left is None:
                daemon.sendall(piece)
            elif left:
                daemon.sendall(piece[:left])
                left -= len(piece[:left])

    def _answer(self, daemon: socket.socket, client: socket.socket) -> None:
        """Pass back what the daemon says, until it hangs up or enough is said."""
        left = self._back
        with contextlib.suppress(OSError):
            while piece := daemon.recv(PIECE):
                self.said += len(piece)
                if left is not None:
                    piece = piece[:left]
                    left -= len(piece)
                client.sendall(piece)
                if left == 0:
                    break
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
