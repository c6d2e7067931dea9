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
from avcheck.smtpd.events import Data, End, Hello, Mail, Piece, Relay, Transaction
from avcheck.smtpd.lines import Lines, as_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from avcheck.deliver.smtp_replies import Reply
    from avcheck.smtpd.events import Event

# What is handled at once: commands for the next hop, and bytes of content.
RELAYED_MAX = 100
PIECE = 64 * 1024


class Dialogue(Lines):
    """A session.

    retiring is the reply to whatever comes next that would begin another message, if there is
    to be none.  attributes are those of XFORWARD for the next message, and client what XCLIENT
    said of all of them.
    """

    def __init__(self, name: bytes, xclient: bool = False) -> None:
        super().__init__(b"220 %b ESMTP avcheck" % name)
        self.retiring = b""
        self.transaction: Transaction | None = None
        self.attributes: dict[bytes, bytes] = {}
        self.client: dict[bytes, bytes] = {}
        self._name = name
        self._xclient = xclient
        self._greeted = False
        self._content: Content | None = None
        self._in_hand: Command | None = None  # a command that has to wait for those before it
        self._asked: Command | None = None  # what an event was about
        self._relayed: list[Command] = []  # for the next hop, not handed out yet
        self._steps: dict[bytes, Callable[[Command], Event | None]] = {
            b"EHLO": self._hello,
            b"HELO": self._hello,
            b"XFORWARD": self._tell,
            b"XCLIENT": self._tell,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._other,
            b"NOOP": self._other,
            b"QUIT": self._other,
        }

    def next(self) -> Event | None:
        """What is to be done next; None: send output, and then receive more."""
        if self._content is not None:
            return self._next_of_content(self._content)
        while not self.closing and len(self._relayed) < RELAYED_MAX:
            try:
                command = self._in_hand or self.command()
            except Wrong as why:
                self.refuse(why.reply)
                continue
            if command is None:
                break
            if self._relayed and not self._may_follow(command):
                self._in_hand = command
                break
            self._in_hand = None
            if self.retiring and not self.transaction and command.verb != b"QUIT":
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
        self.say(b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 " + lines[-1])

    def allow(self) -> None:
        """Mail is taken; whether this one is, the next hop knows."""
        assert self._asked
        self.transaction = Transaction(self._asked.address)
        self._relay(self._asked)

    def answer(self, replies: Sequence[Reply]) -> None:
        """The next hop's replies to the commands of a Relay."""
        due, self.due = self.due, []
        given = iter(replies)
        for each in due:
            self.output += each if isinstance(each, bytes) else self._judge(each, next(given))

    def go_ahead(self) -> None:
        """The message is received now."""
        self._content = Content()
        self.say(b"354 End data with <CR><LF>.<CR><LF>")

    def finish(self, reply: bytes) -> None:
        """This is what became of the message."""
        self._content = None
        self.transaction = None
        self.attributes = {}
        if reply.startswith(b"2"):
            self.errors = 0
        self.say(reply)

    def end(self, reply: bytes) -> None:
        """The session ends with this reply, wherever it is."""
        self._content = self._in_hand = self.transaction = None
        self._relayed.clear()
        super().end(reply)

    # What the client says.

    def _next_of_content(self, content: Content) -> Event | None:
        if content.ended:
            return End(content.doubt)
        while self.buffer:
            piece = content.feed(bytes(self.buffer[:PIECE]))
            del self.buffer[:PIECE]
            if content.ended:
                self.buffer[:0] = content.rest
            if piece or content.ended:
                return Piece(piece)
        return None

    def _hello(self, command: Command) -> Event | None:
        self.transaction = None
        self.attributes = {}
        return Hello(command.verb == b"EHLO")

    def _tell(self, command: Command) -> Event | None:
        forward = command.verb == b"XFORWARD"
        if self.transaction:
            self.refuse(b"503 5.5.1 Error: MAIL transaction in progress")
        elif not self._greeted:
            self.refuse(b"503 5.5.1 Error: send EHLO first")
        elif not forward and not self._xclient:
            self.refuse(b"550 5.7.0 Error: insufficient authorization")
        elif forward and any(name not in commands.XFORWARD for name, _ in command.parameters):
            self.refuse(b"501 5.5.4 Bad XFORWARD attribute name")
        else:
            self._relay(command)
        return None

    def _mail(self, command: Command) -> Event | None:
        if not self._greeted:
            self.refuse(b"503 5.5.1 Error: send HELO/EHLO first")
        elif self.transaction:
            self.refuse(b"503 5.5.1 Error: nested MAIL command")
        else:
            self._asked = command
            return Mail()
        return None

    def _rcpt(self, command: Command) -> Event | None:
        if self.transaction:
            self._relay(command)
        else:
            self.refuse(b"503 5.5.1 Error: need MAIL command")
        return None

    def _data(self, command: Command) -> Event | None:
        if not self.transaction:
            self.refuse(b"503 5.5.1 Error: need MAIL command")
        elif not self.transaction.recipients:
            none = b"554 5.5.1 Error: no valid recipients"
            self.refuse(none if self.transaction.refused else b"503 5.5.1 Error: need RCPT command")
        elif self.buffer:
            # It has not waited for 354.  If that is not what we say, what has come are no
            # commands, though they may look like some.
            self.end(b"421 4.5.0 Error: SMTP protocol synchronization")
        else:
            return Data()
        return None

    def _other(self, command: Command) -> Event | None:
        if command.verb == b"QUIT":
            self.end(b"221 2.0.0 Bye")
        elif command.verb == b"RSET" and (self.transaction or self.attributes or self._relayed):
            self._relay(command)
        else:
            self.say(b"250 2.0.0 Ok")
        return None

    def _may_follow(self, command: Command) -> bool:
        """Whether it means the same whatever is answered to those that are to be relayed."""
        if command.verb in (b"MAIL", b"XFORWARD"):
            return all(each.verb == b"XFORWARD" for each in self._relayed)
        return command.verb in (b"RCPT", b"RSET", b"NOOP")

    def _relay(self, command: Command) -> None:
        self._relayed.append(command)
        self.due.append(command)

    def _judge(self, command: Command, reply: Reply) -> bytes:
        """What the client is told of the next hop's reply, and what it means to us."""
        yes = reply.code // 100 == 2
        transaction = self.transaction
        if command.verb == b"MAIL" and not yes:
            self.transaction = None
        elif command.verb == b"RCPT":
            if not transaction:
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
