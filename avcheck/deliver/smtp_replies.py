"""SMTP replies: read, and judged (RFC 5321 4.2, RFC 2034).  Pure."""

from __future__ import annotations

from avcheck.exits import REFUSED, Defer, Refused
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


# Lines of one reply: Postfix announces about 12 in EHLO; nobody needs more than this.
REPLY_LINES_MAX = 128

# The server hangs up, whatever was asked (RFC 5321 3.8); no further reply will come.
CLOSING = 421

# The answer to QUIT.
BYE = 221


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


def agrees(reply: Reply) -> bool:
    """Whether its enhanced codes do not contradict a yes; a no may have either of 4 and 5."""
    return reply.code // 100 != 2 or _classes(reply) <= {b"2"}


def code_of(reply: Reply) -> str:
    """The enhanced code of a no; one that agrees with its code if it has none."""
    return f"{reply.code // 100}{_detail(reply)}"


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
