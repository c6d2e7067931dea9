"""SMTP as it is written: addresses, parameters, and the content (RFC 5321, 3461).  Pure."""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from avcheck.incoming import Incoming
    from avcheck.spool import Message

# What is sent at once, at least where there is as much.
WIRE_MAX = 32 * 1024

# A command's bytes without CRLF (RFC 5321 4.5.3.1.4), and what one attribute may take.
COMMAND_MAX = 510
XFORWARD_MAX = 255

# atext of RFC 5322 3.2.3, the dot between atoms, and UTF-8 (RFC 6531 3.3).
_ATOM = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."
) | frozenset(range(0x80, 0x100))


# A command is one line, and NUL ends it for some (RFC 5321 4.1.2 knows neither in it).
_ENDS_COMMAND = b"\r\n\0"

# In a domain, which cannot be quoted: ">" ends the path, and what follows would be read as
# parameters; so it would after white space, by servers that look for them from the end of the
# line (Exim 4.96).  After the others the ">" that ends the path would be in another path, a
# quoted string, a pair or a comment.
_ENDS_PATH = b'> \t\v\f<"\\()'


class Envelope:
    """Who the message is from and for, and what the server may want to know of it.

    size is in bytes, None where it is not known yet; eight_bit tells whether the
    content has bytes above 0x7f, None where that is not known yet.  xforward has the
    attributes of the original client; envid, ret, notify and original (a recipient
    each, or none at all) are those of the original envelope (RFC 3461), empty where
    unknown.
    """

    __slots__ = (
        "eight_bit",
        "envid",
        "notify",
        "original",
        "recipients",
        "ret",
        "sender",
        "size",
        "xforward",
    )

    def __init__(
        self,
        sender: bytes,
        recipients: Sequence[bytes],
        size: int | None,
        eight_bit: bool | None,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.size = size
        self.eight_bit = eight_bit
        self.xforward: Sequence[tuple[bytes, bytes]] = ()
        self.envid = b""
        self.ret = b""
        self.notify = b""
        self.original: Sequence[bytes] = ()


def xforward(
    attributes: Sequence[tuple[bytes, bytes]], offered: Mapping[bytes, bytes]
) -> Iterator[bytes]:
    """The XFORWARD commands for those of the attributes that the server offers to take.

    Source: Postfix's XFORWARD_README.  A command has at most 512 bytes.
    """
    command = b"XFORWARD"
    taken = offered.get(b"XFORWARD", b"").split()
    for name, value in attributes:
        if name not in taken:
            continue
        if value in (b"", b"unknown"):
            word = b" %b=[UNAVAILABLE]" % name
        else:
            # An address has its prefix (RFC 5321 4.1.3) except for IPv4.
            v6 = name == b"ADDR" and b":" in value and not value.upper().startswith(b"IPV6:")
            word = b" %b=%b" % (name, _short_xtext((b"IPV6:" if v6 else b"") + value))
        if len(command) + len(word) > COMMAND_MAX:
            yield command
            command = b"XFORWARD"
        command += word
    if command != b"XFORWARD":
        yield command


def xtext(value: bytes) -> bytes:
    """The value as xtext (RFC 3461 4)."""
    return b"".join(
        b"%c" % byte if 0x21 <= byte <= 0x7E and byte not in b"+=" else b"+%02X" % byte
        for byte in value
    )


def _short_xtext(value: bytes) -> bytes:
    """As much of the value as fits into an attribute of XFORWARD."""
    value = value[:XFORWARD_MAX]
    while len(word := xtext(value)) > XFORWARD_MAX:
        value = value[:-1]
    return word


def rcpt_parameters(envelope: Envelope, offered: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """For each recipient the parameters of RCPT TO (RFC 3461)."""
    for number in range(len(envelope.recipients)):
        parameters = b""
        if b"DSN" in offered:
            if envelope.notify:
                parameters += b" NOTIFY=" + envelope.notify
            original = envelope.original[number] if envelope.original else b""
            # An internationalized address would need another type (RFC 6533).
            if original and original.isascii():
                parameters += b" ORCPT=rfc822;" + xtext(original)
        yield parameters


def mail_parameters(envelope: Envelope, offered: Mapping[bytes, bytes]) -> bytes:
    """The parameters of MAIL FROM; Defer when the message needs what is not offered."""
    parameters = b""
    if envelope.size is not None and b"SIZE" in offered:
        parameters += b" SIZE=%d" % envelope.size
    if envelope.eight_bit or (envelope.eight_bit is None and b"8BITMIME" in offered):
        if b"8BITMIME" not in offered:
            raise no_eight_bit()
        parameters += b" BODY=8BITMIME"
    if not all(address.isascii() for address in (envelope.sender, *envelope.recipients)):
        if b"SMTPUTF8" not in offered:
            raise Defer("the server offers no SMTPUTF8, which these addresses need", CONFIG)
        parameters += b" SMTPUTF8"
    if b"DSN" in offered:
        if envelope.ret:
            parameters += b" RET=" + envelope.ret
        if envelope.envid:
            parameters += b" ENVID=" + xtext(envelope.envid)
    return parameters


def no_eight_bit() -> Defer:
    """Not offered, and we do not convert: that would break every DKIM signature."""
    return Defer("the server offers no 8BITMIME, which this message needs", CONFIG)


def mailbox(address: bytes) -> bytes:
    """The address as a Reverse-path or Forward-path has it, without the brackets.

    pipe(8) without flags=q gives the local part unquoted: `two words@x` becomes
    `"two words"@x`.  Raises Defer for what no path can hold; whether the rest is a mail
    address the server knows best (Postfix takes control characters, and passes them on).
    """
    if not address:
        return b""
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    if not local or not (_is_dot_string(local) or _is_quoted_string(local)):
        local = b'"' + local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if any(byte in _ENDS_COMMAND for byte in address) or any(byte in _ENDS_PATH for byte in domain):
        raise Defer(f"{printable(address)}: not a mail address", "4.1.3")
    return local + at + domain


def _is_dot_string(local: bytes) -> bool:
    return all(byte in _ATOM for byte in local)


def _is_quoted_string(local: bytes) -> bool:
    """Whether it is "...", with every quote and backslash within escaped."""
    if len(local) < 2 or local[:1] != b'"' or local[-1:] != b'"':
        return False
    escaped = False
    for byte in local[1:-1]:
        if escaped:
            escaped = False
        elif byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            return False
    return not escaped


def as_received(message: Message, header: bytes) -> Iterator[bytes]:
    """The same of a message that came by SMTP: the bytes that came, and the final dot.

    There a line ends in CRLF, and nothing else is a line end.
    """
    wire = b""
    held = b"\r\n"  # what may be the beginning of a line end and a dot; at first what is above
    above = len(held)
    for piece in message.pieces(header):
        piece = held + piece
        end = len(piece) - (2 if piece.endswith(b"\r\n") else piece.endswith(b"\r"))
        piece, held = piece[:end].replace(b"\r\n.", b"\r\n.."), piece[end:]
        if len(wire) + len(piece) > WIRE_MAX and wire:
            yield wire
            wire = b""
        wire += piece[above:]
        above = 0 if piece else above
    end_of_line = b"" if held == b"\r\n" else b"\r\n"
    yield wire + held[above:] + end_of_line + b".\r\n"


def stuffed(message: Message | Incoming, header: bytes) -> Iterator[bytes]:
    """Header and message as they go over the wire; only the last piece has the final dot.

    A line ends in LF, or in CRLF if the first one does (a CRLF among LF lines is a
    line that ends in a CR, and keeps it); on the wire every line ends in CRLF.  A
    leading dot is doubled (RFC 5321 4.5.2).  A bare CR is data.  A missing last line
    end is added.
    """
    wire = b""
    start = True  # at the beginning of a line
    held = b""
    for piece in message.pieces(header):
        piece = held + piece
        held = b""
        if message.crlf is not False:  # nor is it as long as no line has ended
            if piece.endswith(b"\r"):  # is an LF coming?
                piece, held = piece[:-1], b"\r"
            piece = piece.replace(b"\r\n", b"\n")
        if not piece:
            continue
        dot = b"." if start and piece.startswith(b".") else b""
        start = piece.endswith(b"\n")
        piece = dot + piece.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        if len(wire) + len(piece) <= WIRE_MAX:
            wire += piece
        else:
            yield wire
            wire = piece
    if held:
        wire += held
        start = False
    yield wire + (b"" if start else b"\r\n") + b".\r\n"
