"""What can happen to a byte on its way, and what the other side then gets.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# The directions.
THERE = "there"  # what avcheck says, on its way to the server
BACK = "back"

# The line breaks before the byte.
CUT = "cut"  # both ends are told: FIN
RESET = "reset"  # both ends are told: RST, of TCP only
HALF = "half cut"  # this direction ends, and the other goes on
BREAKS = (CUT, RESET, HALF)

# The byte and what follows it comes later.
IDLE = "held until avcheck waits"
NEAR = "held until its time is almost up"
LATE = "held until it has ended"
DELAYS = (IDLE, NEAR, LATE)

SPLIT = "split"  # from there on every byte comes alone

TWICE = "said twice"  # the byte
AGAIN = "turn said twice"  # all that was said since the other side spoke, up to the byte
REPEATS = (TWICE, AGAIN)

# Another byte, none, or one more before it.
FLIP = "bit flipped"
CHANGE = "changed"
REMOVE = "removed"
INSERT = "inserted"
CORRUPTIONS = (FLIP, CHANGE, REMOVE, INSERT)

KINDS = (*BREAKS, *DELAYS, SPLIT, *REPEATS, *CORRUPTIONS)

# What a byte is changed to and what is inserted: line ends of all sorts, separators of
# replies, dots, digits that are a verdict somewhere, and no ASCII.
ODD = b"\0\n\r .-:0245\xff"


@dataclass(frozen=True)
class Rot:
    """What happens, and to which byte of a direction, counted from 0 over the whole conversation.

    byte is the value for CHANGE and INSERT, and the bits to turn over for FLIP.
    """

    way: str
    at: int
    kind: str
    byte: int = 0

    def __str__(self) -> str:
        what = f" {self.byte:#04x}" if self.kind in (FLIP, CHANGE, INSERT) else ""
        return f"{self.way} {self.at} {self.kind}{what}"


@dataclass
class Line:
    """One direction of a conversation: what was said, and what became of it.

    rot is None, or one of this direction.  struck tells that it has come to that.
    """

    rot: Rot | None = None
    said: bytearray = field(default_factory=bytearray)
    held: list[bytes] = field(default_factory=list)
    struck: bool = False
    over: bool = False  # nothing of what is said now arrives
    _turn: int = 0

    def other_side_spoke(self) -> None:
        """What is said from now on is another turn."""
        self._turn = len(self.said)

    def breaks_now(self) -> bool:
        """Whether all is said that comes before the break, if there is to be one."""
        rot = self.rot
        if rot and rot.kind in BREAKS and not self.over and len(self.said) >= rot.at:
            self.struck = self.over = True
            return True
        return False

    def arrives(self, piece: bytes) -> Iterator[bytes]:
        """What comes of a piece that was said, in the pieces in which it arrives."""
        begin = len(self.said)
        self.said += piece
        if self.over:
            return
        if self.held:
            self.held.append(piece)
            return
        rot = self.rot
        if rot is None or rot.at >= len(self.said):
            yield piece
            return
        at = rot.at - begin  # negative when it has happened already
        if rot.kind == SPLIT:
            self.struck = True
            if at > 0:
                yield piece[:at]
            for each in piece[max(at, 0) :]:
                yield bytes([each])
        elif at < 0:  # once is enough
            yield piece
        else:
            self.struck = True
            now = piece[:at] + self._instead(rot, piece[at : at + 1])
            if rot.kind in DELAYS:
                self.held.append(piece[at:])
            elif rot.kind not in BREAKS:
                now += piece[at + 1 :]
            if now:
                yield now

    def _instead(self, rot: Rot, byte: bytes) -> bytes:
        """What arrives, at once, of the byte that it is about."""
        if rot.kind == TWICE:
            return byte * 2
        if rot.kind == AGAIN:
            return byte + bytes(self.said[self._turn : rot.at + 1])
        if rot.kind == FLIP:
            return bytes([byte[0] ^ rot.byte])
        if rot.kind == CHANGE:
            return bytes([rot.byte])
        if rot.kind == INSERT:
            return bytes([rot.byte]) + byte
        return b""  # removed, or not yet there

    def release(self) -> bytes:
        """What was held until now; what is said later is not held any more."""
        held, self.held, self.rot = b"".join(self.held), [], None
        return held
