r"""SMTP, the client's side (RFC 5321), without a socket.  Pure.

    S: 220 mx.example ESMTP
    C: EHLO host.example                       HELO if it is refused
    S: 250-mx.example
    S: 250-XFORWARD NAME ADDR
    S: 250-STARTTLS
    S: 250 PIPELINING
    C: STARTTLS                                if asked for (RFC 3207), and EHLO again
    C: XFORWARD ADDR=192.0.2.1                 all at once if the server pipelines,
    C: MAIL FROM:<a@example> SIZE=4096         else one by one
    C: RCPT TO:<b@example>
    S: 250 2.1.0 Ok
    S: 250 2.1.5 Ok
    C: DATA                                    only when every recipient was taken
    S: 354 End data with <CR><LF>.<CR><LF>
    C: ... .
    S: 250 2.0.0 Ok: queued as 4XYZ            the only proof that it was handed on
    C: QUIT
    S: 221 2.0.0 Bye                           and nothing else came in between

dialogue() is a generator: it yields the commands to send and is sent their
replies, so the conversation reads from top to bottom and can be replayed with
any replies at all.
"""

from __future__ import annotations

from avcheck.exits import CONFIG, REFUSED, Defer, Refused
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from avcheck.spool import Incoming, Message

# Lines of one reply: Postfix announces about 12 in EHLO; nobody needs more than this.
REPLY_LINES_MAX = 128

# Commands sent before their replies are read; more could fill the buffers of both
# sides and leave each waiting for the other (RFC 2920 3.1).
PIPELINE_MAX = 100

# The server hangs up, whatever was asked (RFC 5321 3.8); no further reply will come.
CLOSING = 421

# The answer to QUIT.
BYE = 221

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


class Parting:
    """What the server says after its answer to the final dot: goodbye, and nothing else.

    As QUIT is sent after that answer, one more reply is due.  If there are more, or another
    one, the answer was given to something else: a server that has seen an end in the middle
    of the message (a dot between two bare CRs, say) answers every line after that, too, and
    one that says yes before it is asked has the true answer still to give, be it a 421.  No
    answer, or half of one, contradicts nothing.
    """

    __slots__ = ("_answer", "_kinds", "_replies", "_reply", "doubt", "over")

    def __init__(self, answer: Reply) -> None:
        self._answer = answer
        # Who has said no may have to stop as well (RFC 5321 3.8).
        self._kinds = (b"2",) if answer.code // 100 == 2 else (b"2", b"421")
        self._replies = Replies()
        self._reply: Reply | None = None
        self.over = False  # nothing more is due
        self.doubt = ""  # why nobody knows what was taken

    def add(self, line: bytes) -> None:
        """A whole line, without its LF."""
        try:
            reply = self._replies.add(line)
        except Defer:
            self._contradicted(line)
            return
        code = int(self._replies.code)
        if self._reply or not line.startswith(self._kinds):
            self._contradicted(line)
        self._reply = reply
        # With another yes than 221 only the end tells that it was the last one.
        self.over = self.over or (reply is not None and code in (BYE, CLOSING))

    def end(self, rest: bytes) -> None:
        """That is all; rest is what was read and is no whole line."""
        begun = any(rest.startswith(kind[: len(rest)]) for kind in self._kinds)
        if rest and (self._reply or not begun):
            self._contradicted(rest)

    def _contradicted(self, said: bytes) -> None:
        self.over = True
        self.doubt = self.doubt or f"more than one answer: {self._answer}; {printable(said, 80)}"


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


class Content:
    """What dialogue() yields in place of commands: now the content, and the final dot."""

    __slots__ = ("eight_bit",)

    def __init__(self, eight_bit: bool) -> None:
        self.eight_bit = eight_bit  # whether bytes above 0x7f may be sent


class Handshake:
    """What dialogue() yields in place of commands: now the TLS handshake; it takes no reply."""


# --tls
NEVER = "never"
MAY = "may"
REQUIRE = "require"


def dialogue(
    envelope: Envelope, hello: bytes, tls: str = NEVER
) -> Generator[list[bytes] | Content | Handshake, list[Reply], Reply]:
    """The whole conversation; returns the reply to the final dot.

    Yields commands to send at once (none: for the greeting) and takes a reply for each.
    Raises Defer, with the server's words, at the first reply that is not the one wanted,
    and Refused if the server refused the message as a whole and for good.
    """
    sender = b"MAIL FROM:<%b>" % mailbox(envelope.sender)
    recipients = [b"RCPT TO:<%b>" % mailbox(each) for each in envelope.recipients]

    want(2, b"the connection", (yield []))
    replies = yield [b"EHLO " + hello]
    offered: dict[bytes, bytes] = {}
    if replies[0].code // 100 == 5:
        want(2, b"HELO", (yield [b"HELO " + hello]))
    else:
        want(2, b"EHLO", replies)
        offered = extensions(replies[0])

    if tls == REQUIRE and b"STARTTLS" not in offered:
        raise Defer("the server offers no STARTTLS, which --tls require needs", CONFIG)
    if tls != NEVER and b"STARTTLS" in offered:
        replies = yield [b"STARTTLS"]
        if tls == REQUIRE or replies[0].code // 100 == 2:
            want(2, b"STARTTLS", replies)
            yield Handshake()
            # What was offered before could have been forged (RFC 3207 4.2).
            replies = yield [b"EHLO " + hello]
            want(2, b"EHLO", replies)
            offered = extensions(replies[0])

    forward = list(xforward(envelope.xforward, offered))
    commands = [
        *forward,
        sender + mail_parameters(envelope, offered),
        *[
            each + parameters
            for each, parameters in zip(recipients, rcpt_parameters(envelope, offered), strict=True)
        ],
    ]
    # All or none: DATA waits for the last answer, because a server that took some of
    # the recipients would answer 354 and could not be stopped from delivering.
    answers: list[Reply] = []
    at_once = PIPELINE_MAX if b"PIPELINING" in offered else 1
    for first in range(0, len(commands), at_once):
        answers += yield commands[first : first + at_once]
        # XFORWARD is for the other side's log; a refusal is no reason to keep the mail
        # (Postfix's own client warns and goes on).
        if len(answers) > len(forward):
            want(2, commands[len(forward)], [answers[len(forward)]], for_all=True)
    judge(commands[len(forward) + 1 :], answers[len(forward) + 1 :])

    want(3, b"DATA", (yield [b"DATA"]), for_all=True)
    replies = yield Content(envelope.eight_bit is not None or b"8BITMIME" in offered)
    want(2, b"the message", replies, for_all=True)
    return replies[0]


def judge(commands: Sequence[bytes], replies: Sequence[Reply]) -> None:
    """Raise Refused if every recipient was refused for good, Defer if any was refused."""
    refused = [
        (command, reply)
        for command, reply in zip(commands, replies, strict=True)
        if not _says(2, reply)
    ]
    for_good = all(is_for_good(reply) for _, reply in refused)
    for command, reply in refused:
        want(2, command, [reply], for_all=for_good and len(refused) == len(commands))


def extensions(reply: Reply) -> dict[bytes, bytes]:
    """Keyword and parameters of what the reply to EHLO offers, in upper case."""
    lines = [line.upper().partition(b" ") for line in reply.lines[1:]]
    return {keyword: parameters for keyword, _, parameters in lines}


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
        words = b""
        if b"DSN" in offered:
            if envelope.notify:
                words += b" NOTIFY=" + envelope.notify
            original = envelope.original[number] if envelope.original else b""
            # An internationalized address would need another type (RFC 6533).
            if original and original.isascii():
                words += b" ORCPT=rfc822;" + xtext(original)
        yield words


def mail_parameters(envelope: Envelope, offered: Mapping[bytes, bytes]) -> bytes:
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
    if b"DSN" in offered:
        if envelope.ret:
            words += b" RET=" + envelope.ret
        if envelope.envid:
            words += b" ENVID=" + xtext(envelope.envid)
    return words


def no_eight_bit() -> Defer:
    """Not offered, and we do not convert: that would break every DKIM signature."""
    return Defer("the server offers no 8BITMIME, which this message needs", CONFIG)


def want(kind: int, command: bytes, replies: Sequence[Reply], for_all: bool = False) -> None:
    """Raise Defer unless the code of the reply begins with kind, and nothing contradicts it.

    The server's enhanced code is passed on, but as a temporary one: 550 5.1.1 gives 4.1.1.
    for_all tells that it is about the whole message: a permanent refusal is Refused then.
    """
    (reply,) = replies
    if _says(kind, reply):
        return
    text = f"{printable(command, 80)} refused: {reply}"
    if for_all and is_for_good(reply):
        raise Refused(text, _detail(reply))
    raise Defer(text, "4" + _detail(reply))


def _says(kind: int, reply: Reply) -> bool:
    """Whether the reply is of that kind (2, yes; 3, go on) and its enhanced codes say no no."""
    return reply.code // 100 == kind and _classes(reply) <= {b"2"}


def is_for_good(reply: Reply) -> bool:
    """Whether the reply says no for good, with its code and with every enhanced code.

    x5z is about the mail (RFC 5321 4.2.1); 530 asks for TLS or a login, 503 is our fault.
    Of two words that contradict each other the temporary one counts: it loses nothing.
    """
    return reply.code // 10 == 55 and _classes(reply) <= {b"5"}


def doubt(reply: Reply) -> str:
    """Why the reply to the final dot leaves it open what was taken; empty if it does not.

    An enhanced code has to say the same as the code: one changed digit is noticed.  (4 and 5
    are both a no, and servers mix them.)
    """
    classes = _classes(reply)
    agrees = classes <= {b"2"} if reply.code // 100 == 2 else b"2" not in classes
    if reply.code // 100 == 3 or not agrees:
        return f"an answer that is neither yes nor no: {reply}"
    return ""


def _classes(reply: Reply) -> set[bytes]:
    """The classes of the enhanced codes of all its lines (RFC 2034 4: each line has the same)."""
    return {_enhanced(line)[0] for line in reply.lines} - {b""}


def _detail(reply: Reply) -> str:
    """Subject and detail of the enhanced status code of a no, with their dots."""
    class_, detail = _enhanced(reply.lines[0])
    return detail.decode("ascii") if class_ in (b"4", b"5") else REFUSED[1:]


def _enhanced(line: bytes) -> tuple[bytes, bytes]:
    """Class, and subject and detail with their dots, of the enhanced status code (RFC 2034).

    Both are empty without one.
    """
    class_, dot, detail = line.partition(b" ")[0].partition(b".")
    numbers = detail.split(b".")
    if (
        dot
        and class_ in (b"2", b"4", b"5")
        and len(numbers) == 2
        and all(each.isdigit() and len(each) <= 3 for each in numbers)
    ):
        return class_, b"." + detail
    return b"", b""


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
