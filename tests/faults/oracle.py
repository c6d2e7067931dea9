"""What may come of a run that a fault has struck, and what must not."""

from __future__ import annotations

from tests.faults.scenes import Scene
from tests.faults.strike import Fault
from tests.mta import KEEP, MAIL, TEMPFAIL, Ended

# What came of the message.
DONE = "done"
KEPT = "kept"
DOUBTFUL = "possible duplicate"
KILLED = "killed"
KILLED_AFTER = "killed after commit"
OUTCOMES = (DONE, KEPT, DOUBTFUL, KILLED, KILLED_AFTER)


class BrokenPromiseError(AssertionError):
    """A promise is broken."""


def outcome(scene: Scene, fault: Fault, ended: Ended) -> str:
    """What came of the message; raises BrokenPromiseError for what must not."""
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
        _must(not fault.is_error, "died of a signal that nobody sent")
        if fault.what == "KILL":
            return KILLED_AFTER if copies else KILLED
        _must(not copies, "died of the signal with the message handed on")
        return KILLED
    if ended.status == 0:
        _must(len(copies) == 1, "status 0, and nobody has the message: lost")
        return DONE
    _must(ended.status == TEMPFAIL, "a status that is not meant")
    _must(bool(KEEP.match(ended.output)) or _silenced(fault, ended), "no 4.x.x before the words")
    if not copies:
        return KEPT
    _must(b"possible duplicate" in ended.output, "handed on, and kept: twice without a word")
    return DOUBTFUL


def _silenced(fault: Fault, ended: Ended) -> bool:
    """Whether it was the answer itself that could not be written: the status has to do."""
    return fault.call.name == "write" and fault.is_error and ended.output == b""


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)
