r"""SMTP, the client's side (RFC 5321), without a socket.  Pure.

    S: 220 mx.example ESMTP
    C: EHLO host.example                       HELO if it is refused
    S: 250-mx.example
    S: 250 PIPELINING
    C: MAIL FROM:<a@example> SIZE=4096         all at once if the server pipelines,
    C: RCPT TO:<b@example>                     else one by one
    S: 250 2.1.0 Ok
    S: 250 2.1.5 Ok
    C: DATA                                    only when every recipient was taken
    S: 354 End data with <CR><LF>.<CR><LF>
    C: ... .
    S: 250 2.0.0 Ok: queued as 4XYZ            the only proof that it was handed on

dialogue() is a generator: it yields the commands to send and is sent their
replies, so the conversation reads from top to bottom and can be replayed with
any replies at all.  Further extensions take their place in extensions().
"""

from __future__ import annotations

from avcheck.exits import CONFIG, REFUSED, Defer
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Generator, Iterator, Sequence

    from avcheck.spool import Incoming, Message

# Lines of one reply: Postfix announces about 12 in EHLO; nobody needs more than this.
REPLY_LINES_MAX = 128

# Commands sent before their replies are read; more could fill the buffers of both
# sides and leave each waiting for the other (RFC 2920 3.1).
PIPELINE_MAX = 100

# What is sent at once, at least where there is as much.
WIRE_MAX = 32 * 1024

# atext of RFC 5322 3.2.3, the dot between atoms, and UTF-8 (RFC 6531 3.3).
_ATOM = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."
) | frozenset(range(0x80, 0x100))


class Reply:
    """A whole reply: its code and the text of its lines."""

    __slots__ = ("code", "lines")

    def __init__(self, code: int, lines: tuple[bytes, ...]) -> None:
        self.code = code
        self.lines = lines

    def __str__(self) -> str:
        return printable(b"%d %b" % (self.code, b" ".join(self.lines)))


class Replies:
    """Gathers lines into replies."""

    __slots__ = ("code", "lines")

    def __init__(self) -> None:
        self.code = b""
        self.lines: list[bytes] = []

    def add(self, line: bytes) -> Reply | None:
        """The reply that this line (without its LF) ends, or None; Defer for what is no reply."""
        line = line.removesuffix(b"\r")
        code, mark, text = line[:3], line[3:4], line[4:]
        if not (len(code) == 3 and code.isdigit() and b"200" <= code < b"600"):
            raise Defer(f"not an SMTP reply: {printable(line, 80)!r}", REFUSED)
        if mark not in (b"", b" ", b"-") or (self.lines and code != self.code):
            raise Defer(f"not an SMTP reply: {printable(line, 80)!r}", REFUSED)
        self.code = code
        self.lines.append(text)
        if len(self.lines) > REPLY_LINES_MAX:
            raise Defer(f"an SMTP reply of more than {REPLY_LINES_MAX} lines", REFUSED)
        if mark == b"-":
            return None
        reply = Reply(int(code), tuple(self.lines))
        self.lines.clear()
        return reply


class Envelope:
    """Who the message is from and for, and what the server may want to know of it.

    size is in bytes, None where it is not known yet; eight_bit tells whether the
    content has bytes above 0x7f, None where that is not known yet.
    """

    __slots__ = ("eight_bit", "recipients", "sender", "size")

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


class Content:
    """What dialogue() yields in place of commands: now the content, and the final dot."""

    __slots__ = ("eight_bit",)

    def __init__(self, eight_bit: bool) -> None:
        self.eight_bit = eight_bit  # whether bytes above 0x7f may be sent


def dialogue(
    envelope: Envelope, hello: bytes
) -> Generator[list[bytes] | Content, list[Reply], Reply]:
    """The whole conversation; returns the reply to the final dot.

    Yields commands to send at once (none: for the greeting) and takes a reply for each.
    Raises Defer, with the server's words, at the first reply that is not the one wanted.
    """
    sender = b"MAIL FROM:<%b>" % mailbox(envelope.sender)
    recipients = [b"RCPT TO:<%b>" % mailbox(each) for each in envelope.recipients]

    want(2, b"the connection", (yield []))
    replies = yield [b"EHLO " + hello]
    offered: frozenset[bytes] = frozenset()
    if replies[0].code // 100 == 2:
        offered = frozenset(line.upper().partition(b" ")[0] for line in replies[0].lines[1:])
    else:
        want(2, b"HELO", (yield [b"HELO " + hello]))
    commands = [sender + extensions(envelope, offered), *recipients]

    # All or none: DATA waits for the last answer, because a server that took some of
    # the recipients would answer 354 and could not be stopped from delivering.
    at_once = PIPELINE_MAX if b"PIPELINING" in offered else 1
    for first in range(0, len(commands), at_once):
        group = commands[first : first + at_once]
        for command, reply in zip(group, (yield group), strict=True):
            want(2, command, [reply])
    want(3, b"DATA", (yield [b"DATA"]))
    replies = yield Content(envelope.eight_bit is not None or b"8BITMIME" in offered)
    want(2, b"the message", replies)
    return replies[0]


def extensions(envelope: Envelope, offered: frozenset[bytes]) -> bytes:
    """The parameters of MAIL FROM; Defer when the message needs what is not offered."""
    words = b""
    if envelope.size is not None and b"SIZE" in offered:
        words += b" SIZE=%d" % envelope.size
    if envelope.eight_bit or (envelope.eight_bit is None and b"8BITMIME" in offered):
        if b"8BITMIME" not in offered:
            raise no_eight_bit()
        words += b" BODY=8BITMIME"
    if not all(address.isascii() for address in (envelope.sender, *envelope.recipients)):
        if b"SMTPUTF8" not in offered:
            raise Defer("the server offers no SMTPUTF8, which these addresses need", CONFIG)
        words += b" SMTPUTF8"
    return words


def no_eight_bit() -> Defer:
    """Not offered, and we do not convert: that would break every DKIM signature."""
    return Defer("the server offers no 8BITMIME, which this message needs", CONFIG)


def want(kind: int, command: bytes, replies: Sequence[Reply]) -> None:
    """Raise Defer unless the code of the reply begins with kind.

    The server's enhanced code is passed on, but as a temporary one: 550 5.1.1 gives 4.1.1.
    """
    (reply,) = replies
    if reply.code // 100 == kind:
        return
    raise Defer(f"{printable(command, 80)} refused: {reply}", _temporary(reply))


def _temporary(reply: Reply) -> str:
    """The reply's enhanced status code (RFC 2034) with its class made 4."""
    code = reply.lines[0].partition(b" ")[0]
    numbers = code.split(b".")
    if (
        len(numbers) == 3
        and numbers[0] in (b"4", b"5")
        and all(each.isdigit() and len(each) <= 3 for each in numbers)
    ):
        return "4" + code[1:].decode("ascii")
    return REFUSED


def mailbox(address: bytes) -> bytes:
    """The address as a Reverse-path or Forward-path has it, without the brackets.

    pipe(8) without flags=q gives the local part unquoted: `two words@x` becomes
    `"two words"@x`.  Raises Defer for what no quoting makes right.
    """
    if not address:
        return b""
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    if not local or not (_is_dot_string(local) or _is_quoted_string(local)):
        local = b'"' + local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    path = local + at + domain
    # No control characters anywhere (RFC 5321 4.1.2), and a domain that cannot end the
    # path: what follows a ">" would be read as parameters.
    if any(byte < 0x20 or byte == 0x7F for byte in path) or any(
        byte in b' <>()[],;:\\"@' for byte in _unbracketed(domain)
    ):
        raise Defer(f"{printable(address)}: not a mail address", "4.1.3")
    return path


def _unbracketed(domain: bytes) -> bytes:
    """The domain without the brackets and colons of an address literal."""
    if domain.startswith(b"[") and domain.endswith(b"]"):
        return domain[1:-1].replace(b":", b"")
    return domain


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


def stuffed(message: Message | Incoming, header: bytes) -> Iterator[bytes]:
    """Header and message as they go over the wire; only the last piece has the final dot.

    A line ends in LF, or in CRLF if the first one does (a CRLF among LF lines is a
    line that ends in a CR, and keeps it); on the wire every line ends in CRLF.  A
    leading dot is doubled (RFC 5321 4.5.2).  A bare CR is data.  A missing last line
    end is added.
    """
    wire = header + b"\r\n" if header else b""
    start = True  # at the beginning of a line
    held = b""
    for piece in message.pieces():
        piece = held + piece
        held = b""
        if message.crlf:
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
