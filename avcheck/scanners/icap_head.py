"""What ICAP has from HTTP: heads, sizes of chunks, and the list of what is encapsulated.  Pure.

Source: RFC 3507, 4.4.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, Defer, unexpected
from avcheck.printable import printable

# Bytes of the head of a page: it is ours or a small one, whose head has a few lines.
PAGE_HEAD_MAX = 64 * 1024

_HEX = b"0123456789abcdefABCDEF"


class Head:
    """Status line and headers of a reply, or of a page; no head at all is false.

    status is 0 for the head of a request.  odd tells of a CR or LF within a line: another
    parser would take it for a line end, and find a header where we see none.
    """

    __slots__ = ("first", "headers", "odd", "status")

    def __init__(self, first: bytes, headers: list[tuple[bytes, bytes]], odd: bool = False) -> None:
        version, _, rest = first.partition(b" ")
        code = rest[:3]
        known = version[:-1] in (b"ICAP/1.", b"HTTP/1.") and version[-1:].isdigit()
        # A reason has no control characters (RFC 9112 4).
        known = (
            known and min(rest.replace(b"\t", b" "), default=0x20) >= 0x20 and b"\x7f" not in rest
        )
        self.first = first
        self.status = int(code) if known and code.isdigit() and rest[3:4] in (b"", b" ") else 0
        self.headers = headers
        self.odd = odd

    def __bool__(self) -> bool:
        return bool(self.first)

    def every(self, name: bytes) -> list[bytes]:
        """The values of a header, their continuation lines after LF."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: bytes) -> bytes:
        """The value of a header, empty if it is not there."""
        return b", ".join(self.every(name))

    def items(self, name: bytes) -> list[bytes]:
        """The items of a value that is a list, in lower case."""
        return [item.strip().lower() for item in self.get(name).split(b",") if item.strip()]


NO_HEAD = Head(b"", [])


def parse_head(text: bytes) -> Head:
    """The head in the text, which ends in its empty line; Defer for any other."""
    if not text:
        return NO_HEAD
    lines = text.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if not text.endswith(b"\r\n\r\n") or not all(lines):
        raise unexpected(text)
    headers, strange = _headers(lines[1:])
    if strange:
        raise unexpected(text)
    return Head(lines[0], headers, any(b"\r" in line or b"\n" in line for line in lines))


def parse_cut_head(text: bytes) -> Head:
    """What there is of a head that is cut or malformed."""
    first, *lines = text.split(b"\r\n")
    return Head(first, _headers(lines)[0], odd=True)


def _headers(lines: list[bytes]) -> tuple[list[tuple[bytes, bytes]], int]:
    """The headers, and how many of the lines are none."""
    headers: list[tuple[bytes, bytes]] = []
    strange = values = 0
    for line in lines:
        folded = line[:1] in (b" ", b"\t")
        name, colon, value = line.partition(b":")
        if headers and (folded or values > 0):  # belongs to the line before
            name, value = headers[-1]
            headers[-1] = (name, value + b"\n" + line.strip())
            values -= 1
        elif colon and not folded:
            headers.append((name.strip().lower(), value.strip()))
            values = _values(*headers[-1])
        else:
            strange += 1
    return headers, strange


def _values(name: bytes, value: bytes) -> int:
    """How many lines are values of this header, whether they are folded or not.

    Of X-Violations-Found, four for each violation; some servers write them as lines of their own.
    """
    if name != b"x-violations-found" or not value.isdigit() or len(value) > 3:
        return 0
    return 4 * int(value)


def parse_size(line: bytes) -> int:
    """The size in the line before a chunk; Defer for any other line."""
    digits = line.partition(b";")[0].strip()
    if digits and len(digits) <= 16 and not digits.strip(_HEX):
        return int(digits, 16)
    raise Defer(f"unexpected reply {printable(line, 80)!r} for the size of a chunk", BROKEN)


class Sections:
    """What a reply encapsulates: the size of a page's head, and whether a body follows it."""

    __slots__ = ("body", "page_head")

    def __init__(self, page_head: int, body: bool) -> None:
        self.page_head = page_head
        self.body = body


def parse_sections(head: Head) -> Sections:
    """What the header Encapsulated lists; Defer for what it cannot be."""
    body = False
    at = 0
    value = head.get(b"encapsulated")
    for section in value.split(b",") if value else []:
        name, equals, offset = section.strip().partition(b"=")
        if not equals or not offset.isdigit() or len(offset) > 9 or int(offset) < at or body:
            raise Defer(f"unexpected reply {printable(value, 200)!r} in Encapsulated", BROKEN)
        at = int(offset)
        body = name.lower().endswith(b"-body") and name.lower() != b"null-body"
    if at > PAGE_HEAD_MAX:
        raise Defer(f"a page whose head has more than {PAGE_HEAD_MAX} bytes", BROKEN)
    return Sections(at, body)
