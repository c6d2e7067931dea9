"""The next hop: the transaction that is open there while the client speaks with us.

MAIL and RCPT are passed on as they come, and its replies go back.  DATA is not, before the
message has been checked.  The connection is kept from one message to the next; if it is gone by
then, another one is opened.
"""

from __future__ import annotations

from time import monotonic

from avcheck import conn
from avcheck.deliver import smtp, smtp_dialogue, smtp_replies, smtp_words
from avcheck.deliver.smtp_replies import Reply
from avcheck.exits import BROKEN, OK, REJECT, TEMPFAIL, Defer, Leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.smtpd.commands import Command
    from avcheck.spool import Message

# Seconds for the answer to a command (RFC 5321 4.5.3.2).
ANSWER_MAX = 300.0

# Seconds for the end of a transaction (Postfix: smtp_rset_timeout): the client is waiting.
RESET_MAX = 20.0

# What is passed on to the client of what the next hop offers.  CHUNKING would hand over content
# in other ways than DATA, and AUTH and STARTTLS are between two neighbours.
PASSED_ON = (b"SIZE", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES", b"DSN")

# Replies that judge no mail, but what was heard of our words (unknown command, command not
# implemented, bad sequence of commands) or us (530 and those like it ask for TLS or a login).
NOT_UNDERSTOOD = (500, 502, 503)
WHO_ARE_YOU = 53


class Refusal(Leave):
    """The next hop said no to the message; reply has its words, which are the client's."""

    def __init__(self, reply: Reply, peer: str) -> None:
        super().__init__(f"{peer}: refused: {reply}", smtp_replies.code_of(reply))
        self.status = REJECT if reply.code // 100 == 5 else TEMPFAIL
        self.reply = reply


class Hop:
    """A server, spoken to by SMTP.

    reply is its last answer to a message.
    """

    def __init__(self, settings: Settings) -> None:
        self.reply: Reply | None = None
        self._settings = settings
        self._offered: dict[bytes, bytes] = {}
        self._link: conn.Conn | None = None
        self._talk: smtp.Talk | None = None
        self._begun = False  # it has said something of the next message
        self._has_sender = False
        self._renewable = True  # nobody has told it more than we know

    def offers(self, xclient: bool) -> list[bytes]:
        """What the client is offered; raises Defer if nobody answers, or wants no mail."""
        if self._talk is None or self._is_over():
            self._open()
        offered = [b"PIPELINING"]
        for keyword in PASSED_ON:
            if keyword in self._offered:
                offered.append(b" ".join([keyword, *self._offered[keyword].split()]))
        if xclient and b"XCLIENT" in self._offered:
            offered.append(b"XCLIENT " + self._offered[b"XCLIENT"])
        return offered

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to these commands; raises Defer if there are none.

        If the connection was kept, and nothing has been said of this message before, another
        one may be needed.
        """
        kept = self._renewable and not self._begun
        if kept and self._talk and self._is_over():
            self._open()
        try:
            replies = self._ask(commands)
        except Defer:
            if not kept:
                raise
            self._open()
            replies = self._ask(commands)
        self._begun = True
        return replies

    def _ask(self, commands: Sequence[Command]) -> list[Reply]:
        asked = [(at, line) for at, each in enumerate(commands) for line in self._lines(each)]
        at_once = smtp_dialogue.PIPELINE_MAX if b"PIPELINING" in self._offered else 1
        replies = [Reply(250, (b"2.0.0 Ok",))] * len(commands)
        for first in range(0, len(asked), at_once):
            some = asked[first : first + at_once]
            for (at, _), reply in zip(some, self._say([line for _, line in some]), strict=True):
                if reply.code // 100 == 3 or not smtp_replies.agrees(reply):
                    self._forget()
                    raise Defer(f"an answer that is neither yes nor no: {reply}", BROKEN)
                self._follow(commands[at].verb, reply)
                replies[at] = reply
        if commands[-1].verb == b"XCLIENT" and replies[-1].code // 100 == 2:
            self._renewable = False
            self._offered = self._talking().through(smtp_dialogue.greet(smtp.hello()))
        return replies

    def _follow(self, verb: bytes, reply: Reply) -> None:
        """Raise Defer if the reply, which the client would take for final, judges no mail."""
        if verb == b"RSET":
            self._has_sender = False
        if verb == b"MAIL":
            self._has_sender = reply.code // 100 == 2
        elif verb != b"RCPT" or not self._has_sender:
            return  # a recipient of nothing is what it has to refuse like that
        if not _judges_mail(reply):
            self._forget()
            raise Defer(f"an answer that is not about the mail: {reply}", BROKEN)

    def _lines(self, command: Command) -> list[bytes]:
        """The command for this server; nothing if there is nothing in it for that."""
        if command.verb != b"XFORWARD":
            return [command.line]
        return list(smtp_words.xforward(command.parameters, self._offered))

    def send(self, message: Message, header: bytes, run: Run) -> str:
        """Hand the message on; returns the server's name and its words.

        Raises Refusal with its words if it says no, and Defer if it does not say anything.
        """
        talk = self._talking()
        talk.run = run
        link = talk.link
        link.deadline = run.deadline
        try:
            reply = talk.asked([b"DATA"])[0]
            if reply.code // 100 != 3:
                raise _refusal(reply, link.peer)
            self._begun = True
            reply = self.reply = talk.pour(smtp_words.as_received(message, header), True)
            doubt = smtp_replies.doubt(reply)
            if not doubt and message.doubt:
                doubt = talk.parting(reply)
                self._forget()
            elif not doubt and link.arrived() and not link.seen.startswith(b"421"):
                doubt = f"more than one answer: {reply}"
            if doubt:
                talk.doubted(doubt)
            self._begun = False
            if reply.code // 100 != 2:
                raise _refusal(reply, link.peer)
        except Refusal:
            raise
        except Leave as why:
            self._forget()
            why.text = f"{link.peer}: {why.text}"
            raise
        run.mark_handed_over(OK)
        return f"{link.peer} {reply}"

    def drop(self) -> None:
        """End the transaction without the message."""
        if not self._begun:
            return
        self._begun = False
        try:
            if self._say([b"RSET"], RESET_MAX)[0].code // 100 != 2:
                self._forget()
        except Defer:  # it has ended by itself
            self._forget()

    def quit(self) -> None:
        """Say goodbye; what it says to that does not matter."""
        if self._talk is not None:
            self._talk.link.deadline = monotonic() + 1.0
            self._talk.quit()
        self._forget()

    def _say(self, lines: list[bytes], limit: float = ANSWER_MAX) -> list[Reply]:
        talk = self._talking()
        talk.link.deadline = monotonic() + min(limit, self._settings.deadline)
        try:
            return talk.asked(list(lines))
        except Defer as why:
            self._forget()
            raise Defer(f"{talk.link.peer}: {why.text}", why.code) from why

    def _talking(self) -> smtp.Talk:
        if self._talk is None:
            raise Defer(f"{self._settings.server}: lost connection", BROKEN)
        return self._talk

    def _is_over(self) -> bool:
        """Whether it has hung up, or says something that it was not asked."""
        return self._talk is None or self._talk.link.has_spoken()

    def _open(self) -> None:
        self._forget()
        deadline = monotonic() + min(ANSWER_MAX, self._settings.deadline)
        link = conn.connect((self._settings.server,), deadline)
        self._link = link
        talk = smtp.Talk(link, self._settings, None)
        try:
            self._offered = talk.through(smtp_dialogue.opening(smtp.hello(), self._settings.tls))
        except Defer as why:
            self._forget()
            raise Defer(f"{link.peer}: {why.text}", why.code) from why
        self._talk = talk

    def _forget(self) -> None:
        """Hang up."""
        self._begun = False
        self._talk = None
        link, self._link = self._link, None
        if link is not None:
            try:
                link.sock.close()
            except OSError:
                return


def _judges_mail(reply: Reply) -> bool:
    return reply.code not in NOT_UNDERSTOOD and reply.code // 10 != WHO_ARE_YOU


def _refusal(reply: Reply, peer: str) -> Leave:
    """What to raise for a reply that is not the yes that was wanted."""
    if reply.code // 100 in (4, 5) and _judges_mail(reply):
        return Refusal(reply, peer)
    return Defer(f"an answer that is neither yes nor no: {reply}", BROKEN)
