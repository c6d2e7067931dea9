"""TLS in front of a daemon that has none, as stunnel does it, and the certificates for that.

trustme makes them when they are needed: nothing expires, and no key lies around.
"""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType

# What is passed on at once.
PIECE = 64 * 1024


class Authority:
    """A certificate authority of one's own, with its files below `directory`.

    `file` has its certificate, for those who are to trust it.
    """

    def __init__(self, directory: Path) -> None:
        import trustme

        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._authority = trustme.CA()
        self.file = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *, expired: bool = False) -> Path:
        """A file with a key and a certificate for a name, an address or a mailbox."""
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        issued = self._authority.issue_cert(name, not_after=yesterday if expired else None)
        file = self.directory / f"{name}{'-expired' if expired else ''}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))
        return file


class TlsProxy:
    """Takes TLS on a free port of 127.0.0.1, and passes on what it hears to a daemon.

    `daemon` is the path of a socket, or host and port; `certificate` a file of an
    Authority.  With `clients`, only those pass who have a certificate of that authority.
    `address` is where it listens, from the moment it is made until `stop()`.
    """

    def __init__(
        self,
        daemon: Path | tuple[str, int],
        certificate: Path,
        *,
        clients: Authority | None = None,
    ) -> None:
        self._daemon = daemon
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        if clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(clients.file)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = [self._server]
        self._run(self._accept)

    def stop(self) -> None:
        """Stop listening and hang up on everybody."""
        for each in self._open:
            with contextlib.suppress(OSError):  # has hung up
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        for each in self._open:
            each.close()

    def __enter__(self) -> TlsProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, what: object, *words: object) -> None:
        thread = threading.Thread(target=what, args=words, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # stop()
            while True:
                client, _ = self._server.accept()
                self._open.append(client)
                self._run(self._serve, client)

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:  # a handshake that fails is what some tests are about
            plain.close()
            return
        daemon = self._connect()
        self._open += [client, daemon]
        # In one thread: two must not use one TLS connection at a time (OpenSSL aborts).
        with contextlib.suppress(OSError, ValueError):  # one of them has hung up
            while _pass_on(client, daemon):
                pass
        with contextlib.suppress(OSError, ValueError):
            while piece := daemon.recv(PIECE):  # said before it hung up on what we had to say
                client.sendall(piece)
            # The daemon has said all.  TLS says so, too: who reads to the end has to know it.
            client.unwrap()
        client.close()
        daemon.close()

    def _connect(self) -> socket.socket:
        if isinstance(self._daemon, Path):
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(str(self._daemon))
            return daemon
        return socket.create_connection(self._daemon)


def _pass_on(client: ssl.SSLSocket, daemon: socket.socket) -> bool:
    """Wait until one of them says something, and tell the other; False when one hangs up."""
    heard: list[socket.socket] = [client]
    if not client.pending():  # OpenSSL has read it already, and select cannot know
        heard, _, _ = select.select([client, daemon], [], [])
    if client in heard:
        piece = client.recv(PIECE)
        if not piece:
            daemon.shutdown(socket.SHUT_RDWR)
            return False
        daemon.sendall(piece)
    if daemon in heard:
        piece = daemon.recv(PIECE)
        client.sendall(piece)
        return bool(piece)
    return True
