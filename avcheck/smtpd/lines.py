"""A client's lines, and the replies to them in their order.  Pure."""

from __future__ import annotations

from avcheck.smtpd import commands
from avcheck.smtpd.commands import Command, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.deliver.smtp_replies import Reply

# Errors of the client's own; the last one ends the session.  As Postfix's
# smtpd_hard_error_limit, which counts from the last message that was taken.
ERRORS_MAX = 20

TOO_MANY = b"421 4.7.0 Error: too many errors"


class Lines:
    """What was received and what is to be sent.

    closing is whether the session ends when output has been sent.
    """

    def __init__(self, greeting: bytes) -> None:
        self.output = greeting + b"\r\n"
        self.closing = False
        self.buffer = bytearray()
        self.errors = 0
        # What is to be answered: commands by the next hop, and replies that come after those.
        self.due: list[Command | bytes] = []
        self._skipping = False  # in a line that is too long

    def receive(self, data: bytes) -> None:
        """What the client says."""
        if not self.closing:
            self.buffer += data

    @property
    def quits(self) -> bool:
        """Whether QUIT is the last that has been received; nothing may come after it."""
        return (b"\n" + self.buffer).upper().endswith(b"\nQUIT\r\n")

    def command(self) -> Command | None:
        """The next command that has come as a whole; raises Wrong for one that is none."""
        end = self.buffer.find(b"\n")
        if end < 0:
            if len(self.buffer) > commands.LINE_MAX + 1:  # and a CR
                self._skipping = True
                self.buffer.clear()
            return None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        if self._skipping:
            self._skipping = False
            raise Wrong(b"500 5.5.2 Error: line too long")
        return commands.parse(line)

    def say(self, reply: bytes) -> None:
        """The reply to the last command, after those to commands before it."""
        reply += b"\r\n"
        if self.due:
            self.due.append(reply)
        else:
            self.output += reply

    def refuse(self, reply: bytes) -> None:
        """Say no to what the client did, unless that was once too often."""
        self.errors += 1
        if self.errors < ERRORS_MAX:
            self.say(reply)
        else:
            self.say(TOO_MANY)
            self.buffer.clear()
            self.closing = True

    def end(self, reply: bytes) -> None:
        """The session ends with this reply, whatever was to be answered."""
        self.due.clear()
        self.buffer.clear()
        self.closing = True
        self.say(reply)


def as_bytes(reply: Reply) -> bytes:
    """The reply as it is sent; a CR in it would be the end of a line to some."""
    lines = [line.replace(b"\r", b" ") for line in reply.lines]
    last = b"%d %b\r\n" % (reply.code, lines[-1])
    return b"".join(b"%d-%b\r\n" % (reply.code, line) for line in lines[:-1]) + last
