"""clamd's administrative commands, by the clamd package over our own connections.

The package connects without a time limit and by IPv4 only, so it is given a socket
that avcheck.conn has connected: one deadline, every kind of address, TLS.
"""

from __future__ import annotations

import socket
import threading
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from avcheck import conn
from avcheck.exits import BROKEN, EXPIRED, Defer
from avcheck.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from avcheck.settings import Settings, Target


def _package() -> Any:
    """The clamd package; Debian has none, and there our few words of it do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources, which complains of itself
            import clamd
    except ImportError:
        from avcheck.admin import clamd_commands

        return clamd_commands
    return clamd


clamd = _package()

# As clamd says it: ClamAV 1.4.6/27412/Sun Jan  4 09:22:37 2026
DATE = "%a %b %d %H:%M:%S %Y"

# Bytes of an answer that are read: clamd's own to STATS has a line for each thread.
ANSWER_MAX = 1024 * 1024


@dataclass(frozen=True)
class Version:
    """What clamd says of itself; signatures is their number and date their time, if it says."""

    program: str
    signatures: str = ""
    date: datetime | None = None


class Link:
    """The connection as the package wants it, with an end to what it reads."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.send = sock.send
        self.close = sock.close

    def makefile(self, mode: str) -> _Answer:
        return _Answer(self.sock.makefile(mode))


class _Answer:
    """A file of which so many bytes are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.close = file.close

    def readline(self) -> bytes:
        return self.file.readline(ANSWER_MAX)

    def read(self) -> bytes:
        return self.file.read(ANSWER_MAX)


class Daemon(clamd.ClamdNetworkSocket):  # type: ignore[misc, name-defined] # it has no types
    """A clamd at one place, asked until the deadline (time.monotonic seconds).

    Its commands raise Defer when there is no answer.
    """

    def __init__(self, target: Target, settings: Settings, deadline: float) -> None:
        super().__init__()
        self.target = target
        self.settings = settings
        self.deadline = deadline
        self.limit = max(deadline - monotonic(), 0.001)

    def _init_socket(self) -> None:
        address = self.target.address
        assert address is not None, "a daemon has an address"
        link = conn.connect((address,), self.deadline)
        if self.target.tls:
            link.start_tls(
                address.host,
                self.settings.scanner_ca or b"system",
                self.settings.scanner_cert,
                self.settings.scanner_key,
            )
        # The package wants makefile(), which the C half of the module has not.
        sock = link.sock if link.encrypted else socket.socket(fileno=link.sock.detach())
        sock.settimeout(self._left())
        self.clamd_socket = Link(sock)

    def _left(self) -> float:
        return max(self.deadline - monotonic(), 0.001)

    def ask(self, command: str) -> str:
        """The answer to ping, version or stats; raises Defer if there is none."""
        try:
            with self._ending() as over:
                answer: Any = getattr(super(), command)()
        except (clamd.ClamdError, OSError, UnicodeError) as why:
            cause = why.__context__ if isinstance(why, clamd.ClamdError) else why
            if isinstance(cause, TimeoutError) or over.is_set():
                raise self._late() from why
            if isinstance(cause, OSError):  # the package hides the system's reason behind its own
                raise Defer(f"{self.target.address}: {cause.strerror or cause}", BROKEN) from why
            raise Defer(f"{self.target.address}: {why}", BROKEN) from why
        if over.is_set():
            raise self._late()
        if not answer:
            raise Defer(f"{self.target.address}: closed the connection without an answer", BROKEN)
        return str(answer)

    def _late(self) -> Defer:
        return Defer(f"{self.target.address}: no answer within {self.limit:.3g} s", EXPIRED)

    @contextmanager
    def _ending(self) -> Iterator[threading.Event]:
        """End the connection at the deadline, and tell that it was so.

        The limit of a socket is for each piece: who sends a byte now and then would stretch it.
        """
        over = threading.Event()

        def end() -> None:
            over.set()
            with suppress(OSError, AttributeError):  # closed, or not made yet
                self.clamd_socket.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._left(), end)
        timer.daemon = True
        timer.start()
        try:
            yield over
        finally:
            timer.cancel()
            timer.join()


def parse_version(answer: str) -> Version:
    """The answer to VERSION: program, and where it says so number and date of the signatures."""
    program, _, rest = answer.partition("/")
    number, _, date = rest.partition("/")
    try:
        when = datetime.strptime(" ".join(date.split()), DATE).astimezone(UTC)
    except ValueError:
        when = None
    return Version(printable(program), printable(number), when)
