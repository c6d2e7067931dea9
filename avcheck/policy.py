"""The answers become one action.  Pure, and total: there is an action for everything."""

from __future__ import annotations

from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    FAILED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Answer,
    Finding,
    worst,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from avcheck.verdict import Verdict

DELIVER = "deliver"  # hand the message on
HANDLE = "handle"  # run the handler
DEFER = "defer"  # leave it to the MTA
REJECT = "reject"  # have the MTA bounce it
DISCARD = "discard"  # it is gone
QUARANTINE = "quarantine"  # keep it in a directory

ACTIONS = (DELIVER, HANDLE, DEFER, REJECT, DISCARD, QUARANTINE)

# Encrypted and unscannable go to the handler, because the scanner would say the
# same on every try, and letting them pass is a decision for a person.
DEFAULT: Mapping[Verdict, str] = {
    INFECTED: HANDLE,
    SUSPICIOUS: HANDLE,
    POLICY: HANDLE,
    FAILED: DEFER,
    ENCRYPTED: HANDLE,
    UNSCANNABLE: HANDLE,
    CLEAN: DELIVER,
}


def sum_up(answers: Sequence[Answer], need: int, doubt: bytes = b"") -> Answer:
    """One answer for all of them: the worst verdict, and all that was said with it.

    need is how many scanners have to answer.  Those that FAILED count only if fewer did.
    The answer is FAILED if no scanner was asked.  doubt names what makes others read another
    message in this one: what was found to be clean is not what they will read.
    """
    answer = _sum_up(answers, need)
    if doubt and answer.finding.verdict is CLEAN:
        return Answer(answer.scanner, answer.where, Finding(UNSCANNABLE, (doubt,)), answer.seconds)
    return answer


def _sum_up(answers: Sequence[Answer], need: int) -> Answer:
    given = [answer for answer in answers if answer.finding.verdict is not FAILED]
    counted = given if given and len(given) >= need else answers
    verdict = worst(answer.finding.verdict for answer in counted)
    if verdict is None:
        return Answer("", "", Finding(FAILED, (), "no scanner was asked"))
    if verdict is CLEAN and len(given) < need:
        return Answer("", "", Finding(FAILED, (), f"only {len(given)} of {need} scanners answered"))
    decisive = [answer for answer in counted if answer.finding.verdict is verdict]
    if len(decisive) == 1:
        return decisive[0]
    names = [name.encode() for each in decisive for name in each.finding.names]
    text = "; ".join(each.finding.text for each in decisive)
    return Answer(
        ",".join(dict.fromkeys(each.scanner for each in decisive)),
        ",".join(each.where for each in decisive),
        Finding(verdict, tuple(names), text, decisive[0].finding.code),
        max(each.seconds for each in decisive),
        asked=any(each.asked for each in decisive),
    )


def has_quorum(answers: Sequence[Answer], need: int) -> bool:
    """Whether as many scanners have answered as need to."""
    return sum(answer.finding.verdict is not FAILED for answer in answers) >= need
