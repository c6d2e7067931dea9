"""Both readings of any message, in any pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.campaigns.fuzz.notation import PIECE, fields, mark, pieces, quoted
from tests.live import hidden
from tests.support import readings

# A header and its boundary, when there are but names of files to make it longer.
PART_MAX = 500


def reading(data: bytes) -> None:
    """MESSAGE IN PIECES: neither the judgment nor the second reading depends on them."""
    (field,) = fields(data, 1)
    content = pieces(field)
    message = b"".join(content)
    read = both(content)
    assert both([message]) == read
    assert both(readings.in_pieces(message, 1)) == read
    parts = 2 + message.count(b"\n--") + message.lower().count(b"content-type")
    assert len(read[1]) <= len(message) * 8 / 7 + PART_MAX * parts


def both(content: Iterable[bytes]) -> tuple[bool, bytes]:
    content = list(content)
    return readings.is_plain(content), readings.rendered(content)


def messages() -> Iterator[bytes]:
    for message in [*hidden.SHOWN.values(), *hidden.NESTED.values()]:
        middle = len(message) // 2
        yield quoted(message[:middle]) + mark(PIECE) + quoted(message[middle:])
    # At every border of two pieces.
    short = b"A: b\nContent-Type: multipart/mixed; boundary=b\n\n--b\nD: e;\n\nf\n--b--\n"
    yield from [quoted(short[:at]) + mark(PIECE) + quoted(short[at:]) for at in range(len(short))]
