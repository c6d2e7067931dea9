r"""Bytes that stand for bytes and for what happens between them.

A byte 0xF5, which is never part of UTF-8 and rarely of anything else, marks the next one:

    ,   a piece ends here: what follows comes in the next read
    |   a step ends here: what follows comes once somebody waits for it
    ~   silence: whoever waits here has waited long enough
    !   the connection is reset
    p   from here on sending fails, because the other side reads no more
    /   a field ends here
    0xF5   the byte itself

Before any other byte it is a byte like the others.  After the end comes the end of the stream,
unless silence is the last.
"""

from __future__ import annotations

import re

MARK = b"\xf5"

PIECE = ","
STEP = "|"
SILENCE = "~"
RESET = "!"
DEAF = "p"
FIELD = "/"

_MARKED = re.compile(rb"\xf5([,|~!p/\xf5])", re.DOTALL)

Item = bytes | str  # bytes, or one of the marks


def items(data: bytes) -> list[Item]:
    """The bytes and the marks in their order; bytes between two marks are one item."""
    found: list[Item] = []
    text = b""
    at = 0
    for match in _MARKED.finditer(data):
        text += data[at : match.start()]
        at = match.end()
        if match[1] == MARK:
            text += MARK
            continue
        if text:
            found.append(text)
            text = b""
        found.append(match[1].decode("ascii"))
    text += data[at:]
    return [*found, text] if text else found


def fields(data: bytes, number: int) -> list[list[Item]]:
    """The items of so many fields; those that are not there are empty."""
    found: list[list[Item]] = [[]]
    for item in items(data):
        if item == FIELD and len(found) < number:
            found.append([])
        else:
            found[-1].append(item)
    return [*found, *([] for _ in range(number - len(found)))]


def pieces(field: list[Item]) -> list[bytes]:
    """The pieces of a field, other marks left out."""
    return [item for item in field if isinstance(item, bytes)]


def text(field: list[Item]) -> bytes:
    """The bytes of a field, marks left out."""
    return b"".join(pieces(field))


def quoted(text: bytes) -> bytes:
    """The notation for these bytes."""
    return text.replace(MARK, MARK + MARK)


def mark(kind: str) -> bytes:
    return MARK + kind.encode("ascii")
