"""A header as mail programs read it, however it is written: nothing here is refused.

What is said of mail programs is what Python's email does with the same bytes, and what Postfix
makes of a header: where they may differ, it is read in a way in which more is looked into.
"""

from __future__ import annotations

from avcheck.header import CODING, MIME, PLACE, TYPE

# So much of a field is read.
FIELD_MAX = 128 * 1024

# So much of a file's name is shown.
NAME_MAX = 100

NOTHING = b"X-AV-Front: a scanner sees this"  # a field without a meaning

_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F))
_BLANKS = b" " + _CONTROLS
_BLANK = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_IN_FIELD_NAME = bytes(range(0x21, 0x7F))  # RFC 5322 2.2
_IN_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- "
_NOT_IN_NAME = bytes(byte for byte in range(256) if byte not in _IN_NAME)

_CODINGS = {
    b"base64": b"base64",
    b"quoted-printable": b"quoted-printable",
    b"x-uuencode": b"x-uuencode",
    b"uuencode": b"x-uuencode",
    b"x-uue": b"x-uuencode",
    b"uue": b"x-uuencode",
}


class Header:
    """The header of a message or of a part, a line at a time; see end()."""

    __slots__ = (
        "_field",
        "_fields",
        "_room",
        "any",
        "boundaries",
        "coding",
        "kind",
        "sub",
        "unread",
    )

    def __init__(self) -> None:
        self.any = False  # whether it has a field
        self.unread = False  # whether there is more in a field of MIME than is read
        self.kind, self.sub = b"", b""  # its type, such as text and plain
        self.coding = b""  # base64, quoted-printable, x-uuencode or nothing
        self.boundaries: list[bytes] = []  # those of its parts that it may mean
        self._fields: dict[bytes, list[bytes]] = {}  # the lines of the first one of each name
        self._field: list[bytes] | None = None  # the one that may go on
        self._room = 0

    def add(self, line: bytes) -> bool:
        """Whether the line, without its end, belongs to the header."""
        name, colon, value = line.partition(b":")
        if not name or not colon or name.translate(None, _IN_FIELD_NAME):
            if line.startswith((b" ", b"\t")):
                if self._field is not None:
                    self._room -= len(line) + 1
                    if self._room > 0:
                        self._field.append(line)
                    else:
                        self.cut()
                return True
            # Postfix's is_header() allows blanks before the colon.
            name = name.rstrip(b" \t")
            if not name or not colon or name.translate(None, _IN_FIELD_NAME):
                return False
        self.any, self._field = True, None
        if name[0] in b"cC":
            name = name.lower()
            if name in MIME and name not in self._fields:
                self._field = self._fields[name] = [value]
                self._room = FIELD_MAX - len(value)
        return True

    def cut(self) -> None:
        """There is more in the field, which does not come."""
        if self._field is not None:
            self.unread = True

    def end(self, default: bytes = b"text/plain") -> None:
        """No line more; default is the type that it has if it names none."""
        value = self._value(TYPE) if TYPE in self._fields else default
        self.kind, self.sub = _type(value)
        self.coding = _coding(self._value(CODING))
        if self.kind == b"multipart":
            self.boundaries = _boundaries(value)

    def _value(self, name: bytes) -> bytes:
        return b"".join(self._fields.get(name, ())).replace(b"\r", b" ")

    def as_attachment(self) -> bytes:
        """What scanners see of it: the header of a file, without the empty line."""
        named = parameters(self._value(PLACE)) + parameters(self._value(TYPE))
        name = _whole(named, b"filename") or _whole(named, b"name")
        name = name.translate(_BLANK).translate(None, _NOT_IN_NAME).strip()[-NAME_MAX:].strip()
        lines = [b"Content-Type: application/octet-stream"]
        if name:
            lines[0] += b'; name="' + name + b'"'
            lines.append(b'Content-Disposition: attachment; filename="' + name + b'"')
        if self.coding:
            lines.append(b"Content-Transfer-Encoding: " + self.coding)
        return b"\n".join([*lines, NOTHING, b""])


def parameters(value: bytes) -> list[tuple[bytes, bytes]]:
    """The parameters, each as it stands there, with its name in lower case."""
    found: list[tuple[bytes, bytes]] = []
    whole: list[bytes] = []
    quoted = 0
    for piece in [*value.split(b";"), b""]:
        whole.append(piece)
        quoted ^= (piece.count(b'"') - piece.count(b'\\"')) % 2
        if not quoted:
            name, equals, said = b";".join(whole).partition(b"=")
            if equals:
                found.append((name.strip(_BLANKS).lower(), said.strip(_BLANKS)))
            whole = []
    if quoted:  # without its end
        name, _, said = b";".join(whole[:-1]).partition(b"=")
        found.append((name.strip(_BLANKS).lower(), said.strip(_BLANKS)))
    return found


def _type(value: bytes) -> tuple[bytes, bytes]:
    """The two halves of a type; those of what is none are empty."""
    words = _without_comments(value).partition(b";")[0].split()
    kind, _, sub = b"".join(words).replace(b'"', b"").lower().partition(b"/")
    return (kind, sub) if sub else (b"", b"")


def _coding(value: bytes) -> bytes:
    words = _without_comments(value).replace(b";", b" ").split()
    return _CODINGS.get(words[0].strip(b'",').lower(), b"") if words else b""


def _boundaries(value: bytes) -> list[bytes]:
    """What mail programs may take for the boundary of a header with this type."""
    named = parameters(value)
    found = [_whole(named, b"boundary")]
    for name, said in named:
        if name == b"boundary":
            inner = said[1:].partition(b'"')[0] if said.startswith(b'"') else b""
            bare = _without_comments(said).split()
            found += [said, inner, inner.partition(b";")[0], *bare[:1]]
    return [each for each in dict.fromkeys(each.rstrip() for each in found) if each]


def _whole(named: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of a parameter, which may be in pieces (RFC 2231 3)."""
    first = dict(reversed(named))  # of several
    if name in first:
        return _unquoted(first[name])
    if name + b"*" in first:
        return _decoded(first[name + b"*"], True)
    pieces = []
    for number in range(len(named)):
        part = b"%b*%d" % (name, number)
        if part in first:
            pieces.append(_unquoted(first[part]))
        elif part + b"*" in first:
            pieces.append(_decoded(first[part + b"*"], not number))
        else:
            break
    return b"".join(pieces)


def _decoded(said: bytes, first: bool) -> bytes:
    """A value of RFC 2231 4, with the character set before the first piece of it."""
    said = _unquoted(said)
    if first and said.count(b"'") >= 2:
        said = said.split(b"'", 2)[2]
    head, *rest = said.split(b"%")
    done = [head]
    for each in rest:
        try:
            done.append(bytes.fromhex(each[:2].decode("ascii")) + each[2:])
        except ValueError:
            done.append(b"%" + each)
    return b"".join(done)


def _unquoted(said: bytes) -> bytes:
    if len(said) > 1 and said.startswith(b'"') and said.endswith(b'"'):
        return said[1:-1].replace(b"\\\\", b"\\").replace(b'\\"', b'"')
    return said


def _without_comments(value: bytes) -> bytes:
    """Blanks for controls, and for what is in parentheses (RFC 822 3.4.3)."""
    value = value.translate(_BLANK)
    first, *rest = value.replace(b")", b"(\0").split(b"(")
    depth = 0
    for piece in rest:
        ends = piece.startswith(b"\0")
        depth = max(depth - 1, 0) if ends else depth + 1
        first += b" " if depth else piece[1:]
    return first
