"""Other ways in to the played mail server: by TLS, by another kind of socket."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from pathlib import Path

from tests.support.fakes import FakeSmtp, Server

READY = b"220 2.0.0 ready\r\n"


class Front(Server):
    """Offers STARTTLS among other things, and after the handshake is the server behind it.

    It says ready to STARTTLS, and hangs up then if that ends the conversation (quits).  `names`
    are those that clients asked for (SNI), `commands` what they said in the clear.  Stage:
    handshake.
    """

    def __init__(
        self,
        path: Path | None,
        behind: FakeSmtp,
        context: ssl.SSLContext,
        *,
        offers: tuple[bytes, ...] = (b"PIPELINING", b"STARTTLS"),
        ready: bytes = READY,
        quits: bool = False,
        hold: str = "",
    ) -> None:
        self.names: list[str | None] = []
        self.commands: list[bytes] = []
        self._behind = place(behind)
        self._context = context
        self._offers = offers
        self._ready = ready
        self._quits = quits
        context.sni_callback = lambda connection, name, context: self.names.append(name)
        super().__init__(path, hold)

    def play(self, client: socket.socket) -> None:
        client.sendall(b"220 front ESMTP\r\n")
        lines = client.makefile("rb")
        while line := lines.readline().removesuffix(b"\r\n"):
            self.commands.append(line)
            if line == b"STARTTLS":
                client.sendall(self._ready)
                if not self._quits:
                    self.reach("handshake")
                    self._go_on(client)
                return
            offers = b"".join(b"250-" + word + b"\r\n" for word in self._offers)
            client.sendall(b"250-front\r\n" + offers + b"250 HELP\r\n")

    def _go_on(self, client: socket.socket) -> None:
        with (
            self._context.wrap_socket(client, server_side=True) as tls,
            socket.create_connection(self._behind) as behind,
        ):
            behind.makefile("rb", buffering=0).readline()  # its greeting is nobody's any more
            pass_on(tls, behind)


class Door:
    """Passes conversations on to a server, from a listening socket of any kind."""

    def __init__(self, listener: socket.socket, server: FakeSmtp) -> None:
        listener.listen()
        self._listener = listener
        self._server = place(server)
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # shut
            while True:
                client, _ = self._listener.accept()
                with (
                    contextlib.suppress(ConnectionError),  # a client may go at any time
                    client,
                    socket.create_connection(self._server) as server,
                ):
                    pass_on(client, server)

    def __enter__(self) -> Door:
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


def pass_on(client: socket.socket, server: socket.socket) -> None:
    """Pass everything on in both directions until somebody hangs up."""
    while True:
        decrypted = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if decrypted else select.select([client, server], [], [])[0]
        for each in ready:
            piece = each.recv(1 << 16)
            if not piece:
                return
            (server if each is client else client).sendall(piece)


def place(server: FakeSmtp) -> tuple[str, int]:
    """Where a server on a TCP port listens."""
    host, _, port = server.where.partition(":")
    return host, int(port)
