"""The two readings of a message that scanners are asked about."""

from __future__ import annotations

import re
from collections.abc import Iterable

from avcheck.rendering import Rendering
from avcheck.seen import FRONT, Judge

MARK = b"avcheck-0123456789abcdef"


def in_pieces(message: bytes, size: int) -> list[bytes]:
    return [message[at : at + size] for at in range(0, len(message), size)]


def is_plain(pieces: Iterable[bytes]) -> bool:
    judge = Judge()
    for piece in pieces:
        judge.feed(piece)
    judge.end()
    return judge.plain


def rendered(pieces: Iterable[bytes]) -> bytes:
    """The second reading, whether it is needed or not, with MARK for its boundary."""
    rendering = Rendering(MARK)
    return b"".join([*map(rendering.feed, pieces), rendering.end()])


def seen_by_scanners(message: bytes) -> list[bytes]:
    """What a scanner gets: header lines of ours, and the message; again in other words."""
    other = [] if is_plain([message]) else [FRONT + rendered([message])]
    return [FRONT + message, *other]


def with_mark(content: bytes) -> bytes:
    """What a scanner got, with MARK for the boundary, which is another one each time."""
    return re.sub(rb"avcheck-[0-9a-f]{16}\b", MARK, content)
