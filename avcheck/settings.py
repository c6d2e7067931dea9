"""What the command line and the file of --config mean: settings, complete and checked.  Pure."""

from __future__ import annotations

from avcheck.scanners.rows import PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from avcheck.address import Address
    from avcheck.scanners.rows import Row
    from avcheck.verdict import Verdict


class Target:
    """Where a scanner is asked, and how.

    address is where it listens (None for a program), way how it gets the message, tls
    whether the connection is encrypted; path is what followed host:port (or the program),
    parameters are what followed a "?", decoded.
    """

    __slots__ = ("address", "parameters", "path", "tls", "way")

    def __init__(
        self,
        address: Address | None,
        way: str,
        tls: bool = False,
        path: bytes = b"",
        parameters: Mapping[str, bytes] | None = None,
    ) -> None:
        self.address = address
        self.way = way
        self.tls = tls
        self.path = path
        self.parameters = parameters or {}


class Scanner:
    """One -s: the type of the scanner, and where it is asked, in order of preference."""

    __slots__ = ("row", "targets", "type")

    def __init__(self, type_: str, row: Row, targets: tuple[Target, ...]) -> None:
        self.type = type_
        self.row = row
        self.targets = targets

    @property
    def opens_path(self) -> bool:
        """Whether it opens the message by name; a program gets a copy."""
        return not self.row.program and any(target.way == PATH for target in self.targets)


class Settings:
    """All settings, with defaults for what was not given: no later code has to ask."""

    sender: bytes
    recipients: tuple[bytes, ...]
    scanners: tuple[Scanner, ...]
    spool: bytes
    timeout: float
    deadline: float
    no_inject: bool
    ok_status: int
    program: tuple[bytes, ...]  # the sendmail program and its arguments, or empty
    server: Address  # the SMTP server, if there is no program
    header: bytes
    infected: bytes
    waitfile: bytes
    client: bool
    backups: tuple[Scanner, ...]
    need: int
    on: Mapping[Verdict, tuple[str, bytes]]  # an action, and its directory if it has one
    attempts: int
    slots: int
    canary: float
    metrics: bytes
    config: bytes
    scanner_ca: bytes
    scanner_cert: bytes
    scanner_key: bytes
    tls: str
    tls_ca: bytes
    tls_name: bytes
    refused: str
    xforward: tuple[tuple[bytes, bytes], ...]
    envid: bytes
    ret: bytes
    notify: bytes
    original: tuple[bytes, ...]
    queue_id: bytes
    xclient: bool
    messages: int
    session: float
    processes: int
    idle: float
    verbose: bool
