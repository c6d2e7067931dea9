"""The message on standard input, a piece at a time."""

from __future__ import annotations

from avcheck import unix
from avcheck.exits import defer_from
from avcheck.process import PIECE
from avcheck.seen import is_from_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Source(Protocol):
        """Where the message comes from; what it says of it is known when the pieces have come.

        crlf tells whether its lines end so; by_smtp whether it came over the wire, where bare
        CRs and LFs are data; doubt names what makes others read another message in it.
        """

        @property
        def crlf(self) -> bool | None: ...
        @property
        def by_smtp(self) -> bool: ...
        @property
        def doubt(self) -> bytes: ...
        def pieces(self) -> Iterator[bytes]: ...


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
        return unix.dup(self.stdin)


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
            return unix.read(stdin, PIECE)
        except BlockingIOError:  # somebody set O_NONBLOCK on what we share with him
            import select

            select.select([stdin], [], [])
        except OSError as why:
            raise defer_from("reading standard input", why) from why


def without_cr(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces with LF for each CRLF."""
    held = b""
    for piece in pieces:
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(b"\r").replace(b"\r\n", b"\n")
    yield held


def above_header(piece: bytes) -> int:
    """The length of what stands before the first line of the message's own header.

    That is the line that the message in an mbox begins with, and lines that go on with one
    which is not there: after a line of ours they would go on with that.
    """
    at = 0
    while (piece.startswith((b" ", b"\t"), at)) or (not at and is_from_line(piece[:80])):
        end = piece.find(b"\n", at) + 1
        if not end:
            break
        at = end
    return at
