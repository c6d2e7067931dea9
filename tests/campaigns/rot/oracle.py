"""What may come of a conversation that has rotted, and what must not."""

from __future__ import annotations

import re

from tests.campaigns.faults.oracle import DONE, DOUBTFUL, KEPT, BrokenPromiseError
from tests.campaigns.rot.kinds import BACK, CORRUPTIONS, REPEATS, THERE
from tests.campaigns.rot.middle import Conversation
from tests.campaigns.rot.places import Handed, Run, Scanned, on_the_wire
from tests.support.mta import KEEP, TEMPFAIL

# For a clean message that the scanner's answer is not clean for: the handler has it.
HANDLED = "to the handler"

# What nobody can notice.
BLIND = "scanner shown something else"
CHANGED = "taken changed"
DENIED = "a yes that came as a no"
FALSE_YES = "a no that came as a yes"
UNNOTICEABLE = (BLIND, CHANGED, DENIED, FALSE_YES)

OUTCOMES = (DONE, KEPT, DOUBTFUL, HANDLED, *UNNOTICEABLE)

# A whole reply, of which every line has the same code.
REPLY = re.compile(rb"([2-5])(\d\d)(?:-[^\n]*\n\1\2)*(?: [^\n]*)?\r?\n")


ENHANCED = re.compile(rb"[245]\d\d [245]\.\d{1,3}\.\d{1,3} ")


def of_scan(place: Scanned, run: Run) -> str:
    """What came of a message whose conversation with the scanner rotted.

    Raises BrokenPromiseError for what must not.
    """
    _whatever_happens(run)
    for copy in run.delivered:
        _must(copy.data == on_the_wire(run.message), f"delivered changed: {copy.data!r}")
    for message in run.handled:
        _must(message == run.message, f"handled changed: {message!r}")
    copies = len(run.delivered) + len(run.handled)
    _must(copies <= 1, f"{copies} copies")
    if run.ended.status == TEMPFAIL:
        _must(not copies, "somebody has it, and the MTA, too")
        return KEPT
    _must(copies == 1, "status 0, and nobody has the message: lost")

    told = run.conversation.arrived(BACK)
    if run.handled:
        _must(bool(place.found.fullmatch(told)), f"handled, and was told {told!r}")
        return DONE if place.infected else HANDLED
    _must(bool(place.clean.fullmatch(told)), f"delivered, and was told {told!r}")
    if not place.infected:
        return DONE
    # An infected message is delivered.  That is nobody's fault only if the scanner was
    # asked about something else, and said truly that there is nothing in that.
    _must(was_corrupted(run, THERE), "infected, and delivered")
    _must(told == run.conversation.back.said, "infected, and delivered: not the scanner's words")
    return BLIND


def of_handing_on(place: Handed, run: Run) -> str:
    """What came of a message whose handing on rotted; raises BrokenPromiseError likewise."""
    _whatever_happens(run)
    copies = run.delivered
    _must(len(copies) <= 1, f"{len(copies)} copies: {copies}")
    whole = [copy for copy in copies if place.server.is_whole(copy, run.message)]
    if copies and not whole:
        _must(was_corrupted(run, THERE), f"changed: {copies}")
    answers = answers_to_the_dot(run.conversation)
    truth = b"".join(said for said, _ in answers)
    answer = b"".join(arrived for _, arrived in answers)
    reply = REPLY.match(answer)
    # An enhanced code says the same again (RFC 2034): that one digit has changed can be noticed.
    once = not ENHANCED.match(truth)

    if run.ended.status == 0:
        _must(bool(reply and reply[1] == b"2"), f"status 0, and the answer was {answer!r}")
        assert reply
        more = answers[0][1][reply.end() :]  # at once, and not in answer to the goodbye
        _must(more.startswith(b"421") or not more, f"status 0, and the answer was {answer!r}")
        if not copies:
            _must(place.refuses and was_corrupted(run, BACK), "status 0, and nobody has it: lost")
            _must(once, f"lost, and the answer was {answer!r}")
            return FALSE_YES
        return DONE if whole else CHANGED
    if not copies:
        return KEPT
    if b"possible duplicate" in run.ended.output:
        return DOUBTFUL
    # It was told no, in so many words.
    told_no = bool(reply and reply[1] in b"45")
    _must(told_no, f"handed on, and kept, without a word: {answer!r}")
    if whole:
        _must(was_corrupted(run, BACK) and once, f"handed on, and kept: {answer!r}")
        return DENIED
    return CHANGED


def answers_to_the_dot(conversation: Conversation) -> list[tuple[bytes, bytes]]:
    """What the mail server said after all of the message was sent, and what arrived of it."""
    said = b""
    answers = []
    for way, words, arrived in conversation.steps:
        if way == THERE:
            said += words
        elif b"\r\n.\r\n" in said:
            answers.append((words, arrived))
    return answers


def _whatever_happens(run: Run) -> None:
    ended = run.ended
    _must(len(run.conversations) == 1, f"{len(run.conversations)} conversations")
    _must(not ended.output.startswith(b"5"), "the output bounces the mail")
    _must(run.left == [], f"left behind: {run.left}")
    _must(ended.status in (0, TEMPFAIL), "a status that is not meant")
    if ended.status == TEMPFAIL:
        _must(bool(KEEP.match(ended.output)), "no 4.x.x before the words")
    _must(b"bug" not in ended.output, "a bug")


def was_corrupted(run: Run, way: str) -> bool:
    """Whether other bytes arrived in that direction than were said, and not only fewer."""
    rot = run.rot
    return rot is not None and rot.way == way and rot.kind in (*CORRUPTIONS, *REPEATS)


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)
