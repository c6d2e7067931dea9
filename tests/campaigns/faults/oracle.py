"""What may come of a run that a fault has struck, and what must not."""

from __future__ import annotations

import re

from tests.campaigns.faults.scenes import Scene
from tests.campaigns.faults.strike import HUNG, Fault
from tests.support.mta import KEEP, MAIL, TEMPFAIL, Ended

# What came of the message.
DONE = "done"
KEPT = "kept"
DOUBTFUL = "possible duplicate"
KILLED = "killed"
KILLED_AFTER = "killed after commit"
STORED = "stored, and kept"
OUTCOMES = (DONE, KEPT, STORED, DOUBTFUL, KILLED, KILLED_AFTER)

# After these the MTA's next try is looked at, too: it makes the one copy, or finds it stored.
TRIED_AGAIN = (KEPT, KILLED, STORED)

# What makes Postfix forget the status.
STATUS_CODE = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}\s")


class BrokenPromiseError(AssertionError):
    """A promise is broken."""


def outcome(scene: Scene, fault: Fault, ended: Ended) -> str:
    """What came of the message; raises BrokenPromiseError for what must not."""
    _must(ended != HUNG, "it did not end")
    copies = scene.copies
    for copy in copies:
        _must(copy == MAIL, f"not the message as it came: {copy[:200]!r}")
    _must(len(copies) <= 1, f"{len(copies)} copies")
    _must(scene.proved or not copies, "done without the scanner's proof")
    if scene.handler or scene.quarantine.exists():
        _must(not (scene.smtp and scene.smtp.messages), "infected mail was delivered")
    _must(not ended.output.startswith(b"5"), "the output bounces the mail")
    if not (fault.what == "KILL" and (scene.named or scene.quarantine.exists())):
        _must(scene.left == [], f"left behind: {scene.left}")

    if ended.status < 0:
        _must(fault.is_signal, "died of a signal that nobody sent")
        if fault.what == "KILL":
            after = STORED if scene.known_again else KILLED_AFTER
            return after if copies else KILLED
        _must(not copies, "died of the signal with the message handed on")
        return KILLED
    if ended.status == 0:
        _must(len(copies) == 1, "status 0, and nobody has the message: lost")
        return DONE
    _must(ended.status == TEMPFAIL, "a status that is not meant")
    _must(_keeps(scene, fault, ended), "no 4.x.x before the words")
    if not copies:
        return KEPT
    if scene.known_again:
        return STORED
    _must(b"possible duplicate" in ended.output, "handed on, and kept: twice without a word")
    return DOUBTFUL


def tried_again(scene: Scene, before: list[str], ended: Ended) -> None:
    """Raise BrokenPromiseError unless the next try is done; before is what was left then."""
    _must(ended.status == 0, f"the next try came to nothing: {ended}")
    copies = scene.copies
    _must(copies == [MAIL], f"{len(copies)} copies after the next try")
    _must(scene.proved, "done without the scanner's proof at the next try")
    _must(set(scene.left) <= set(before), f"left behind by the next try: {scene.left}")


def _keeps(scene: Scene, fault: Fault, ended: Ended) -> bool:
    """Whether the output makes Postfix keep the message, or the status at least."""
    if KEEP.match(ended.output):
        return True
    # The answer itself may be what could not be written, or not all of it; and a Python that
    # cannot start says so before the guard does.
    unwritten = fault.call.name == "write" and not fault.is_signal
    return (unwritten or scene.guarded) and not STATUS_CODE.match(ended.output)


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)
