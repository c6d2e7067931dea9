"""The findings become one action.  Pure, and total: there is an action for everything."""

from __future__ import annotations

from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    FAILED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
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


def sum_up(findings: Sequence[Finding], need: int) -> Finding:
    """One finding for all of them: the worst verdict, and all that was said with it.

    need is how many scanners have to answer.  As long as fewer did, those that FAILED
    count, too; after that they are made up for.  Nobody asked means nobody answered.
    """
    answers = [finding for finding in findings if finding.verdict is not FAILED]
    counted = answers if answers and len(answers) >= need else findings
    if not counted:
        return Finding(FAILED, (), "no scanner was asked")
    worst = min(counted, key=lambda finding: finding.verdict.rank)
    if worst.verdict is CLEAN and len(answers) < need:
        return Finding(FAILED, (), f"only {len(answers)} of {need} scanners answered")
    decisive = [finding for finding in counted if finding.verdict is worst.verdict]
    if len(decisive) == 1:
        return worst
    names = [name.encode() for finding in decisive for name in finding.names]
    total = Finding(worst.verdict, tuple(names), "; ".join(each.text for each in decisive))
    total.code = worst.code
    total.scanner = ",".join(dict.fromkeys(each.scanner for each in decisive))
    total.where = ",".join(each.where for each in decisive)
    total.asked = any(each.asked for each in decisive)
    total.seconds = max(each.seconds for each in decisive)
    return total


def has_quorum(findings: Sequence[Finding], need: int) -> bool:
    """Whether as many scanners have answered as need to."""
    return sum(finding.verdict is not FAILED for finding in findings) >= need
