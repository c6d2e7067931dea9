"""The second reading of a message that is not plain: the same in other words.

Nothing in it can be read in two ways.  It is a flat list of parts, each of them an attachment,
whatever was within whatever: the body of each part, what stands above the first boundary and
below the last one, and each message within.

- Of headers there are lines of ours only (mime.py): the name, and how the body is encoded.
- The boundary is one of ours, which nobody can know before.
- Bodies are as they came; but lines that libclamav takes for the beginning of a file have a
  blank before them where the body is encoded, and an end of that file below them elsewhere.

A header ends with an empty line, above a boundary, or, as for Postfix, above a line that is no
field.  Only the boundaries of parts that have not ended count.
"""

from __future__ import annotations

from avcheck.mime import Header
from avcheck.seen import FILE_BEGINS, is_from_line

# A line is judged by so many of its bytes.
LINE_MAX = 128 * 1024

# So many headers are read, and what is below the last of them is a body.
HEADERS_MAX = 2000

# So deep may parts be within others.
DEPTH_MAX = 100

# Below a file that has begun in a part, so that the next part is none of it.
_FILE_ENDS = b"end\n=yend\n"

# Where in the message the next byte stands.
_TOP = "at the top, where an mbox has its From_ line"
_HEADER = "in a header"
_BODY = "in a body"
_PADDING = "behind a boundary with very many blanks"


class Rendering:
    """Makes the second reading of a message, a piece at a time.

    mark is the boundary.  Of each piece the beginning of a line that has not come as a whole
    is kept for the next.  unread tells whether there is more in the message than is read.
    """

    __slots__ = (
        "_begun",
        "_header",
        "_headers",
        "_held",
        "_known",
        "_levels",
        "_long",
        "_mark",
        "_outer",
        "_rest",
        "_seen",
        "_tail",
        "_where",
        "unread",
    )

    def __init__(self, mark: bytes) -> None:
        self.unread = False
        self._mark = mark
        self._seen = [b'Content-Type: multipart/mixed; boundary="%b"\n\n' % mark]
        self._where = _TOP
        self._header = Header()
        self._headers = 0
        self._outer = b""  # how the message is encoded whose header this is
        self._levels: list[tuple[list[bytes], bool]] = []  # boundaries; whether it is a digest
        self._known: dict[bytes, int] = {}  # the level of each boundary
        self._begun = False  # whether a file may have begun in this body
        self._tail = b""  # of the body so far
        self._long = False  # within a line that was too long to be kept
        self._held = b""  # the beginning of one that may be a boundary
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """What is seen of the piece, and of what was kept before it."""
        piece = self._rest + piece
        self._rest = b""
        at = 0
        while at < len(piece):
            if self._long:
                at = self._rest_of_line(piece, at)
            elif self._where is _BODY:
                at = self._read_body(piece, at)
            elif self._where is _PADDING:
                at = self._read_padding(piece, at)
            else:
                at = self._read_header(piece, at)
        seen, self._seen = b"".join(self._seen), []
        return seen

    def end(self) -> bytes:
        """What is seen of what was kept, when no more comes."""
        if self._where is _BODY and self._level(self._rest) is None:
            self._text(self._rest)
            self._rest = b""
        seen = self.feed(b"\n" if self._rest or self._where is _PADDING else b"")
        while self._where is not _BODY:
            self._below_header()
        return seen + self.feed(b"")

    def _rest_of_line(self, piece: bytes, at: int) -> int:
        stop = piece.find(b"\n", at) + 1
        self._long = not stop
        stop = stop or len(piece)
        if self._where is _BODY:
            self._text(piece[at:stop], whole=False)
        return stop

    def _read_header(self, piece: bytes, at: int) -> int:
        """Read lines of the header up to its end; where to go on."""
        header, size = self._header, len(piece)
        while at < size:
            stop = piece.find(b"\n", at, at + LINE_MAX)
            if stop < 0 and size - at < LINE_MAX:
                self._rest = piece[at:]
                return size
            line = piece[at : stop if stop >= 0 else at + LINE_MAX].removesuffix(b"\r")
            if self._levels and line[:2] == b"--" and self._level(line) is not None:
                self._below_header()
                return at
            if self._where is _TOP and is_from_line(line):
                pass
            elif line and header.add(line):
                self._where = _HEADER
            else:
                self._below_header()
                return at if line else stop + 1
            if stop < 0:
                self._long = True
                header.cut()
                return at + LINE_MAX
            at = stop + 1
        return at

    def _below_header(self) -> None:
        """The header is complete: show it, and see what is below it."""
        header = self._header
        digest = bool(self._levels) and self._levels[-1][1] and not self._outer
        header.end(b"message/rfc822" if digest else b"text/plain")
        if not header.any:  # it is no message, but an encoded one
            header.coding = self._outer.strip(b"-")
        self._headers += 1
        if header.unread or self._headers == HEADERS_MAX:
            self.unread = True
        if header.kind == b"message" and self._headers < HEADERS_MAX:
            self._header, self._outer = Header(), header.coding or b"-"
            self._where = _HEADER
            return
        self._seen += [b"--", self._mark, b"\n", header.as_attachment(), b"\n"]
        self._where, self._begun, self._tail = _BODY, False, b""
        if self._headers >= HEADERS_MAX:
            self._forget(0)
        elif header.boundaries and len(self._levels) == DEPTH_MAX:
            self.unread = True
        elif header.boundaries:
            new = [each for each in header.boundaries if each not in self._known]
            self._known.update(dict.fromkeys(new, len(self._levels)))
            self._levels.append((new, header.sub == b"digest"))

    def _read_body(self, piece: bytes, at: int) -> int:
        """Pass on the body up to the next boundary; where to go on."""
        stop = max(piece.rfind(b"\n", at) + 1, at)
        if len(piece) - stop >= LINE_MAX:
            stop = len(piece)
        line = at if piece.startswith(b"--", at) else piece.find(b"\n--", at, stop) + 1 or stop
        while line < stop and self._levels:
            end = piece.find(b"\n", line, line + LINE_MAX)
            text = piece[line : end if end >= 0 else line + LINE_MAX]
            if (level := self._level(text)) is not None:
                self._text(piece[at:line])
                if end >= 0:
                    self._boundary(text, level)
                    return end + 1
                self._where, self._held = _PADDING, text
                return line + LINE_MAX
            line = piece.find(b"\n--", line, stop) + 1 or stop
        self._text(piece[at:stop])
        self._long = not piece.endswith(b"\n", at, stop) and stop > at
        self._rest = piece[stop:]
        return len(piece)

    def _read_padding(self, piece: bytes, at: int) -> int:
        """Look for the end of a line that is a boundary if there are but blanks; where to go on."""
        rest = piece[at:].lstrip(b" \t\r")
        level = self._level(self._held)
        if rest.startswith(b"\n") and level is not None:
            self._boundary(self._held, level)
            return len(piece) - len(rest) + 1
        if rest:
            self._where, self._long = _BODY, True
            self._text(self._held)
        return len(piece) - len(rest)

    def _text(self, text: bytes, whole: bool = True) -> None:
        """Pass on some of a body; whole for what begins with the beginning of a line."""
        lower = self._tail + text.lower()
        if any(each in lower for each in FILE_BEGINS):
            self._begun = True
        if self._header.coding:
            text = text.replace(b"\r", b"")  # libclamav may take it for the end of a line
            if self._begun and whole:
                text = b"\n".join([_disarmed(line) for line in text.split(b"\n")])
        self._tail = lower[-len(FILE_BEGINS[-1]) :]
        self._seen.append(text)

    def _level(self, line: bytes) -> int | None:
        """The level of the boundary that the line is."""
        text = line.rstrip(b" \t\r")
        known = self._known.get(text[2:])
        return self._known.get(text[2:-2]) if known is None and text.endswith(b"--") else known

    def _boundary(self, line: bytes, level: int) -> None:
        """Go on with the next part, or with what is below the last."""
        if self._begun and not self._header.coding:
            self._seen.append(_FILE_ENDS)
        last = line.rstrip(b" \t\r")[2:] not in self._known
        self._forget(level if last else level + 1)
        self._header, self._outer, self._where = Header(), b"", _HEADER
        if last:
            self._outer = b"-"
            self._below_header()

    def _forget(self, depth: int) -> None:
        """The parts that are as deep, or deeper, have ended."""
        for known, _ in self._levels[depth:]:
            for each in known:
                del self._known[each]
        del self._levels[depth:]


def _disarmed(line: bytes) -> bytes:
    """A line with which no file begins."""
    return b" " + line if line.lower().startswith(FILE_BEGINS) else line
