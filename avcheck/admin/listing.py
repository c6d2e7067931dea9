"""What is shown of the entries of a quarantine: to a person, and to a program."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from avcheck.admin import amounts, cells, subject
from avcheck.admin.cells import Styled
from avcheck.admin.quarantine_records import BEGUN, Act, Entry
from avcheck.printable import printable

HEADER = ("ENTRY", "AGE", "VERDICT", "FOUND", "SIZE", "FROM", "TO", "STATE", "SUBJECT")


def matches(entry: Entry, text: str) -> bool:
    """Whether the text is in one of the texts that a person would look for."""
    texts = (entry.sender, *entry.recipients, entry.subject, entry.virus, entry.queue_id)
    return any(text.lower() in each.lower() for each in texts)


def row(entry: Entry) -> list[str | Styled]:
    """The entry in a line of a list."""
    more = f" and {len(entry.recipients) - 1} more" if len(entry.recipients) > 1 else ""
    last = entry.released()
    state: str | Styled = ""
    if last is not None:
        colour = cells.DOUBTFUL if last.what == BEGUN else cells.GOOD
        state = Styled(printable(f"{last.what} by {last.by}", 80), colour)
    return [
        entry.name,
        amounts.age(entry.age),
        Styled(printable(entry.verdict, 12), cells.BAD),
        printable(entry.virus or entry.error or "-", 40),
        amounts.size(entry.size),
        f"<{printable(entry.sender, 40)}>",
        (f"<{printable(entry.recipients[0], 40)}>{more}" if entry.recipients else "-"),
        state,
        printable(subject.plain(entry.subject), 70),
    ]


def details(entry: Entry) -> list[tuple[str, str | Styled]]:
    """All that is known of the entry."""
    rows: list[tuple[str, str | Styled]] = [
        ("Entry", entry.name),
        ("Time", f"{amounts.local(entry.time.isoformat())} ({amounts.age(entry.age)} ago)"),
        ("Verdict", Styled(printable(entry.verdict), cells.BAD)),
        ("Found", printable(entry.virus)),
        ("Scanner", printable(entry.scanner)),
        ("It said", printable(entry.text)),
        ("Queue ID", printable(entry.queue_id)),
        ("From", f"<{printable(entry.sender)}> (often forged)"),
        *[("To", f"<{printable(each)}>") for each in entry.recipients],
        ("Subject", printable(subject.plain(entry.subject))),
        ("Size", f"{entry.size} bytes"),
        ("SHA-256", printable(entry.sha256)),
    ]
    if entry.error:
        rows.append(("Error", Styled(entry.error, cells.DOUBTFUL)))
    for each in entry.acts:
        to = f" to {', '.join(printable(address, 80) for address in each.to)}" if each.to else ""
        said = f": {each.said}" if each.said else ""
        when = amounts.local(each.time)
        rows.append(("Log", printable(f"{when} {each.what}{to} by {each.by}{said}", 4000)))
    return rows


def facts(entry: Entry) -> dict[str, Any]:
    """The entry for a program; addresses are as they came."""
    found = asdict(entry)
    return {
        "entry": found.pop("name"),
        **found,
        "time": entry.time.isoformat(),
        "acts": [act(each) for each in entry.acts],
    }


def act(done: Act) -> dict[str, Any]:
    """What was done with an entry, for a program."""
    return asdict(done)
