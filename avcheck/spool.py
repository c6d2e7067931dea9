"""The message is received into a private file.

The file has no name (O_TMPFILE) unless a scanner opens it by one, so nothing is
left behind, whatever happens.  It begins with FRONT, which only scanners see, so
that no stranger decides what they take the file for.  Everybody else gets the
bytes as received.
"""

from __future__ import annotations

import os

from avcheck import stop
from avcheck.directory import Directory, new_file_name
from avcheck.exits import Defer, defer_from
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from avcheck.settings import Settings

PIECE = 64 * 1024  # what a Linux pipe holds

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

# The time of reading of a file that nobody has read yet.
UNREAD = 0


class Message:
    """The message in the spool directory.

    size is its bytes as received, starting at offset start of the file, after FRONT; sender
    is not in there; crlf tells whether its lines end so; path is the file's name as the
    scanner sees it, empty when it has none.
    """

    __slots__ = ("_form", "crlf", "directory", "fd", "name", "path", "sender", "size", "start")

    def __init__(self, directory: Directory, sender: bytes, named: bool) -> None:
        self.directory = directory
        self.sender = sender
        self.name = new_file_name() if named else b""
        self.path = directory.path_for_scanner(self.name) if named else b""
        if named:
            self.fd = directory.create(self.name, 0o640)
            directory.share(self.fd, 0o640)
        else:
            self.fd = directory.nameless()
        write(self.fd, FRONT)
        self.start = len(FRONT)
        self.size = 0
        self.crlf = False
        self._form: tuple[int, bool] | None = None

    def __enter__(self) -> Message:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        stop.close(self.fd)

    @property
    def wire_size(self) -> int:
        """Bytes in SMTP (RFC 1870 3): every line ends in CRLF, and dots are not doubled."""
        return self._measure()[0]

    @property
    def eight_bit(self) -> bool:
        """Whether any byte is above 0x7f."""
        return self._measure()[1]

    def _measure(self) -> tuple[int, bool]:
        """wire_size and eight_bit: only SMTP asks, and only for a message that is handed on."""
        if self._form is None:
            size, eight_bit, last = self.size, False, b"\n"
            for piece in self.pieces():
                if not self.crlf:
                    size += piece.count(b"\n")
                eight_bit = eight_bit or not piece.isascii()
                last = piece[-1:]
            self._form = (size if last == b"\n" else size + 2, eight_bit)
        return self._form

    def add(self, piece: bytes) -> None:
        """Append to the message; the first piece has the whole of its first line."""
        if not self.size and not begins_header(piece):
            write(self.fd, b"\n")
            self.start += 1
        write(self.fd, piece)
        self.size += len(piece)
        self._form = None

    def fill(self, stdin: int) -> None:
        """Copy what comes from the descriptor until it ends."""
        crlf = None
        before = b""
        for piece in _arriving(stdin):
            if crlf is None:
                crlf = ends_in_crlf(piece, before)
                before = piece[-1:]
            self.add(piece)
        self.crlf = bool(crlf)

    def pieces(self, header: bytes = b"") -> Iterator[bytes]:
        """The bytes as received, a piece at a time, with the header line (without its end) first.

        First in the header, that is: after the line that an mbox begins with.
        """
        at, end = self.start, self.start + self.size
        while at < end or header:
            try:
                piece = os.pread(self.fd, min(PIECE, end - at), at)
            except OSError as why:
                raise defer_from("reading the spool file", why) from why
            if not piece and at < end:
                raise Defer("the spool file was cut short")
            at += len(piece)
            if header:
                first = _mbox_line(piece)
                line = header + (b"\r\n" if self.crlf else b"\n")
                piece = piece[:first] + line + piece[first:]
                header = b""
            yield piece

    def reopen(self) -> int:
        """A second descriptor, for reading only, with a position of its own.

        A scanner that is given this one cannot change the message.
        """
        try:
            return os.open(b"/proc/self/fd/%d" % self.fd, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as why:
            raise defer_from("opening the spool file again (is /proc mounted?)", why) from why

    def done_with(self, descriptor: int) -> None:
        """Close what reopen() gave; whom it was sent to has his own."""
        stop.close(descriptor)

    def as_stdin(self, header: bytes) -> int:
        """A descriptor for a program to read the header and the message from.

        Of a file that holds nothing else: a program may go back to its beginning (maildrop),
        or open /dev/stdin, which begins there again.
        """
        try:
            fd = self.directory.nameless()
            self._copy(fd, header)
            os.lseek(fd, 0, os.SEEK_SET)
            # The kernel sets the time of reading, whichever way it is read (not with the mount
            # option noatime): who opens /dev/stdin anew does not move this offset.
            os.utime(fd, ns=(UNREAD, UNREAD))
        except OSError as why:
            raise self._not_copied(why) from why
        return fd

    def hand_over(self) -> bytes:
        """The name of a new file in the directory with the message as received."""
        name = new_file_name()
        try:
            fd = self.directory.create(name, 0o600)
            try:
                self._copy(fd, b"")
            finally:
                os.close(fd)
        except OSError as why:
            raise self._not_copied(why) from why
        return name

    def _copy(self, fd: int, header: bytes) -> None:
        for piece in self.pieces(header):
            write(fd, piece)

    def _not_copied(self, why: OSError) -> Defer:
        return defer_from(f"copying the message in {printable(self.directory.path)}", why)


def receive(stdin: int, directory: Directory, settings: Settings) -> Message:
    """The whole message from the descriptor, in a file; raises Defer when that fails."""
    named = any(each.opens_path for each in (*settings.scanners, *settings.backups))
    try:
        message = Message(directory, settings.sender, named)
        message.fill(stdin)
    except OSError as why:
        raise defer_from(f"saving the message in {printable(directory.path)}", why) from why
    return message


class Incoming:
    """The message on standard input, for -c: nothing is kept, so it can be read once."""

    wire_size = None
    eight_bit = None

    __slots__ = ("crlf", "stdin")

    def __init__(self, stdin: int) -> None:
        self.stdin = stdin
        self.crlf: bool | None = None  # not known yet

    def pieces(self, header: bytes) -> Iterator[bytes]:
        """The bytes of the message, a piece at a time; raises Defer when reading fails.

        There is no header to be added here; -h is for messages that were checked.
        """
        before = b""
        while piece := _read(self.stdin):
            if self.crlf is None:
                self.crlf = ends_in_crlf(piece, before)
                before = piece[-1:]
            yield piece

    def as_stdin(self, header: bytes) -> int:
        """A descriptor for a program to read the message from."""
        return os.dup(self.stdin)


def _arriving(stdin: int) -> Iterator[bytes]:
    """What comes from the descriptor, a piece at a time; the first has the whole first line."""
    first: bytes | None = b""
    while piece := _read(stdin):
        if first is not None:
            first += piece
            if b"\n" not in first and len(first) < PIECE:
                continue
            piece, first = first, None
        yield piece
    if first:
        yield first


def _mbox_line(piece: bytes) -> int:
    """The length of the line that the message in an mbox begins with, or 0.

    pipe(8) with flags=F and mail filters add one; Postfix and sendmail(1) drop it or make a
    header of it, but only at the very beginning.
    """
    if not piece.startswith((b"From ", b">From ")):
        return 0
    return piece.find(b"\n") + 1


def begins_header(piece: bytes) -> bool:
    """Whether its first line is one of a header (RFC 5322 2.2), an mbox line, or empty.

    To a mail system the first line that is no field ends the header, and what comes is the body.
    clamd (1.4.6) goes on with the header of FRONT, and finds nothing in what follows.
    """
    line = piece.partition(b"\n")[0].removesuffix(b"\r")
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    field = bool(colon and name) and not any(byte <= 0x20 or byte >= 0x7F for byte in name)
    return field or not line or line.startswith((b"From ", b">From ", b" ", b"\t"))


def ends_in_crlf(piece: bytes, before: bytes) -> bool | None:
    """Whether lines end in CRLF, told by the first one; None if it does not end in the piece.

    before is the byte before the piece, or empty.  pipe(8) gives LF.
    """
    end = piece.find(b"\n")
    if end < 0:
        return None
    return (piece[end - 1 : end] if end else before) == b"\r"


def _read(stdin: int) -> bytes:
    while True:
        try:
            return os.read(stdin, PIECE)
        except BlockingIOError:  # somebody set O_NONBLOCK on what we share with him
            import select

            select.select([stdin], [], [])
        except OSError as why:
            raise defer_from("reading standard input", why) from why


def write(fd: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
