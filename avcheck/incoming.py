"""The message on standard input, a piece at a time."""

from __future__ import annotations

import os

from avcheck.exits import defer_from
from avcheck.process import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Incoming:
    """The message as it comes in: it can be read once.

    spool saves what it reads; with -c nothing is kept, and it is handed on like a Message.  crlf
    tells whether its lines end so, once the first one has been read.
    """

    wire_size = None
    eight_bit = None
    by_smtp = False
    doubt = b""

    __slots__ = ("crlf", "stdin")

    def __init__(self, stdin: int) -> None:
        self.stdin = stdin
        self.crlf: bool | None = None  # not known yet

    def pieces(self, header: bytes = b"") -> Iterator[bytes]:
        """The bytes of the message, a piece at a time; raises Defer when reading fails.

        There is no header to be added here; -h is for messages that were checked.
        """
        before = b""
        while piece := _read(self.stdin):
            if self.crlf is None:
                self.crlf = _ends_in_crlf(piece, before)
                before = piece[-1:]
            yield piece

    def as_stdin(self, header: bytes) -> int:
        """A descriptor for a program to read the message from."""
        return os.dup(self.stdin)


def _ends_in_crlf(piece: bytes, before: bytes) -> bool | None:
    """Whether lines end in CRLF, told by the first one; None if it does not end in the piece.

    before is the byte before the piece, or empty.  pipe(8) gives LF.
    """
    end = piece.find(b"\n")
    if end < 0:
        return None
    return (piece[end - 1 : end] if end else before) == b"\r"


def _read(stdin: int) -> bytes:
    while True:
        try:
            return os.read(stdin, PIECE)
        except BlockingIOError:  # somebody set O_NONBLOCK on what we share with him
            import select

            select.select([stdin], [], [])
        except OSError as why:
            raise defer_from("reading standard input", why) from why
