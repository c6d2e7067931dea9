"""What scanners see: header lines of ours, and the message, as received and as others read it.

Where a scanner may take the end of a header for another than everybody else does, it is asked
about the message a second time, as the others read it:

- The first line that is no field (RFC 5322 2.2) ends the header, and Postfix, sendmail and
  Exim put the empty line before it that is missing.  libclamav (1.4.6) goes on with the header,
  and takes what is body to everybody else for fields.
- A line of nothing but blanks in a header goes on with the line above (RFC 5322 4.2, obs-FWS).
  To libclamav it ends the header of a part of MIME: it is left out.
- A CR that ends no line is data, and Postfix makes a blank of it.  To libclamav it ends a line,
  and two of them a header: in headers scanners see the blank.
- Tabs after a boundary are padding (RFC 2046 5.1.1).  For fields of MIME see Header.
What is delivered has none of this; it is the bytes as received.
"""

from __future__ import annotations

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

# A line without an end is judged by so many of its bytes.
LINE_MAX = 64 * 1024

NOTHING = b"X-AV-Front: a scanner sees this"  # a field without a meaning

_FIRST_PART_ONLY = (b"parallel", b"signed")  # is looked into; scanners see multipart/mixed

# Where in the message a line stands.
_TOP = "at the top, where an mbox has its From_ line"
_HEADER = "in the message's own header"
_PART = "in the header of a part"
_BELOW = "below a header, where another begins if it is one of a message within"
_BODY = "in a body, and the next line to look at is a boundary"


class Header:
    """One header, and what scanners see of its fields of MIME, because libclamav

    - takes a part for a text if the last line ends in ";" or is a Content-Type without a type;
    - looks for the end of a quote in the fields below, too;
    - takes the last of several types, and other readers the first;
    - takes a line in the preamble of a part, if that begins with Content-, for a field.
    """

    __slots__ = ("_last", "_mime", "_quoted", "_type", "_typed", "mime", "multipart")

    def __init__(self) -> None:
        self.mime = False  # whether it has any field of MIME
        self.multipart = False  # whether it is one of several parts
        self._typed = False  # whether it has had a type
        self._start(b"")

    def _start(self, name: bytes) -> None:
        """Of each field the line that has its name."""
        self._type = name == b"content-type"
        self._mime = self._type or name == b"content-disposition"
        self._quoted = False
        self._last = b""

    def field(self, text: bytes) -> bytes:
        """What is seen of the first line of a field."""
        name = text.partition(b":")[0].rstrip().lower()
        self.mime = self.mime or name.startswith(b"content-")
        self._start(name)
        if self._type:
            if self._typed:
                self._start(b"")
                return b"X-" + text
            self._typed = True
        return self.more(text)

    def more(self, text: bytes) -> bytes:
        """What is seen of this line of a field."""
        if self._type and (at := text.lower().find(b"multipart/") + 10) > 9:
            self.multipart = True
            for kind in _FIRST_PART_ONLY:
                if text[at:].lower().startswith(kind):
                    text = text[:at] + b"mixed" + text[at + len(kind) :]
        if self._mime:
            odd = text.count(b'"') % 2 == 1  # so libclamav counts them
            if odd and (self._quoted or b"=" in text.partition(b'"')[0]):
                self._quoted = not self._quoted
            self._last = text.rstrip(b" \t")
        return text

    def after(self, last: bytes = b"") -> list[bytes]:
        """What is seen below a field; last for the last one."""
        seen = [b' "'] if self._quoted else []
        if last and not seen and self._last.endswith((b";", b":")):
            seen.append(last)
        self._start(b"")
        return seen


class Reader:
    """Turns the message as received, a piece at a time, into what scanners see of it.

    differs tells whether that is anything else so far.  Of each piece the beginning of a line
    that has not come as a whole is kept for the next.
    """

    __slots__ = ("_end", "_header", "_long", "_mended", "_rest", "_where", "differs")

    def __init__(self) -> None:
        self.differs = False
        self._where = _TOP
        self._header = Header()
        self._rest = b""
        self._end = b"\n"  # how the line above ends
        self._long = False  # within a line that was too long to be kept
        self._mended = False  # whether the header of this part has been changed

    def feed(self, piece: bytes) -> bytes:
        """What is seen of the piece, and of what was kept before it."""
        piece = self._rest + piece
        self._rest = b""
        seen = []
        at, size = 0, len(piece)
        while at < size:
            if self._where is _BODY:
                found = piece.find(b"\n--", at)
                if found < 0:
                    kept = 2 if piece.endswith(b"\n-") else int(piece.endswith(b"\n"))
                    kept = max(at, size - kept)
                    self._rest = piece[kept:]
                    seen.append(piece[at:kept])
                    break
                seen.append(piece[at : found + 1])
                at = found + 1
                self._where = _BELOW
            stop = piece.find(b"\n", at) + 1
            if not stop and not self._long and size - at < LINE_MAX:
                self._rest = piece[at:]
                break
            line = piece[at : stop or size]
            at += len(line)
            seen.append(line if self._long else self._line(line))
            self._long = not stop and self._where is not _BODY
            if stop and self._where is _BODY:  # with the end of this line a boundary may begin
                seen[-1] = seen[-1][:-1]
                at -= 1
        return b"".join(seen) if len(seen) != 1 else seen[0]

    def end(self) -> bytes:
        """What is seen of what was kept, when no more comes."""
        rest, self._rest = self._rest, b""
        return rest if self._where is _BODY or self._long or not rest else self._line(rest)

    def _line(self, line: bytes) -> bytes:
        """What is seen of a line outside of bodies."""
        text = line.rstrip(b"\r\n")
        above, self._end = self._end, b"\r\n" if line.endswith(b"\r\n") else b"\n"
        if not text:
            # Below the header of a part that has parts, there is a preamble.
            if self._where is not _BELOW or not self._header.multipart:
                self._where = _BODY if self._where is _BELOW else _BELOW
            return self._below(self._header.after(NOTHING), above, line)
        if self._where is _TOP:
            if is_from_line(text):
                return line
            self._where = _HEADER
        if self._where is not _HEADER and text.startswith(b"--"):
            return self._boundary(line, text, above)
        goes_on = text.startswith((b" ", b"\t"))
        if self._where is _BELOW:
            self._where, self._mended = _PART, False
            preamble = self._header.multipart and text[:8].lower() == b"content-"
            self._header = Header()
            if preamble:
                return self._below([NOTHING], above, line)
            goes_on = False
        if goes_on or is_field(text):
            return self._unfolded(line, text, above, goes_on)
        return self._over(line, above)

    def _boundary(self, line: bytes, text: bytes, above: bytes) -> bytes:
        """What is seen of a line that may be a boundary."""
        stripped = text.rstrip(b" \t")
        if b"\t" in text[len(stripped) :] and not stripped.endswith(b"--"):
            line = stripped + line[len(text) :]
            self.differs = True
        seen = self._below(self._header.after(NOTHING), above, line)
        self._where, self._mended, self._header = _PART, False, Header()
        return seen

    def _below(self, lines: list[bytes], above: bytes, line: bytes) -> bytes:
        """What is seen of a line that scanners see others before."""
        if lines:
            self.differs = self._mended = True
        return b"".join([each + above for each in lines]) + line

    def _over(self, line: bytes, above: bytes) -> bytes:
        """What is seen of a line that is no field, and so the first below its header."""
        # Most that looks like the header of a part is text, such as a signature below "-- ".
        ended = self._where is _HEADER or self._mended or self._header.mime
        self._where = _PART if line.startswith(b"--") else _BODY
        if ended:
            line = self._below([*self._header.after(NOTHING), b""], above, line)
        self._mended, self._header = False, Header()
        return line

    def _unfolded(self, line: bytes, text: bytes, above: bytes, goes_on: bool) -> bytes:
        """What is seen of a line of a header."""
        if not text.strip(b" \t\r"):
            self.differs = self._mended = True
            return b""
        before = [] if goes_on else self._header.after()
        seen = text.replace(b"\r", b" ")
        seen = self._header.more(seen) if goes_on else self._header.field(seen)
        if seen != text:
            self.differs = self._mended = True
            line = seen + line[len(text) :]
        return self._below(before, above, line)


def is_field(line: bytes) -> bool:
    """Whether it is the first line of a field of a header (RFC 5322 2.2).

    As Postfix's is_header() has it, with blanks before the colon.
    """
    at = line.find(b":")
    name = line[: max(at, 0)].rstrip(b" \t")
    if name.replace(b"-", b"").isalnum():  # nearly always; bytes know ASCII only
        return True
    return bool(name) and not any(byte <= 0x20 or byte >= 0x7F for byte in name)


def is_from_line(line: bytes) -> bool:
    """Whether it is the line that the message in an mbox begins with.

    pipe(8) with flags=F and mail filters add one; Postfix and sendmail(1) drop it or make a
    header of it, but only at the very beginning.
    """
    return line.lstrip(b">").startswith(b"From ")
