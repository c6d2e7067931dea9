"""The section of docs/faults.md about what was done to conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.campaigns.rot import oracle
from tests.campaigns.rot.campaign import MISSED, VIOLATION

TITLE = "The conversation"

TEXT = """`make rot` (`python -m tests.campaigns rot --markdown`) repeats this (a quarter of an
hour).

A proxy passes on what avcheck and a server send to each other, and damages one byte of it; the next
run damages the next byte, in both directions. The servers are real: a clamd that gets a
clean or an infected message by an open descriptor (which is passed on), as a stream over TCP, or by
path; a c-icap; a Postfix and an Exim that accept mail, and a Postfix that refuses it at the final
dot. One is a small SMTP server in Python, because it is faster.

{kinds}

That is done with clamd and with the small SMTP server. With c-icap, Postfix and Exim, the
connection breaks at every byte that avcheck sends, and each byte of the replies (with Exim and the
Postfix that refuses, of the last replies) is cut off, has a bit flipped, and gets one more of these
faults; so does each byte that avcheck sends to a mail server. (Of the header lines that avcheck
puts before a message for scanners, which are always the same, every 200th byte.) The same is done
on both sides of avcheck-smtp, with a message in a session: between it and the next hop, and between
a client and it.

After each run it is checked that nothing was delivered without the scanner's complete reply for
clean; that no infected message was delivered; that the status is 0 or 75 and no output begins with
5; that the message is unchanged, in one place, or still the MTA's; and that nothing is left in the
spool directory.

- *done*: handed on, or, if infected, with the handler; once, unchanged, and the status is 0.
- *kept*: the MTA keeps the message, and nobody else has it.
- *possible duplicate*: both, and the text says so: after the final dot nobody can know.
- *to the handler*: a clean message for which the damaged reply says that it is infected or too
  large.
- *not reached*: the conversation was over before that byte.

The following cannot be noticed in these protocols, because they have no checksum. The cure is TLS
(`-s clamd+tls:...`, `--tls require`), or a socket on the same host.

- *scanner shown something else*: a byte of the infected message, or of what says how long it is,
  was damaged on its way to clamd, which rightly found nothing in what it got. {same}
- *taken changed*: a byte of the message or of an address was damaged on the way to the mail server
  (or to avcheck-smtp), which accepted what it got.
- *a yes that came as a no* (the MTA keeps a message that was handed on as well), *a no that came as
  a yes* (the message is lost): the first digit of the last reply was damaged, and the server does
  not repeat it in an enhanced code (`250 2.0.0`). Postfix does, Exim does not. Where the two
  contradict each other, avcheck keeps the message and says *possible duplicate*.

{count} runs, {violations} violations.

### By conversation

{scenes}

### By what happened, with a scanner

{scanner}

### By what happened, with a mail server

{server}
"""

KINDS = {
    "cut": "the line breaks before the byte, and both ends are told (FIN)",
    "reset": "the same with RST",
    "half cut": "this direction ends, and the other goes on",
    "held ...": "the byte and what follows comes when avcheck does nothing but wait for it; just "
    "before or after avcheck's time is up; when avcheck has ended",
    "split": "from there on every byte comes alone",
    "said twice": "the byte",
    "turn said twice": "everything since the other side spoke, up to the byte",
    "bit flipped": "each of the eight",
    "changed": "to each of a dozen bytes that mean something somewhere; to a few of them on the "
    "way there, and in SMTP; in a clean reply of clamd to each of 255, unless it has a path in it",
    "removed": "the byte",
    "inserted": "each of these before the byte",
}


COLUMNS = (*oracle.OUTCOMES, MISSED, VIOLATION)

# How many runs of a scene came to an outcome, by what was done and that outcome.
Tally = Mapping[tuple[str, str], int]


def text(tallies: Mapping[str, Tally], tried: int, same: int) -> str:
    """The section about these scenes.

    tried is how many scans that were blind clamdscan was tried on, same how many of those it
    was blind in as well.
    """
    scanner = [tally for scene, tally in tallies.items() if not scene.startswith("SMTP")]
    server = [tally for scene, tally in tallies.items() if scene.startswith("SMTP")]
    by_outcome = {scene: outcomes(tally) for scene, tally in tallies.items()}
    total = sum(by_outcome.values(), Counter[str]())
    return TEXT.format(
        kinds="\n".join(f"- *{kind}*: {what}." for kind, what in KINDS.items()),
        same=f"clamdscan, with the same byte changed, says OK as well: {same} of {tried}.",
        count=total.total(),
        violations=total[VIOLATION],
        scenes=table("conversation", by_outcome),
        scanner=table("what, where", by_kind(scanner)),
        server=table("what, where", by_kind(server)),
    )


def outcomes(tally: Tally) -> Counter[str]:
    """The same by outcome alone."""
    found: Counter[str] = Counter()
    for (_, outcome), count in tally.items():
        found[outcome] += count
    return found


def by_kind(tallies: list[Tally]) -> dict[str, Counter[str]]:
    """The outcomes of everything that was done, in all of these together."""
    found: dict[str, Counter[str]] = {}
    for tally in tallies:
        for (kind, outcome), count in tally.items():
            found.setdefault(kind, Counter())[outcome] += count
    return dict(sorted(found.items()))


def table(heading: str, rows: Mapping[str, Counter[str]]) -> str:
    """Markdown: a column for each outcome that there was."""
    total = sum(rows.values(), Counter[str]())
    columns = [each for each in COLUMNS if total[each] or each == VIOLATION]
    lines = [
        f"| {heading} | runs | {' | '.join(columns)} |",
        "|:---|" + "---:|" * (len(columns) + 1),
    ]
    for name, counts in [*rows.items(), ("**all**", total)]:
        words = [str(counts[column]) for column in columns]
        lines.append(f"| {name} | {counts.total()} | {' | '.join(words)} |")
    return "\n".join(lines)
