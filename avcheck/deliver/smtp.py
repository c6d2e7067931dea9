"""Hand the message on by SMTP: the dialogue of smtp_dialogue.py over a connection."""

from __future__ import annotations

from time import monotonic

from avcheck import conn, unix
from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.exits import BROKEN, Defer, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from avcheck.conn import Conn
    from avcheck.deliver.smtp_dialogue import Dialogue, T
    from avcheck.deliver.smtp_replies import Reply
    from avcheck.incoming import Incoming
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message


# Seconds that the answer to QUIT is waited for: to be told that the server has seen another
# end of the message than we, not to be polite.  On one host Postfix answers within 2 ms.
PARTING_MAX = 2.0

# Seconds until it is told that we have no more to say.  Exim (4.96) holds its goodbye back
# for 0.2 s (TCP_CORK), for the client to hang up first.
PARTING_SOON = 0.05

# --refused
BOUNCE = "bounce"


def send(message: Message | Incoming, header: bytes, settings: Settings, run: Run) -> str:
    """Hand the message on for all recipients; returns the server's name and its words.

    Raises Defer when the server did not say yes to the final dot, or Leave with REJECT
    when it said no for good and that is to be passed on.
    """
    size = message.wire_size
    if size is not None and header:
        size += len(header) + 2
    envelope = smtp_words.Envelope(settings.sender, settings.recipients, size, message.eight_bit)
    envelope.xforward = settings.xforward
    envelope.envid = settings.envid
    envelope.ret = settings.ret
    envelope.notify = settings.notify
    envelope.original = settings.original
    try:
        with conn.connect((settings.server,), run.deadline) as link:
            talk = Talk(link, settings, run)
            dialogue = smtp_dialogue.dialogue(envelope, hello(), settings.tls)
            try:
                reply = talk.through(dialogue, message, header)
            finally:
                talk.quit()
    except Refused as why:
        if settings.refused == BOUNCE:
            raise why.for_good() from None
        raise
    return f"{settings.server} {reply}"


def hello() -> bytes:
    """Our name for EHLO (RFC 5321 4.1.1.1): the host's, as it calls itself."""
    name = unix.uname().nodename.encode("ascii", "ignore")
    return name if name.replace(b".", b"").replace(b"-", b"").isalnum() else b"localhost"


class Talk:
    """A conversation with an SMTP server."""

    __slots__ = ("dropped", "link", "parted", "replies", "run", "settings")

    run: Run

    def __init__(self, link: Conn, settings: Settings, run: Run | None) -> None:
        self.link = link
        self.settings = settings
        if run:  # else no message is sent yet
            self.run = run
        self.replies = smtp_replies.Replies()
        self.dropped = False  # in the middle of the content: what we send is content
        self.parted = False  # QUIT has been sent

    def through(
        self, dialogue: Dialogue[T], message: Message | Incoming | None = None, header: bytes = b""
    ) -> T:
        """Have the whole conversation; returns what it ends with."""
        step = next(dialogue)
        try:
            while True:
                if isinstance(step, smtp_dialogue.Handshake):
                    name = self.settings.tls_name or self.settings.server.host
                    self.link.start_tls(name, self.settings.tls_ca)
                    answer = []
                else:
                    answer = self.asked(step, message, header)
                step = dialogue.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    def asked(
        self,
        step: list[bytes] | smtp_dialogue.Content,
        message: Message | Incoming | None = None,
        header: bytes = b"",
    ) -> list[Reply]:
        """Send commands, or the content; returns the replies."""
        # A reply that nobody asked for would be taken for the next one's.
        if self.link.seen:
            raise Defer("the server is out of step: it said more than it was asked")
        if isinstance(step, smtp_dialogue.Content):
            assert message
            return [self.content(message, header, step.eight_bit)]
        if step:
            self.link.send(b"\r\n".join([*step, b""]))
        answer = [self.reply() for _ in step or [b""]]
        self.dropped = answer[-1].code // 100 == 3
        return answer

    def reply(self) -> Reply:
        reply = self.any_reply()
        if reply.code == smtp_replies.CLOSING:
            smtp_replies.want(2, b"the connection", [reply])
        return reply

    def any_reply(self) -> Reply:
        reply = None
        while reply is None:
            reply = self.replies.add(self.link.line())
        return reply

    def content(self, message: Message | Incoming, header: bytes, eight_bit: bool) -> Reply:
        """Send the header and the message; returns the reply to the final dot."""
        reply = self.pour(smtp_words.stuffed(message, header), eight_bit)
        doubt = smtp_replies.doubt(reply)
        if not doubt:
            # A fault of ours is no second delivery from here on; a word of the server's may be.
            if reply.code // 100 == 2:
                self.run.mark_handed_over(self.settings.ok_status)
            doubt = self.parting(reply)
        if doubt:
            self.doubted(doubt)
        return reply

    def pour(self, wire: Iterable[bytes], eight_bit: bool) -> Reply:
        """Send these pieces, the last of which has the final dot; returns the reply to that."""
        last = b""
        for piece in wire:
            if not (eight_bit or piece.isascii()):
                raise smtp_words.no_eight_bit()
            if last:
                self.link.send(last)
            last = piece
        if self.link.gone or self.link.has_spoken():
            self.interrupted()
        self.run.require_caller()
        # From here on the message may be queued there.  No signal may turn a yes into
        # a second delivery; the deadline still ends the wait for an answer.
        self.run.commit()
        self.link.send(last)
        if self.link.gone:
            self.interrupted()
        try:
            reply = self.any_reply()
        except Defer as why:
            raise Defer(f"possible duplicate: after the final dot: {why.text}", why.code) from why
        self.dropped = False
        return reply

    def doubted(self, doubt: str) -> NoReturn:
        """Raise Defer: after that, nobody knows whether the server has the message."""
        self.run.mark_in_doubt()
        raise Defer(f"possible duplicate: {doubt}", BROKEN)

    def parting(self, answer: Reply) -> str:
        """Say goodbye after the answer to the dot; returns why that is to be doubted, if it is."""
        parting = smtp_replies.Parting(answer)
        self.quit()
        self.link.deadline = min(self.link.deadline, monotonic() + PARTING_MAX)
        try:
            if not self.link.has_more(PARTING_SOON):
                self.link.say_no_more()
            while not parting.over:
                parting.add(self.link.line())
        except Defer:  # it has hung up, keeps silent, or cannot be heard: it has said all
            pass
        parting.end(bytes(self.link.seen))
        return parting.doubt

    def interrupted(self) -> NoReturn:
        """Raise Defer with what the server says, though the final dot has not been sent."""
        reply = self.reply()
        smtp_replies.want(2, b"the content", [reply], for_all=True)
        raise Defer(f"possible duplicate: the server did not wait for the final dot: {reply}")

    def quit(self) -> None:
        """Say goodbye where that is possible, and has not been done."""
        if not (self.dropped or self.parted):
            self.parted = True
            try:
                self.link.send(b"QUIT\r\n")
            except Defer:
                return
