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
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Mapping, Sequence

    from avcheck.verdict import Verdict

DELIVER = "deliver"  # hand the message on
HANDLE = "handle"  # run the handler
DEFER = "defer"  # leave it to the MTA

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


def worst(findings: Sequence[Finding]) -> Finding:
    """The finding that decides: the first of the worst ones.

    Nobody asked means nobody answered: no finding at all is FAILED.
    """
    if not findings:
        return Finding(FAILED, (), "no scanner was asked")
    return min(findings, key=lambda finding: finding.verdict.rank)


def decide(findings: Sequence[Finding], on: Mapping[Verdict, str] = DEFAULT) -> str:
    """What to do with the message that the findings are about."""
    return on[worst(findings).verdict]
