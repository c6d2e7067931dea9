"""The message is received into a private file.

The file has no name (O_TMPFILE) unless a scanner opens it by one, so nothing is
left behind, whatever happens.  It begins with FRONT, which only scanners see, so
that no stranger decides what they take the file for.  Of a message that is not plain (seen.py)
a second file has it in other words (rendering.py), and scanners are asked about both.
Everybody but scanners gets the bytes as received.
"""

from __future__ import annotations

from avcheck import process, unix
from avcheck.directory import Directory, new_file_name
from avcheck.exits import Defer, defer_from
from avcheck.incoming import above_header, without_cr
from avcheck.printable import printable
from avcheck.seen import FRONT, Judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from avcheck.incoming import Source
    from avcheck.settings import Settings

# The time of reading of a file that nobody has read yet.
UNREAD = 0


class Message:
    """The message in the spool directory.

    fd is the file that scanners get, of seen bytes, and path its name as they see it, empty when
    it has none.  size is how many bytes were received; sender is not in there; crlf tells
    whether its lines end so, by_smtp and doubt are what its Source says.  other_reading is the
    message in other words, if it is not plain: for scanners only; unread tells whether there is
    more in it than is shown there.
    """

    __slots__ = (
        "_form",
        "_judge",
        "by_smtp",
        "crlf",
        "directory",
        "doubt",
        "fd",
        "name",
        "other_reading",
        "path",
        "seen",
        "sender",
        "size",
        "unread",
    )

    def __init__(self, directory: Directory, sender: bytes, named: bool) -> None:
        self.directory = directory
        self.sender = sender
        self.name = new_file_name() if named else b""
        self.path = directory.path_for_scanner(self.name) if named else b""
        self.fd = directory.create(self.name, 0o640) if named else directory.nameless()
        try:
            if named:
                directory.share(self.fd, 0o640)
            process.write(self.fd, FRONT)
        except BaseException:
            process.close(self.fd)
            raise
        self.seen = len(FRONT)
        self.size = 0
        self.other_reading: Message | None = None
        self.unread = False
        self._judge = Judge()
        self.crlf = self.by_smtp = False
        self.doubt = b""
        self._form: tuple[int, bool] | None = None

    def __enter__(self) -> Message:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        process.close(self.fd)
        if self.other_reading:
            process.close(self.other_reading.fd)

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
        """Append to the message; complete() has to come after the last piece."""
        self._append(piece)
        if self._judge.plain:
            self._judge.feed(piece)

    def _append(self, piece: bytes) -> None:
        process.write(self.fd, piece)
        self.size += len(piece)
        self.seen += len(piece)
        self._form = None

    def complete(self) -> None:
        """Make other_reading, where mail systems may read the message otherwise than scanners."""
        self._judge.end()
        if self._judge.plain:
            return
        from avcheck.rendering import Rendering

        other = self.other_reading = Message(self.directory, self.sender, bool(self.name))
        rendering = Rendering(b"avcheck-" + unix.urandom(8).hex().encode())
        for piece in self.pieces():
            other._append(rendering.feed(piece))
        other._append(rendering.end())
        other.unread = rendering.unread

    def fill(self, source: Source) -> None:
        """Copy what comes from there until it ends."""
        for piece in source.pieces():
            self.add(piece)
        self.crlf = bool(source.crlf)
        self.by_smtp, self.doubt = source.by_smtp, source.doubt
        self.complete()

    def pieces(self, header: bytes = b"") -> Iterator[bytes]:
        """The bytes as received, a piece at a time, with the header line (without its end) first.

        First in the header, that is: after the line that an mbox begins with.
        """
        at = len(FRONT)
        end = at + self.size
        while at < end or header:
            try:
                piece = unix.pread(self.fd, min(process.PIECE, end - at), at)
            except OSError as why:
                raise defer_from("reading the spool file", why) from why
            if not piece and at < end:
                raise Defer("the spool file was cut short")
            at += len(piece)
            if header:
                first = above_header(piece)
                line = header + (b"\r\n" if self.crlf else b"\n")
                piece = piece[:first] + line + piece[first:]
                header = b""
            yield piece

    def sha256(self) -> str:
        """The SHA-256 digest of the bytes as received, in hexadecimal."""
        from hashlib import sha256

        digest = sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def reopen(self) -> int:
        """A second descriptor, for reading only, with a position of its own.

        A scanner that is given this one cannot change the message.
        """
        try:
            return unix.open(b"/proc/self/fd/%d" % self.fd, unix.O_RDONLY | unix.O_CLOEXEC)
        except OSError as why:
            raise defer_from("opening the spool file again (is /proc mounted?)", why) from why

    def done_with(self, descriptor: int) -> None:
        """Close what reopen() gave; whom it was sent to has his own."""
        process.close(descriptor)

    def as_stdin(self, header: bytes) -> int:
        """A descriptor for a program to read the header and the message from.

        Lines that came over the wire end in LF there, as programs have them.  Of a file that
        holds nothing else: a program may go back to its beginning (maildrop), or open
        /dev/stdin, which begins there again.
        """
        fd = -1
        try:
            fd = self.directory.nameless()
            pieces = self.pieces(header)
            for piece in without_cr(pieces) if self.by_smtp else pieces:
                process.write(fd, piece)
            unix.lseek(fd, 0, unix.SEEK_SET)
            # The kernel sets the time of reading, whichever way it is read (not with the mount
            # option noatime): who opens /dev/stdin anew does not move this offset.
            unix.utime(fd, ns=(UNREAD, UNREAD))
        except BaseException as why:
            process.close(fd)
            if isinstance(why, OSError):
                raise self._not_copied(why) from why
            raise
        return fd

    def hand_over(self) -> bytes:
        """The name of a new file in the directory with the message as received."""
        name = new_file_name()
        try:
            fd = self.directory.create(name, 0o600)
            try:
                for piece in self.pieces():
                    process.write(fd, piece)
            finally:
                unix.close(fd)
        except OSError as why:
            raise self._not_copied(why) from why
        return name

    def _not_copied(self, why: OSError) -> Defer:
        return defer_from(f"copying the message in {printable(self.directory.path)}", why)


def receive(source: Source, directory: Directory, settings: Settings) -> Message:
    """The whole message from its source, in a file; raises Defer when that fails."""
    named = any(each.opens_path for each in (*settings.scanners, *settings.backups))
    try:
        message = Message(directory, settings.sender, named)
        try:
            message.fill(source)
        except BaseException:
            message.close()
            raise
    except OSError as why:
        raise defer_from(f"saving the message in {printable(directory.path)}", why) from why
    return message
