"""What a scanner can say (a verdict), what it said (a finding), and who said it (an answer)."""

from __future__ import annotations

from avcheck.exits import SYSTEM
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

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

# Something was found in the message.
ALERTS = (INFECTED, SUSPICIOUS, POLICY)


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The worst of them; None if there is none."""
    return min(verdicts, key=lambda verdict: verdict.rank, default=None)


class Finding:
    """What a scanner's reply means.

    names are the signatures in the scanner's order without duplicates, text its
    own words (for a FAILED one: the reason), both printable and short from here
    on; code is the enhanced status code to defer with.
    """

    __slots__ = ("code", "names", "text", "verdict")

    def __init__(
        self,
        verdict: Verdict,
        names: tuple[bytes, ...] = (),
        text: bytes | str = b"",
        code: str = SYSTEM,
    ) -> None:
        self.verdict: Final = verdict
        self.names: Final = tuple(dict.fromkeys(printable(name, NAME_MAX) for name in names))
        self.text: Final = printable(text)
        self.code: Final = code


class Answer:
    """What came of asking a scanner: its type, its address, what it found, how long it took.

    asked is false if the scanner never got to see the message, tested is true if it has
    just passed the known-answer test.
    """

    __slots__ = ("asked", "finding", "scanner", "seconds", "tested", "where")

    def __init__(
        self,
        scanner: str,
        where: str,
        finding: Finding,
        seconds: float = 0.0,
        *,
        asked: bool = True,
        tested: bool = False,
    ) -> None:
        self.scanner: Final = scanner
        self.where: Final = where
        self.finding: Final = finding
        self.seconds: Final = seconds
        self.asked: Final = asked
        self.tested: Final = tested
