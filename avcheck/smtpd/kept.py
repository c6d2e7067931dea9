"""The envelope is kept, where the next hop is a sendmail program: that gets all of it at once."""

from __future__ import annotations

from avcheck.deliver.smtp_replies import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from avcheck.smtpd.commands import Command

OFFERED = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES")

# The parameters of MAIL and RCPT that say nothing which a program has to be told, and those of
# notifications, which it cannot be told: before the queue Postfix passes them on without asking.
PARAMETERS = (b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID", b"NOTIFY", b"ORCPT")

# They are the program's arguments, which have a limit; Postfix's smtpd_recipient_limit is this.
# The client sends the message again, to the others (RFC 5321 4.5.3.1.10).
RECIPIENTS_MAX = 1000

_YES = {
    b"MAIL": Reply(250, (b"2.1.0 Ok",)),
    b"RCPT": Reply(250, (b"2.1.5 Ok",)),
}
_TOO_MANY = Reply(452, (b"4.5.3 Too many recipients",))
_OTHER = Reply(250, (b"2.0.0 Ok",))
_UNKNOWN = Reply(555, (b"5.5.4 Unsupported option",))


def answers(commands: Sequence[Command], recipients: int = 0) -> list[Reply]:
    """What a server says to these commands that takes everything.

    recipients is how many it has taken already.
    """
    replies = []
    for each in commands:
        reply = _answer(each)
        if each.verb == b"RCPT" and reply.code == 250:
            recipients += 1
            if recipients > RECIPIENTS_MAX:
                reply = _TOO_MANY
        replies.append(reply)
    return replies


def _answer(command: Command) -> Reply:
    if command.verb in _YES and any(name not in PARAMETERS for name, _ in command.parameters):
        return _UNKNOWN
    return _YES.get(command.verb, _OTHER)
