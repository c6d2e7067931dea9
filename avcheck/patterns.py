"""What an administrator gives as parameters of a scanner: regular expressions, by verdict."""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# The parameters that are named after what they mean.
MEANINGS = {
    "infected": INFECTED,
    "suspicious": SUSPICIOUS,
    "policy": POLICY,
    "encrypted": ENCRYPTED,
    "unscannable": UNSCANNABLE,
    "clean": CLEAN,
}  # the worst first


def expression(name: str, pattern: bytes, flags: int) -> re.Pattern[bytes]:
    """The pattern of the parameter of this name; raises Defer if it cannot be used."""
    import re
    from warnings import catch_warnings, simplefilter

    try:
        # Its warnings would precede our own text on standard error.
        with catch_warnings():
            simplefilter("ignore")
            return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as why:
        raise Defer(f"{name}: {why}", CONFIG) from why
