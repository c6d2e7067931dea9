"""The waitfile as avcheckctl(8) writes it.  Pure.

    clamd is restarted
    until 2026-01-02T03:04:05Z
    by root on mail.example.org since 2026-01-02T03:00:00Z
    held ...

Any file holds the mail back, even an empty one.  One of this form also says why and
until when.  Each attempt that is held back adds a dot, so that the number of them is
known in the end.
"""

from __future__ import annotations

from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The rest of a longer file is dots.
SIZE_MAX = 1024
REASON_MAX = 200

UNTIL = "until "
BY = "by "
HELD = "held "

TIME = "%Y-%m-%dT%H:%M:%SZ"


class Note:
    """What a waitfile says: reason, end and author, each empty if it says none.

    end is a time in UTC in the form of TIME, so that times can be compared as texts.
    counted is the offset of the first dot, or -1 if there is no line for dots.
    """

    __slots__ = ("by", "counted", "end", "reason")

    def __init__(self, reason: str = "", end: str = "", by: str = "") -> None:
        self.reason = reason
        self.end = end
        self.by = by
        self.counted = -1

    def render(self) -> bytes:
        """The file for this note."""
        lines = [self.reason, UNTIL + self.end if self.end else "", BY + self.by, HELD]
        return "\n".join([lines[0], *[line for line in lines[1:] if line]]).encode(
            "ascii", "replace"
        )

    def explain(self, now: str, shown: Callable[[str], str] = str) -> str:
        """Why mail is held back, and until when.

        now is the time in the form of TIME; shown makes such a time readable.
        """
        parts = [self.reason] if self.reason else []
        if self.end and self.end <= now:
            parts.append(f"this was to end at {shown(self.end)}; to end it: avcheckctl resume")
        elif self.end:
            parts.append(f"until {shown(self.end)}")
        return ", ".join(parts)


def parse(beginning: bytes) -> Note:
    """The note in the first SIZE_MAX bytes of a waitfile; never raises."""
    note = Note()
    first, _, rest = beginning.partition(b"\n")
    note.reason = printable(first, REASON_MAX)
    at = len(first) + 1
    for line in rest.split(b"\n"):
        text = printable(line, REASON_MAX)
        if line.startswith(HELD.encode()):
            note.counted = at + len(HELD)
        elif text.startswith(UNTIL) and _is_time(text.removeprefix(UNTIL)):
            note.end = text.removeprefix(UNTIL)
        elif text.startswith(BY):
            note.by = text.removeprefix(BY)
        at += len(line) + 1
    return note


def _is_time(text: str) -> bool:
    form = "".join("9" if letter.isdigit() else letter for letter in text)
    return form == "9999-99-99T99:99:99Z"
