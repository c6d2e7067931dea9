"""What a scanner can say, and the record of what it said."""

from __future__ import annotations

from avcheck.exits import SYSTEM
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# A signature name: the longest of ClamAV's official ones has about 90 characters.
NAME_MAX = 120


class Verdict:
    """One of the seven answers; the lower the rank, the worse.

    Not an enum.Enum: importing enum costs a third of the bare interpreter's
    start (2.3 ms of 7.4 ms, CPython 3.11), for every message.
    """

    __slots__ = ("name", "rank")

    def __init__(self, rank: int, name: str) -> None:
        self.rank = rank
        self.name = name

    def __repr__(self) -> str:
        return self.name.upper()


INFECTED = Verdict(0, "infected")
SUSPICIOUS = Verdict(1, "suspicious")  # heuristics
POLICY = Verdict(2, "policy")  # potentially unwanted, macro, data loss prevention
FAILED = Verdict(3, "failed")  # no verdict: dead, silent, cut off, not understood
ENCRYPTED = Verdict(4, "encrypted")
UNSCANNABLE = Verdict(5, "unscannable")  # over a limit, corrupt, partial
CLEAN = Verdict(6, "clean")

VERDICTS = (INFECTED, SUSPICIOUS, POLICY, FAILED, ENCRYPTED, UNSCANNABLE, CLEAN)  # worst first


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The worst of them; None if there is none."""
    return min(verdicts, key=lambda verdict: verdict.rank, default=None)


class Finding:
    """What one scanner said about the message.

    names are the signatures in the scanner's order without duplicates, text its
    own words (for a FAILED one: the reason), both printable and short from here
    on.  scanner, where (its address), seconds, and tested (it has just passed the
    known-answer test) are filled in by ask, and asked, which is false if the scanner never
    got to see the message; code is the enhanced status code to defer with.
    """

    __slots__ = (
        "asked",
        "code",
        "names",
        "scanner",
        "seconds",
        "tested",
        "text",
        "verdict",
        "where",
    )

    def __init__(
        self,
        verdict: Verdict,
        names: tuple[bytes, ...] = (),
        text: bytes | str = b"",
        code: str = "",
    ) -> None:
        self.verdict = verdict
        self.names = tuple(dict.fromkeys(printable(name, NAME_MAX) for name in names))
        self.text = printable(text)
        self.code = code or SYSTEM
        self.scanner = ""
        self.where = ""
        self.seconds = 0.0
        self.tested = False
        self.asked = True
