"""The second reading of any message, in any pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from avcheck.seen import Reader
from tests.campaigns.fuzz.notation import PIECE, fields, mark, pieces, quoted
from tests.live import hidden


def reading(data: bytes) -> None:
    """MESSAGE IN PIECES: the reading does not depend on them, and says whether it differs."""
    (field,) = fields(data, 1)
    content = pieces(field)
    message = b"".join(content)
    read, differs = shown(content)
    assert shown([message]) == (read, differs)
    assert shown(message[at : at + 1] for at in range(len(message))) == (read, differs)
    assert differs == (read != message)


def shown(content: Iterable[bytes]) -> tuple[bytes, bool]:
    reader = Reader()
    read = b"".join([*[reader.feed(piece) for piece in content], reader.end()])
    return read, reader.differs


def messages() -> Iterator[bytes]:
    for message in hidden.SHOWN.values():
        middle = len(message) // 2
        yield quoted(message[:middle]) + mark(PIECE) + quoted(message[middle:])
    # At every border of two pieces.
    short = b"A: b\nc\n\n--b\nD: e;\n\nf\n--b--\n"
    yield from [quoted(short[:at]) + mark(PIECE) + quoted(short[at:]) for at in range(len(short))]
