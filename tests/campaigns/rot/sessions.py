"""avcheck-smtp and the middle: between it and the next hop, or between the client and it.

Relayed   the next hop is behind the middle; the client is one of ours, and takes replies only
Served    avcheck-smtp is behind the middle, with a socket that listens; the client, too, hears
          what was spoilt
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from tests.campaigns.faults.oracle import DONE, DOUBTFUL, KEPT, BrokenPromiseError
from tests.campaigns.faults.scenes import wait_until_read
from tests.campaigns.rot.kinds import BACK, THERE, Rot
from tests.campaigns.rot.oracle import (
    CHANGED,
    DENIED,
    ENHANCED,
    FALSE_YES,
    answers_to_the_dot,
    was_corrupted,
)
from tests.campaigns.rot.places import (
    HARMLESS,
    HASTY,
    NUMBERS,
    WHOLE,
    Place,
    Run,
    Sinking,
    on_the_wire,
)
from tests.support.fakes import PATIENCE
from tests.support.mta import RECIPIENT, SENDER, Ended
from tests.support.servers.sink import Received
from tests.support.smtp_client import REPLY, Listening, Talk, spawned, words

# Seconds that a client waits for a reply which may never come.
HASTE = 1.0

END = b"\r\n.\r\n"


class Session(Place):
    """A place of avcheck-smtp: it gets one message in a session."""

    def message(self, number: int) -> bytes:
        return b"Subject: run %08d\n\nHello.\n.\n..dots\n" % number

    def outcome(self, run: Run) -> str:
        """What came of a run; raises BrokenPromiseError for what must not."""
        raise NotImplementedError

    def sent(self, talk: Talk, message: bytes) -> Ended:
        """Send the message; the status is the code of the last reply to it, 0 for none."""
        reply = b""
        try:
            for reply in self._replies(talk, message):
                if reply[:1] not in b"23":
                    break
            if reply:
                talk.quit()
        except AssertionError as why:
            if not str(why).startswith("hung up after b''"):
                return Ended(-1, str(why).encode())
            reply = reply if reply[:1] in (b"4", b"5") else b""
        except OSError:
            reply = b""
        return Ended(int(reply[:3] or b"0"), reply)

    def _replies(self, talk: Talk, message: bytes) -> Iterator[bytes]:
        yield talk.hear()
        yield talk.ask(b"EHLO client.example")
        yield talk.ask(b"MAIL FROM:<%b>" % SENDER)
        yield talk.ask(b"RCPT TO:<%b>" % RECIPIENT)
        yield talk.ask(b"DATA")
        wire = on_the_wire(message).replace(b"\r\n.", b"\r\n..")
        talk.say(wire + b".\r\n")
        yield talk.hear()


class Relayed(Session):
    """The way from us to the next hop rots."""

    def __init__(self, name: str, command: Path, directory: Path) -> None:
        self.server = Sinking()
        super().__init__(name, command, directory, self.server.where, patience=WHOLE)
        self.at_end.callback(self.server.sink.stop)
        self.site.clamd()
        self.site.hop = ("-S", self.middle.address)
        self.is_brief = True

    def run(self, rot: Rot | None) -> Run:
        number = next(NUMBERS)
        message = self.message(number)
        haste = () if rot is None or rot.kind in HARMLESS else HASTY
        self.middle.begin(rot, lambda: True, self._patience)
        with spawned(words(self.site, *haste)) as talk:
            ended = self.sent(talk, message)
            talk.end()
        run = Run(rot, number, message, ended, self.middle.end())
        self.server.account(run)
        run.left = self.site.left
        return run

    def outcome(self, run: Run) -> str:
        ended, copies = run.ended, run.delivered
        _must(ended.status >= 0, f"no reply: {ended.output!r}")
        _must(run.left == [], f"left behind: {run.left}")
        _must(len(copies) <= 1, f"{len(copies)} copies")
        whole = bool(copies) and self.server.is_whole(copies[0], run.message)
        _must(whole or not copies or was_corrupted(run, THERE), f"changed: {copies}")
        told = b"".join(each.arrived(BACK) for each in run.conversations)
        said = b"".join(said for each in run.conversations for said, _ in answers_to_the_dot(each))
        once = not ENHANCED.match(said)
        if ended.status // 100 == 5:
            _must(was_corrupted(run, BACK), f"refused for good: {ended.output!r}")
            _must(ended.output.rstrip() in told, f"not the words of the hop: {ended.output!r}")
        if ended.status // 100 == 2:
            if not copies:
                _must(was_corrupted(run, BACK) and once, f"lost: {told!r}")
                return FALSE_YES
            return DONE if whole else CHANGED
        if not copies:
            return KEPT
        if b"possible duplicate" in ended.output:
            return DOUBTFUL
        _must(was_corrupted(run, BACK) and once, f"taken, and kept: {told!r}")
        return DENIED if whole else CHANGED


class Served(Session):
    """The way from the client to us rots."""

    def __init__(self, name: str, command: Path, directory: Path) -> None:
        super().__init__(name, command, directory, directory / "listens", unix=True, patience=WHOLE)
        self.scanner = self.site.clamd()
        self.hop = self.site.smtp()
        listening = Listening(
            words(self.site, "--idle", "0", "--on", "unscannable=reject"), directory / "listens"
        )
        self.at_end.enter_context(listening)
        self.is_brief = True

    def run(self, rot: Rot | None) -> Run:
        number = next(NUMBERS)
        message = self.message(number)
        self.middle.begin(rot, lambda: True, self._patience)
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.middle.address)
        talk = Talk(client)
        client.settimeout(PATIENCE if rot is None or rot.kind in HARMLESS else HASTE)
        ended = self.sent(talk, message)
        talk.close()
        run = Run(rot, number, message, ended, self.middle.end())
        wait_until_read(self.hop)
        run.delivered = [
            Received(each.sender, list(each.recipients), each.data) for each in self.hop.messages
        ]
        run.handled = [each.content for each in self.scanner.questions]
        self.hop.messages.clear()
        self.scanner.questions.clear()
        run.left = self.site.left
        return run

    def outcome(self, run: Run) -> str:
        (conversation,) = run.conversations
        copies, said = run.delivered, bytes(conversation.back.said)
        _must(REPLY.sub(b"", said) == b"", f"no replies: {said!r}")
        _must(run.left == [], f"left behind: {run.left}")
        _must(b" bug" not in said, f"a bug: {said!r}")
        _must(len(copies) <= 1, f"{len(copies)} copies")
        _must(said.count(b"250 2.0.0 taken") <= len(copies), "nobody has what was taken")
        if not copies:
            return KEPT
        (copy,) = copies
        whole = copy == Received(b"<%b>" % SENDER, [RECIPIENT], on_the_wire(run.message))
        _must(whole or was_corrupted(run, THERE), f"changed: {copy}")
        _must(END in conversation.arrived(THERE), "half a message was delivered")
        _must(any(each.endswith(copy.data) for each in run.handled), "not scanned")
        if b"250 2.0.0 taken" not in conversation.arrived(BACK):
            return DOUBTFUL if whole else CHANGED
        return DONE if whole else CHANGED


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)
