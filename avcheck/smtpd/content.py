r"""The content of a message as it comes over the wire (RFC 5321 4.5.2).  Pure.

Its one end is a line with a single dot, CRLF.CRLF; a dot that begins any other line has been
put there by the client, and is taken away.  Nothing but CRLF is a line end.

Other servers take other things for line ends: a bare LF, or a bare CR.  Such a server sees
the end of the message at a dot that is alone between any two of them (SMTP smuggling, 2023),
and takes away a dot that begins a line after one.  What we scan would not be what it takes,
so doubt names what was seen of that.
"""

from __future__ import annotations

END = b"\r\n.\r\n"

# What is said of such a message in place of the name of a virus.
LONE_DOT = b"Ambiguous.End-of-data"
FIRST_DOT = b"Ambiguous.Dot-after-bare-LF"

# CR, LF or CRLF on both sides end in one of these, or begin with it.
_LONE = (b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r")

# The bytes before a piece that may be the beginning of what is looked for.
_BEFORE = 2


class Content:
    """Takes the wire in pieces of any size.

    ended is whether the end has come, rest what came after it; doubt names what makes another
    server read another message, and is empty if nothing does.
    """

    __slots__ = ("_above", "_before", "_held", "doubt", "ended", "rest")

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self.doubt = b""
        self._held = b"\r\n"  # what may be the beginning of the end; at first the line above
        self._above = len(self._held)
        self._before = b""

    def feed(self, wire: bytes) -> bytes:
        """The content in this piece, and in what was kept of those before it."""
        wire = self._held + wire
        end = wire.find(END)
        if end >= 0:
            self.ended = True
            self.rest = wire[end + len(END) :]
            piece = wire[: end + 2]
            self._held = b""
        else:
            kept = _begun(wire)
            piece, self._held = wire[: len(wire) - kept], wire[len(wire) - kept :]
        self._look(piece)
        piece = piece.replace(b"\r\n.", b"\r\n")
        above = min(self._above, len(piece))
        self._above -= above
        return piece[above:]

    def _look(self, piece: bytes) -> None:
        """Note what others may read otherwise."""
        if not piece or self.doubt == LONE_DOT:
            return
        seen = self._before + piece
        self._before = seen[-_BEFORE:]
        if any(each in seen for each in _LONE):
            self.doubt = LONE_DOT
        # One at the very beginning has been looked at, with what is before it.
        elif seen.count(b"\n.", 1) != seen.count(b"\r\n."):
            self.doubt = FIRST_DOT


def _begun(wire: bytes) -> int:
    """How many bytes at the end of it may be the beginning of END."""
    for size in range(min(len(END) - 1, len(wire)), 0, -1):
        if wire.endswith(END[:size]):
            return size
    return 0
