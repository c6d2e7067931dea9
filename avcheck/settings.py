"""What the command line comes to: settings that are complete and checked.  Pure."""

from __future__ import annotations

from avcheck.scanners.rows import PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from avcheck.address import Address
    from avcheck.scanners.rows import Row
    from avcheck.verdict import Verdict


class Target:
    """A place to ask a scanner, and how.

    address is where it listens (None for a program), way how it gets the message, tls
    whether the connection is encrypted; path is what followed host:port (or the program),
    and parameters what followed a "?", decoded.
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
    """One -s: the type of the scanner, and where to ask it, in order of preference."""

    __slots__ = ("row", "targets", "type")

    def __init__(self, type_: str, row: Row, targets: tuple[Target, ...]) -> None:
        self.type = type_
        self.row = row
        self.targets = targets

    @property
    def opens_path(self) -> bool:
        """Whether the message file needs a name for it; a program gets a copy."""
        return not self.row.program and any(target.way == PATH for target in self.targets)


class Settings:
    """The command line, complete and checked; no later code asks whether an option was given."""

    sender: bytes
    recipients: tuple[bytes, ...]
    scanners: tuple[Scanner, ...]
    spool: bytes
    timeout: float
    deadline: float
    no_inject: bool
    ok_status: int
    program: tuple[bytes, ...]  # the sendmail program and its words, or empty
    server: Address  # where to speak SMTP when there is no program
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
    verbose: bool
