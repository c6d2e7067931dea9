"""clamd's administrative commands, by the clamd package over our own connections.

The package connects without a time limit and by IPv4 only, so it is given a socket
that avcheck.conn has connected: one deadline, every kind of address, TLS.
"""

from __future__ import annotations

import socket
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from avcheck import conn
from avcheck.exits import BROKEN, Defer
from avcheck.printable import printable

if TYPE_CHECKING:
    from avcheck.settings import Settings, Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports pkg_resources, which complains about itself
    import clamd

# As clamd says it: ClamAV 1.4.6/27412/Sun Jan  4 09:22:37 2026
DATE = "%a %b %d %H:%M:%S %Y"


@dataclass(frozen=True)
class Version:
    """What clamd says of itself; signatures is their number and date their time, if it says."""

    program: str
    signatures: str = ""
    date: datetime | None = None


class Daemon(clamd.ClamdNetworkSocket):  # type: ignore[misc] # the package has no types
    """A clamd at one place, asked until the deadline (time.monotonic seconds).

    Its commands raise Defer when there is no answer.
    """

    def __init__(self, target: Target, settings: Settings, deadline: float) -> None:
        super().__init__()
        self.target = target
        self.settings = settings
        self.deadline = deadline

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
        # For an answer of several lines this is a limit for each piece of it.
        sock.settimeout(max(self.deadline - monotonic(), 0.001))
        self.clamd_socket = sock

    def ask(self, command: str) -> str:
        """The answer to ping, version or stats; raises Defer if there is none."""
        try:
            answer: Any = getattr(super(), command)()
        except (clamd.ClamdError, OSError, UnicodeError) as why:
            raise Defer(f"{self.target.address}: {why}", BROKEN) from why
        if not answer:
            raise Defer(f"{self.target.address}: closed the connection without an answer", BROKEN)
        return str(answer)


def parse_version(answer: str) -> Version:
    """The answer to VERSION: program, and where it says so number and date of the signatures."""
    program, _, rest = answer.partition("/")
    number, _, date = rest.partition("/")
    try:
        when = datetime.strptime(" ".join(date.split()), DATE).astimezone(UTC)
    except ValueError:
        when = None
    return Version(printable(program), printable(number), when)
