"""The commands of an SMTP client (RFC 5321 4.1), one line each.  Pure.

As strict as Postfix with strict_rfc821_envelopes: what two servers could read in two ways is
refused here, for the next one has to read the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# A line without its end, as Postfix's line_length_limit.
LINE_MAX = 2048

# What nobody is offered here, and some try all the same.
NOT_IMPLEMENTED = (b"AUTH", b"BDAT", b"ETRN", b"EXPN", b"HELP", b"STARTTLS", b"TURN", b"VRFY")

# The attributes of XFORWARD (Postfix's XFORWARD_README), in the order in which we offer them.
XFORWARD = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")

UNAVAILABLE = (b"[UNAVAILABLE]", b"[TEMPUNAVAIL]")

_CONTROLS = bytes([*range(0x20), 0x7F])
_HEXADECIMAL = b"0123456789ABCDEFabcdef"


class Command:
    """A command that can be understood.

    line is how it came, without its end; address that of MAIL and RCPT; parameters are names in
    upper case and values: of MAIL and RCPT, or the attributes of XFORWARD and XCLIENT, decoded.
    """

    __slots__ = ("address", "line", "parameters", "verb")

    def __init__(
        self,
        verb: bytes,
        line: bytes,
        address: bytes = b"",
        parameters: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.verb = verb
        self.line = line
        self.address = address
        self.parameters = parameters


class Wrong(Exception):  # noqa: N818 - it is the client's error
    """A command that is refused for what it is; reply is what to say, without its line end."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def parse(line: bytes) -> Command:
    """The command of this line, which is without its LF; raises Wrong."""
    if not line.endswith(b"\r"):
        raise Wrong(b"500 5.5.2 Error: bare <LF> received")
    line = line[:-1]
    if len(line) > LINE_MAX:
        raise Wrong(b"500 5.5.2 Error: line too long")
    if len(line.translate(None, _CONTROLS)) != len(line):
        raise Wrong(b"500 5.5.2 Error: control character in command")
    word, _, rest = line.partition(b" ")
    verb = word.upper()
    if verb in NOT_IMPLEMENTED:
        raise Wrong(b"502 5.5.1 Error: command not implemented")
    if verb in (b"MAIL", b"RCPT"):
        return _with_path(verb, line, rest)
    if verb in (b"EHLO", b"HELO"):
        if not rest.strip():
            raise Wrong(b"501 Syntax: %b hostname" % verb)
        return Command(verb, line)
    if verb in (b"XFORWARD", b"XCLIENT"):
        return Command(verb, line, parameters=_attributes(verb, rest))
    if verb in (b"DATA", b"RSET", b"QUIT"):
        if rest.strip():
            raise Wrong(b"501 5.5.4 Syntax: %b" % verb)
        return Command(verb, line)
    if verb == b"NOOP":
        return Command(verb, line)
    raise Wrong(b"500 5.5.2 Error: command not recognized")


def _with_path(verb: bytes, line: bytes, rest: bytes) -> Command:
    """MAIL FROM:<path> or RCPT TO:<path>, and parameters."""
    name = b"FROM:" if verb == b"MAIL" else b"TO:"
    wrong = Wrong(b"501 5.5.4 Syntax: %b %b<address>" % (verb, name))
    rest = rest.lstrip(b" ")
    if rest[: len(name)].upper() != name:
        raise wrong
    rest = rest[len(name) :].lstrip(b" ")
    end = _end_of_path(rest)
    if not end or rest[end : end + 1] not in (b"", b" "):
        raise wrong
    address = rest[1 : end - 1]
    if address.startswith(b"@"):  # a route of relays, long out of use (RFC 5321 C)
        address = address.partition(b":")[2]
    if not address and verb == b"RCPT":
        raise Wrong(b"501 5.1.3 Bad recipient address syntax")
    return Command(verb, line, address, _parameters(rest[end:]))


def _end_of_path(text: bytes) -> int:
    """Where a path that the text begins with ends, 0 if it does not: a quoted string may have >."""
    if not text.startswith(b"<"):
        return 0
    quoted = escaped = False
    for at, byte in enumerate(text):
        if escaped:
            escaped = False
        elif byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            quoted = not quoted
        elif byte == ord(">") and not quoted:
            return at + 1
        elif byte in b"< " and not quoted and at:
            return 0
    return 0


def _parameters(text: bytes) -> Sequence[tuple[bytes, bytes]]:
    found = []
    for word in text.split():
        name, _, value = word.partition(b"=")
        found.append((name.upper(), value))
    return tuple(found)


def _attributes(verb: bytes, text: bytes) -> Sequence[tuple[bytes, bytes]]:
    """The attributes of XFORWARD and XCLIENT; a value that is unknown is empty."""
    found = []
    for word in text.split():
        name, equals, value = word.partition(b"=")
        if not equals:
            raise Wrong(b"501 5.5.4 Syntax: %b attribute=value" % verb)
        found.append((name.upper(), b"" if value.upper() in UNAVAILABLE else decoded(value)))
    if not found:
        raise Wrong(b"501 5.5.4 Syntax: %b attribute=value" % verb)
    return tuple(found)


def decoded(xtext: bytes) -> bytes:
    """What the xtext (RFC 3461 4) stands for; raises Wrong if it is none."""
    first, *rest = xtext.split(b"+")
    for piece in rest:
        if len(piece) < 2 or not all(byte in _HEXADECIMAL for byte in piece[:2]):
            raise Wrong(b"501 5.5.4 Bad attribute value syntax")
        first += bytes((int(piece[:2], 16),)) + piece[2:]
    return first
