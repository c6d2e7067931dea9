"""One message of a session: what avcheck.main does with it, and the reply to its final dot."""

from __future__ import annotations

from time import monotonic

from avcheck import main, report
from avcheck.exits import Leave
from avcheck.printable import printable
from avcheck.settings import Settings
from avcheck.smtpd.client import Gone, Late
from avcheck.smtpd.events import End, Piece
from avcheck.smtpd.hop import Refusal
from avcheck.smtpd.lines import as_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from avcheck.run import Run
    from avcheck.smtpd.client import Client
    from avcheck.smtpd.dialogue import Dialogue
    from avcheck.smtpd.hop import Hop

# Seconds for the client to send more of the content.
SILENCE_MAX = 300.0

# Replies are at most 512 bytes (RFC 5321 4.5.3.1.5).
SAID_MAX = 480

TAKEN = 250
HELD_BACK = 451
REFUSED = 550
CLOSING = 421


class Origin:
    """The client, who is to hear what becomes of the message."""

    who = "the client"

    __slots__ = ("_client", "_dialogue")

    def __init__(self, dialogue: Dialogue, client: Client) -> None:
        self._dialogue = dialogue
        self._client = client

    def is_gone(self) -> bool:
        """Whether it does not wait for our reply.

        Who closes its side has cancelled the message (RFC 5321 4.1.1.10), unless QUIT came
        before: Exim sends it behind the final dot, closes, and waits.
        """
        if not self._client.has_closed():
            return False
        self._dialogue.receive(self._client.last_words())
        return self._client.is_deaf() or not self._dialogue.quits

    def close(self) -> None:
        self._client.close()


class Source:
    """The content, as spool.receive takes it: the client is told to go ahead when it is asked for.

    doubt is that of Content, once all of it has come.
    """

    crlf = True
    by_smtp = True

    __slots__ = ("_begun", "_client", "_dialogue", "_ended", "_run", "doubt")

    def __init__(self, dialogue: Dialogue, client: Client, run: Run) -> None:
        self.doubt = b""
        self._dialogue = dialogue
        self._client = client
        self._run = run
        self._begun = False
        self._ended = False

    def pieces(self) -> Iterator[bytes]:
        """The content, a piece at a time; raises Gone or Late if it does not come to its end."""
        self._begun = True
        self._dialogue.go_ahead()
        self._client.write(self._dialogue.output, self._until())
        self._dialogue.output = b""
        return self._rest()

    def drain(self) -> None:
        """Have the client send the rest of what it has begun to send, for it to hear why not."""
        if self._begun and not self._ended:
            for _ in self._rest():
                continue

    def _rest(self) -> Iterator[bytes]:
        while True:
            event = self._dialogue.next()
            if isinstance(event, Piece):
                yield event.content
            elif isinstance(event, End):
                self._ended = True
                self.doubt = event.doubt
                return
            else:
                data = self._client.read(self._until())
                if not data:
                    raise Gone
                self._dialogue.receive(data)

    def _until(self) -> float:
        return min(monotonic() + SILENCE_MAX, self._run.deadline)


def settings_of(settings: Settings, dialogue: Dialogue) -> Settings:
    """The settings for the message whose envelope the dialogue has."""
    these = Settings()
    vars(these).update(vars(settings))
    assert dialogue.transaction
    these.sender = dialogue.transaction.sender
    these.recipients = tuple(dialogue.transaction.recipients)
    these.queue_id = printable(dialogue.attributes.get(b"IDENT", b""), 100).encode()
    return these


def client_of(attributes: Mapping[bytes, bytes], peer: bytes) -> str:
    """Whom the message came from, as Postfix logs it: of XFORWARD or XCLIENT, or else our peer."""
    address = attributes.get(b"ADDR") or (b"" if b"NAME" in attributes else peer)
    name = attributes.get(b"NAME") or b"unknown"
    words = printable(b"%b[%b]" % (name, address or b"unknown"), 200)
    return words.replace(" ", "?").replace(",", "?")


def check(settings: Settings, source: Source, run: Run, hop: Hop | None) -> bytes:
    """Do with the message what is to be done; returns the reply to its final dot."""
    run.record.settings = settings
    if hop:
        hop.reply = None
    try:
        said, _ = main.check(settings, source, run)
    except Leave as why:
        if run.handed_over is None:
            return _not_taken(why, source, run)
        said = f"handed on; then: {why.text}"
    except BaseException as bug:
        if run.handed_over is None:
            return _after_bug(bug, run)
        said = f"handed on; then: bug: {type(bug).__name__}: {bug}"
    report.end(run.record, said, TAKEN)
    if hop and hop.reply:
        return as_bytes(hop.reply).removesuffix(b"\r\n")
    return _reply(TAKEN, "2.0.0", said)


def _not_taken(why: Leave, source: Source, run: Run) -> bytes:
    """The reply to a message that is still the client's."""
    try:
        if isinstance(why, Gone | Late):
            raise why
        source.drain()
    except Leave:  # there may be nobody to reply to
        report.end_early(run.record, why, CLOSING)
        return _reply(CLOSING, why.code, why.text)
    if isinstance(why, Refusal):
        report.end_early(run.record, why, why.reply.code)
        return as_bytes(why.reply).removesuffix(b"\r\n")
    code = REFUSED if why.code.startswith("5") else HELD_BACK
    report.end_early(run.record, why, code)
    return _reply(code, why.code, why.text)


def _after_bug(bug: BaseException, run: Run) -> bytes:
    doubt = "possible duplicate: " if run.in_doubt else ""
    why = Leave(f"{doubt}bug or broken installation: {type(bug).__name__}: {bug}")
    why.status = HELD_BACK
    report.end_early(run.record, why, CLOSING)
    return _reply(CLOSING, why.code, why.text)


def _reply(code: int, enhanced: str, text: str) -> bytes:
    return f"{code} {enhanced} {printable(text, SAID_MAX)}".rstrip().encode()
