"""The scanners: one row and one module each.

A module has two members:

    scan(conn, message, way) -> Finding    the dialogue, a straight line of sends and reads
    parse(...) -> Finding                  pure; CLEAN only for the exact words that mean it

and begins with a docstring that shows the dialogue.  A row is strings only;
the module is imported when the row is used.
"""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from typing import Protocol

    from avcheck.conn import Conn
    from avcheck.spool import Message
    from avcheck.verdict import Finding

    class Module(Protocol):
        def scan(self, conn: Conn, message: Message, way: str) -> Finding: ...


# How a scanner gets the message.
DESCRIPTOR = "descriptor"  # an open file is passed over the Unix socket
STREAM = "stream"  # the bytes are sent
PATH = "path"  # the scanner opens the file by its name


class Row:
    """One scanner type: where it usually listens, and what ways it knows, the best first."""

    __slots__ = ("module", "port", "sentence", "ways", "where")

    def __init__(
        self, module: str, where: bytes, port: bytes, ways: tuple[str, ...], sentence: str
    ) -> None:
        self.module = module
        self.where = where
        self.port = port
        self.ways = ways
        self.sentence = sentence


SCANNERS = {
    # type: module, where when none is given, usual port, ways, sentence of avcheck(1)
    "clamd": Row(
        "clamd",
        b"/run/clamav/clamd.ctl",
        b"3310",
        (DESCRIPTOR, STREAM, PATH),
        "ClamAV's daemon, and daemons that speak its protocol.",
    ),
}


def load(row: Row) -> Module:
    """The module of the row; raises ImportError when the installation is broken."""
    name = "avcheck.scanners." + row.module
    __import__(name)  # importlib.import_module does no more, and takes 0.3 ms to import
    module: Module = modules[name]
    return module
