"""What scanners see: header lines of ours, and the message; and whether everybody reads it alike.

A scanner may read a message otherwise than mail systems and mail programs do, and miss what is
in it.  A message is plain if it is written so strictly that nobody can take it for another one.
Of one that is not plain scanners see a second reading as well (rendering.py).  What is delivered
has none of this; it is the bytes as received.
"""

from __future__ import annotations

from avcheck.header import content_of, mime_fields

# What the file begins with.  clamd takes a file for what its first bytes say, and decodes
# attachments only in what it takes for a mail (observed with clamd 1.4.6, read in libclamav):
# - Received: at offset 0 makes it a mail, and is one of the few headers (From, Received, De,
#   Content-*) of which its parser demands one.  Return-Path: does the first only.
# - Then nothing of a stranger's, however valid the address or the header it stands in, up to
#   the last offset at which other bytes make the whole file something else.  Of the magics in
#   filetypes_int.h tar (257) and GPT (512) hid a virus behind a shorter block, and none from
#   520 bytes on.  daily.ftm may have newer ones: those at one offset are compared with the
#   first 1028 bytes (CL_FILE_MBUFF_SIZE, CL_PART_MBUFF_SIZE).  gpt.c looks for "EFI PART" at
#   512, 1024, 2048 and 4096.  So 4104 bytes are the least that is behind them all.
# ISO 9660 and UDF (32768), and DMG, 512 bytes before the end, are looked for when the mail has
# been taken apart, and hide nothing; tests/live/test_clamd_front.py tries them all.
# Lines are shorter than the 78 characters of RFC 5322 2.1.1.
FRONT = (
    b"Received: from avcheck by localhost; Thu, 1 Jan 2026 00:00:00 +0000\n"
    + b"X-AV-Front: a scanner sees this, and nobody else; the mail begins below it\n" * 56
)

# What is longer is not plain: a header, and a line that may be a boundary.
HEADER_MAX = 64 * 1024
MARK_LINE_MAX = 64 * 1024

# No more are plain: headers, what is within one another, comparisons with boundaries.
HEADERS_MAX = 500
DEPTH_MAX = 15
COMPARED_MAX = 10_000

# With such a line, in upper or lower case, a file begins, to libclamav, and even a boundary does
# not end it.
FILE_BEGINS = (b"begin ", b"=ybegin ", b"(this file must be converted with binhex")
_FILE = tuple([b"\n" + each for each in FILE_BEGINS])
# libclamav may take what stands above the first part for fields of its header, and mail
# programs may take a report for a message.
_PREAMBLE = (*_FILE, b"content-", b"(")
_REPORT = (*_FILE, b"content-")

# Where in the message the next byte stands.
_TOP = "at the top, where an mbox has its From_ line"
_HEADER = "in a header"
_BODY = "in a body"
_ANYTHING = "in a body that has no parts, and is not encoded"


class Judge:
    """Tells whether a message is plain; it is fed a piece at a time.

    This is a whitelist: what is not known to be harmless is not plain.  Of a message that has
    no parts hardly more than the header is looked at.
    """

    __slots__ = (
        "_banned",
        "_compared",
        "_depth",
        "_ended",
        "_headers",
        "_marks",
        "_rest",
        "_where",
        "plain",
    )

    def __init__(self) -> None:
        self.plain = True
        self._where = _TOP
        self._rest = b""  # what is to be looked at together with the next piece
        self._marks: list[bytes] = []  # the boundaries; those of the innermost parts come last
        self._ended: list[bytes] = []  # those below which there are no parts any more
        self._banned: tuple[bytes, ...] = ()  # what may not be in this body, in lower case
        self._depth = 0  # of messages within
        self._headers = self._compared = 0

    def feed(self, piece: bytes) -> None:
        """Look at the piece, and at what was kept before it."""
        if self._rest:
            piece = self._rest + piece
            self._rest = b""
        at = 0
        while self.plain and self._where is not _ANYTHING and at < len(piece):
            at = self._body(piece, at) if self._where is _BODY else self._header(piece, at)

    def end(self) -> None:
        """There is no more: what was kept is judged as if it were complete."""
        self.feed(b"\n\n")
        if self._marks:  # parts without an end
            self.plain = False

    def _header(self, piece: bytes, at: int) -> int:
        """Judge the header that begins there; where to go on."""
        stop = at
        if not piece.startswith((b"\n", b"\r\n"), at):
            stop = _empty_line(piece, at, at + HEADER_MAX)
            if not stop:
                self.plain = len(piece) < at + HEADER_MAX
                self._rest = piece[at:]
                return len(piece)
        text = piece[at:stop].replace(b"\r\n", b"\n")
        fields = mime_fields(text, is_from_line if self._where is _TOP else None)
        content = None if fields is None else content_of(fields)
        self._headers += 1
        if content is None or self._headers > HEADERS_MAX:
            self.plain = False
        else:
            self._below(*content)
        return piece.find(b"\n", stop) + 1

    def _below(self, kind: bytes, mark: bytes) -> None:
        """Go on below a header of that kind; mark is the boundary of its parts."""
        self._where, self._banned = _BODY, _FILE
        if kind == b"multipart":
            like = mark.lower()
            known = [each.lower() for each in (*self._marks, *self._ended)]
            self.plain = not any(like in each or each in like for each in known)
            self._marks.append(mark)
            self._banned = _PREAMBLE
        elif kind == b"message":
            self._where = _HEADER
            self._depth += 1
        elif kind == b"report":
            self._banned = _REPORT
        elif not kind and not self._marks and not self._ended:
            self._where = _ANYTHING
        if self._depth + len(self._marks) > DEPTH_MAX:
            self.plain = False

    def _body(self, piece: bytes, at: int) -> int:
        """Judge the body from there on, up to the next boundary; where to go on."""
        stop = max(piece.rfind(b"\n", at) + 1, at)
        while at < stop and self.plain:
            line = at
            if not self._marks and not self._ended:
                line = stop
            elif not piece.startswith(b"-", at):
                dash = piece.find(b"-", at, stop)
                line = stop if dash < 0 else piece.find(b"\n-", max(dash - 1, at), stop) + 1 or stop
            self._text(piece[at:line])
            if line == stop:
                break
            at = piece.find(b"\n", line) + 1
            if self._boundary(piece[line:at]):
                return at
        rest = piece[stop:]
        if len(rest) > MARK_LINE_MAX:
            if rest.startswith((b"-", b"(")):
                self.plain = False
            rest = b"." + rest[-64:]  # it is no boundary, and goes on
        self._rest = rest
        return len(piece)

    def _text(self, text: bytes) -> None:
        """Judge lines of a body."""
        # Each is much faster than a look for anything longer, and base64 has none of them.
        if not (b" " in text or b"(" in text or b"-" in text):
            return
        text = b"\n" + text.lower()
        if any(each in text for each in self._banned):
            self.plain = False
        elif self._marks or self._ended:
            if b"\r-" in text or b"\r(" in text:  # libclamav may take a CR for the end of a line
                self.plain = False
            at = text.find(b"\n(") if b"(" in text else -1
            while at >= 0 and self.plain:
                stop = text.find(b"\n", at + 1)
                self._compare(text[at : stop if stop >= 0 else len(text)])
                at = text.find(b"\n(", at + 1)

    def _boundary(self, line: bytes) -> bool:
        """Whether a line that begins with "-" is a boundary."""
        text = line.removesuffix(b"\n").removesuffix(b"\r").rstrip(b" ")
        if self._marks and text.startswith(b"--"):
            mark = self._marks[-1]
            if text[2:] == mark:
                self._where = _HEADER
                return True
            if text[2:] == mark + b"--":
                self._ended.append(self._marks.pop())
                self._banned = _FILE
                return True
        self._compare(line.lower())
        return False

    def _compare(self, line: bytes) -> None:
        """Judge a line that libclamav may take for a boundary.

        It leaves out what it takes for a comment, and is not strict about "-": so whatever
        has the bytes of a boundary, in their order, is not plain.
        """
        for mark in (*self._marks, *self._ended):
            at = 0
            for byte in mark.lower():
                at = line.find(byte, at) + 1
                if not at:
                    break
            else:
                self.plain = False
            self._compared += 1
        if self._compared > COMPARED_MAX:
            self.plain = False


def _empty_line(piece: bytes, at: int, limit: int) -> int:
    """Where the first empty line begins; 0 if there is none up to the limit."""
    likely, other = b"\n\n", b"\n\r\n"
    if piece.startswith(b"\r", piece.find(b"\n", at) - 1):
        likely, other = other, likely
    found = piece.find(likely, at, limit) + 1
    return piece.find(other, at, found or limit) + 1 or found


def is_from_line(line: bytes) -> bool:
    """Whether it is the line that the message in an mbox begins with.

    pipe(8) with flags=F and mail filters add one; Postfix and sendmail(1) drop it or make a
    header of it, but only at the very beginning.
    """
    return line.lstrip(b">").startswith(b"From ")
