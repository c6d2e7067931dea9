"""What may come of a session that a fault has struck: of each of its messages, and of all."""

from __future__ import annotations

from tests.campaigns.faults.oracle import (
    DONE,
    DOUBTFUL,
    KEPT,
    KILLED,
    KILLED_AFTER,
    STORED,
    BrokenPromiseError,
)
from tests.campaigns.faults.session import INFECTED, MESSAGES, SessionScene, content
from tests.campaigns.faults.strike import HUNG, Fault
from tests.support.mta import TEMPFAIL, Ended

REFUSED = b"550 5.7.1 "

# Where the fault itself keeps the reply from the client, which has been given all the same.
SAYS = ("write", "poll")


def outcome(scene: SessionScene, fault: Fault, ended: Ended) -> str:
    """What came of the messages; raises BrokenPromiseError for what must not."""
    mailer = scene.mailer
    _must(ended != HUNG, "it did not end")
    _must(not mailer.wrong, mailer.wrong)
    if not (fault.what == "KILL" and (scene.named or scene.quarantine.exists())):
        _must(scene.left == [], f"left behind: {scene.left}")
    _must(ended.status in (0, TEMPFAIL) or (ended.status < 0 and fault.is_signal), "its status")
    worst = [_of(scene, fault, ended, number) for number in range(MESSAGES)]
    for reply in mailer.heard:
        refusal = reply.startswith(REFUSED) and reply == mailer.replies.get(INFECTED)
        _must(not reply.startswith(b"5") or refusal, f"a refusal for good: {reply!r}")
    scene.twice = DOUBTFUL in worst
    scene.kept = [number for number, each in enumerate(worst) if each != DONE]
    if ended.status < 0:
        return KILLED_AFTER if DOUBTFUL in worst or STORED in worst else KILLED
    return next(each for each in (DOUBTFUL, STORED, KEPT, DONE) if each in worst)


def _of(scene: SessionScene, fault: Fault, ended: Ended, number: int) -> str:
    """What came of that message."""
    reply = scene.mailer.replies.get(number, b"")
    copies = scene.taken(number)
    for copy in copies:
        _must(copy == content(number), f"not the message as it came: {copy[:200]!r}")
    _must(len(copies) <= 1, f"{len(copies)} copies")
    _must(scene.was_proved(number) or not copies, "done without the scanner's proof")
    if number == INFECTED:
        _must(content(number) not in scene.delivered, "infected mail was delivered")
    if reply.startswith(b"2"):
        _must(len(copies) == 1, f"nobody has what was taken: {reply!r}")
        return DONE
    if reply.startswith(REFUSED) and number == INFECTED:
        _must(scene.was_proved(number), "refused without the scanner's proof")
        return DONE
    if not copies:
        return KEPT
    if number == INFECTED and scene.stored:  # by its queue ID the next try finds it
        return STORED
    unheard = not reply and (fault.what == "KILL" or fault.call.name in SAYS)
    _must(b"possible duplicate" in reply or unheard, f"taken, and kept without a word: {reply!r}")
    return DOUBTFUL


def tried_again(scene: SessionScene, before: list[str], ended: Ended) -> None:
    """Raise BrokenPromiseError unless the next try is done; before is what was left then."""
    _must(ended.status == 0 and not scene.mailer.wrong, f"the next try came to nothing: {ended}")
    for number in range(MESSAGES):
        copies = scene.taken(number)
        if number in scene.kept:
            reply = scene.mailer.replies.get(number, b"")
            refused = number == INFECTED and reply.startswith(REFUSED)
            _must(refused or reply.startswith(b"2"), f"the next try is told {reply!r}")
        else:
            refused = number == INFECTED and not copies
        _must(len(copies) == (0 if refused else 1), f"{len(copies)} copies after the next try")
    _must(set(scene.left) <= set(before), f"left behind by the next try: {scene.left}")


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)
