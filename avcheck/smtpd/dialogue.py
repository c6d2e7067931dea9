r"""SMTP, the server's side (RFC 5321), without a socket.  Pure.

    S: 220 mx.example ESMTP avcheck
    C: EHLO client.example                 Hello: what does the next hop offer?
    S: 250-mx.example
    S: 250 PIPELINING
    C: XFORWARD IDENT=4XYZ                 Relay: commands for the next hop, as many as have come
    C: MAIL FROM:<a@example>               Mail: is any mail taken now?   and then Relay
    C: RCPT TO:<b@example>                 Relay
    S: 250 2.1.0 Ok                        the next hop's own words
    S: 250 2.1.5 Ok
    C: DATA                                Data: now the message itself
    S: 354 End data with <CR><LF>.<CR><LF>
    C: ... .                               Piece, and at last End
    S: 250 2.0.0 Ok: queued as 4ABC        what became of it

Bytes go in by receive(), and next() says what is to be done: an event, which the session
answers by the method that its docstring names; or None, when the client has to say more.
What is to be sent to the client is in output, in the order of its commands.
"""

from __future__ import annotations

from avcheck.smtpd import commands
from avcheck.smtpd.commands import Command, Wrong
from avcheck.smtpd.content import Content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from avcheck.deliver.smtp_replies import Reply

# Errors of the client's own; the last one ends the session.  As Postfix's
# smtpd_hard_error_limit, which counts from the last message that was taken.
ERRORS_MAX = 20

# Commands that are handed to the next hop at once.
RELAYED_MAX = 100

# Bytes of content that are handled at once.
PIECE = 64 * 1024


class Hello:
    """EHLO or HELO: greet() is to follow.  reset is whether a transaction was open."""

    __slots__ = ("extended", "reset")

    def __init__(self, extended: bool, reset: bool) -> None:
        self.extended = extended
        self.reset = reset


class Mail:
    """MAIL: allow() or refuse() is to follow."""


class Relay:
    """Commands for the next hop: answer() is to follow, with a reply for each."""

    __slots__ = ("commands",)

    def __init__(self, relayed: list[Command]) -> None:
        self.commands = relayed


class Data:
    """DATA, after a sender and at least one recipient were taken: go_ahead() or finish()."""


class Piece:
    """Some of the content."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


class End:
    """The content is complete: finish() is to follow.  doubt is that of Content."""

    __slots__ = ("doubt",)

    def __init__(self, doubt: bytes) -> None:
        self.doubt = doubt


if TYPE_CHECKING:
    from typing import TypeAlias

    Event: TypeAlias = Hello | Mail | Relay | Data | Piece | End


class Transaction:
    """What a MAIL has begun; taken is whether the next hop has said yes to it."""

    __slots__ = ("recipients", "refused", "sender", "taken")

    def __init__(self, sender: bytes) -> None:
        self.sender = sender
        self.taken = False
        self.recipients: list[bytes] = []
        self.refused = 0


class Dialogue:
    """A session.

    closing is whether it ends when output has been sent; retiring is the reply to whatever comes
    next that would begin another message, if there is to be none.  attributes are those of
    XFORWARD for the next message, and client what XCLIENT said of all of them.
    """

    def __init__(self, name: bytes, xclient: bool = False) -> None:
        self.output = b"220 %b ESMTP avcheck\r\n" % name
        self.closing = False
        self.retiring = b""
        self.transaction: Transaction | None = None
        self.attributes: dict[bytes, bytes] = {}
        self.client: dict[bytes, bytes] = {}
        self._name = name
        self._xclient = xclient
        self._buffer = bytearray()
        self._skipping = False  # in a line that is too long
        self._greeted = False
        self._errors = 0
        self._content: Content | None = None
        self._in_hand: Command | None = None  # a command that has to wait for those before it
        self._asked: Command | None = None  # what an event was about
        self._relayed: list[Command] = []  # for the next hop, not handed out yet
        self._due: list[Command | bytes] = []  # what is to be answered, in order
        self._steps: dict[bytes, Callable[[Command], Event | None]] = {
            b"EHLO": self._hello,
            b"HELO": self._hello,
            b"XFORWARD": self._forward,
            b"XCLIENT": self._xclient_command,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"QUIT": self._quit,
        }

    @property
    def in_content(self) -> bool:
        """Whether what the client says is content, because we have told it to go ahead."""
        return self._content is not None

    @property
    def between(self) -> bool:
        """Whether no transaction is open."""
        return self.transaction is None

    def receive(self, data: bytes) -> None:
        """What the client says."""
        if not self.closing:
            self._buffer += data

    def next(self) -> Event | None:
        """What is to be done next; None: send output, and then receive more."""
        if self._content is not None:
            return self._next_of_content(self._content)
        while not self.closing and len(self._relayed) < RELAYED_MAX:
            try:
                command = self._in_hand or self._command()
            except Wrong as why:
                self._error(why.reply)
                continue
            if command is None:
                break
            # What these mean depends on the answers to those before them.
            waits = self._relayed and command.verb not in (b"RCPT", b"RSET", b"NOOP")
            self._in_hand = command if waits else None
            if waits:
                break
            if self.retiring and self.between and command.verb != b"QUIT":
                self.end(self.retiring)
                break
            event = self._steps[command.verb](command)
            if event is not None:
                return event
        if not self._relayed:
            return None
        relayed, self._relayed = self._relayed, []
        return Relay(relayed)

    # What the session answers.

    def greet(self, offered: Sequence[bytes], extended: bool) -> None:
        """Say hello; with these extensions, if they were asked for."""
        self._greeted = True
        lines = [self._name, *(offered if extended else ())]
        self._say(b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 " + lines[-1])

    def allow(self) -> None:
        """Mail is taken; whether this one is, the next hop knows."""
        assert self._asked
        self.transaction = Transaction(self._asked.address)
        self._relay(self._asked)

    def refuse(self, reply: bytes) -> None:
        """No mail is taken now."""
        self._say(reply)

    def answer(self, replies: Sequence[Reply]) -> None:
        """The next hop's replies to the commands of a Relay."""
        due, self._due = self._due, []
        given = iter(replies)
        for each in due:
            self.output += each if isinstance(each, bytes) else self._judge(each, next(given))

    def go_ahead(self) -> None:
        """The message is received now."""
        self._content = Content()
        self._say(b"354 End data with <CR><LF>.<CR><LF>")

    def finish(self, reply: bytes) -> None:
        """This is what became of the message."""
        self._content = None
        self.transaction = None
        self.attributes = {}
        if reply.startswith(b"2"):
            self._errors = 0
        self._say(reply)

    def end(self, reply: bytes) -> None:
        """The session ends with this reply, wherever it is."""
        self._content = self._in_hand = None
        self._relayed.clear()
        self._due.clear()
        self._buffer.clear()
        self.transaction = None
        self.closing = True
        self._say(reply)

    # What the client says.

    def _next_of_content(self, content: Content) -> Event | None:
        if content.ended:
            return End(content.doubt)
        while self._buffer:
            piece = content.feed(bytes(self._buffer[:PIECE]))
            del self._buffer[:PIECE]
            if content.ended:
                self._buffer[:0] = content.rest
            if piece or content.ended:
                return Piece(piece)
        return None

    def _command(self) -> Command | None:
        """The next command that has come as a whole; raises Wrong for one that is none."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > commands.LINE_MAX + 1:  # and a CR
                self._skipping = True
                self._buffer.clear()
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if self._skipping:
            self._skipping = False
            raise Wrong(b"500 5.5.2 Error: line too long")
        return commands.parse(line)

    def _hello(self, command: Command) -> Event | None:
        reset, self.transaction = self.transaction is not None, None
        self.attributes = {}
        return Hello(command.verb == b"EHLO", reset)

    def _forward(self, command: Command) -> Event | None:
        if self.transaction:
            self._error(b"503 5.5.1 Error: MAIL transaction in progress")
        elif not self._greeted:
            self._error(b"503 5.5.1 Error: send EHLO first")
        elif any(name not in commands.XFORWARD for name, _ in command.parameters):
            self._error(b"501 5.5.4 Bad XFORWARD attribute name")
        else:
            self._relay(command)
        return None

    def _xclient_command(self, command: Command) -> Event | None:
        if self.transaction or not self._greeted:
            self._error(b"503 5.5.1 Error: not in this order")
        elif not self._xclient:
            self._error(b"550 5.7.0 Error: insufficient authorization")
        else:
            self._relay(command)
        return None

    def _mail(self, command: Command) -> Event | None:
        if not self._greeted:
            self._error(b"503 5.5.1 Error: send HELO/EHLO first")
        elif self.transaction:
            self._error(b"503 5.5.1 Error: nested MAIL command")
        else:
            self._asked = command
            return Mail()
        return None

    def _rcpt(self, command: Command) -> Event | None:
        if self.transaction:
            self._relay(command)
        else:
            self._error(b"503 5.5.1 Error: need MAIL command")
        return None

    def _data(self, command: Command) -> Event | None:
        if not self.transaction:
            self._error(b"503 5.5.1 Error: need MAIL command")
        elif not self.transaction.recipients:
            if self.transaction.refused:
                self._error(b"554 5.5.1 Error: no valid recipients")
            else:
                self._error(b"503 5.5.1 Error: need RCPT command")
        elif self._buffer:
            # It has not waited for 354.  If that is not what we say, what has come are no
            # commands, though they may look like some.
            self.end(b"421 4.5.0 Error: SMTP protocol synchronization")
        else:
            return Data()
        return None

    def _rset(self, command: Command) -> Event | None:
        if self.transaction or self.attributes or self._relayed:
            self._relay(command)
        else:
            self._say(b"250 2.0.0 Ok")
        return None

    def _noop(self, command: Command) -> Event | None:
        self._say(b"250 2.0.0 Ok")
        return None

    def _quit(self, command: Command) -> Event | None:
        self.end(b"221 2.0.0 Bye")
        return None

    # What is said.

    def _say(self, reply: bytes) -> None:
        """The reply to the last command, after those to commands before it."""
        reply += b"\r\n"
        if self._due:
            self._due.append(reply)
        else:
            self.output += reply

    def _error(self, reply: bytes) -> None:
        """Refuse what the client did, unless that was once too often."""
        self._errors += 1
        if self._errors < ERRORS_MAX:
            self._say(reply)
        elif self._due:  # once those before it are answered
            self._due.append(b"421 4.7.0 Error: too many errors\r\n")
            self._buffer.clear()
            self.closing = True
        else:
            self.end(b"421 4.7.0 Error: too many errors")

    def _relay(self, command: Command) -> None:
        self._relayed.append(command)
        self._due.append(command)

    def _judge(self, command: Command, reply: Reply) -> bytes:
        """What the client is told of the next hop's reply, and what it means to us."""
        yes = reply.code // 100 == 2
        transaction = self.transaction
        if command.verb == b"MAIL" and transaction:
            transaction.taken = yes
            self.transaction = transaction if yes else None
        elif command.verb == b"RCPT":
            if not (transaction and transaction.taken):
                if yes:  # to a recipient of nothing
                    return b"503 5.5.1 Error: need MAIL command\r\n"
            elif yes:
                transaction.recipients.append(command.address)
            else:
                transaction.refused += 1
        elif command.verb == b"RSET":
            self.transaction = None
            self.attributes = {}
        elif command.verb == b"XFORWARD" and yes:
            self.attributes.update(command.parameters)
        elif command.verb == b"XCLIENT" and yes:
            self.client.update(command.parameters)
            self._greeted = False
        return as_bytes(reply)


def as_bytes(reply: Reply) -> bytes:
    """The reply as it is sent; a CR in it would be the end of a line to some."""
    lines = [line.replace(b"\r", b" ") for line in reply.lines]
    last = b"%d %b\r\n" % (reply.code, lines[-1])
    return b"".join(b"%d-%b\r\n" % (reply.code, line) for line in lines[:-1]) + last
