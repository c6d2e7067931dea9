"""Messages that are easily changed on their way, and what real mail systems make of them.

avcheck changes none.  What it hands on is Case.wire by SMTP, and Case.message to a
program; CHANGES has what the receiver makes of that, with Debian 12's versions.
docs/delivery.md has the same as a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.letters import letter

HEADER = letter("").replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"


@dataclass(frozen=True)
class Case:
    """A message as pipe(8) gives it to avcheck."""

    message: bytes

    @property
    def wire(self) -> bytes:
        """The message with CRLF at the end of each line, and nothing else done to it."""
        crlf = b"\r\n" in self.message[: self.message.find(b"\n") + 1]
        lines = self.message.replace(b"\r\n", b"\n") if crlf else self.message
        end = b"" if lines.endswith(b"\n") or not lines else b"\n"
        return (lines + end).replace(b"\n", b"\r\n")


def body(text: bytes) -> Case:
    return Case(HEADER + b"\n" + text)


CASES = {
    "plain": body(b"Hello.\n"),
    "no body": Case(HEADER),
    "no header": Case(b"\nx\n"),
    "CRLF throughout": Case(body(b"Hello.\n.\n\nx\n").message.replace(b"\n", b"\r\n")),
    "CR within a line": body(b"a\rb\n\rc\n.\r.\n"),
    "CR at the end of a line": body(b"a\r\nb\r\r\nc\n"),
    "no final line end": body(b"Hello."),
    "CR in place of the final line end": body(b"Hello.\r"),
    "lone dots": body(b".\n.\n\n.\n"),
    "leading dots": body(b"..\n...\n.a\n. b\n"),
    "a last line of one dot, without end": body(b"x\n."),
    "a dot at the very beginning": Case(b".\n" + HEADER),
    "From first": Case(b"From anna@example.com Fri Jan  2 03:04:05 2026\n" + body(b"x\n").message),
    "From and >From in the body": body(b"From x\n\n>From y\n"),
    "8-bit, no UTF-8": body(bytes(range(0x80, 0x100)) + b"\n"),
    "8-bit, UTF-8": body("Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e\n".encode()),
    "UTF-8 in the header": Case(HEADER + "X-Name: J\u00fcrgen\n\nx\n".encode()),
    "a folded header": Case(HEADER + b"X-A: a\n\tb\n c\n\nx\n"),
    "a header line of 2000 bytes": Case(HEADER + b"X-Long: " + b"x" * 2000 + b"\n\ny\n"),
    "blanks at the end of lines": body(b"a \n \n\t\nb\t \n"),
    "empty lines at the end": body(b"x\n\n\n\n"),
    "a line of 2000 bytes": body(b"x" * 2000 + b"\ny\n"),
    "a line of 10 MB": body(b"x" * 10_000_000 + b"\ny\n"),
    "a line of 10 MB without end": body(b"x" * 10_000_000),
    "NUL in the body": body(b"a\0b\n\0\n\0\0.\n"),
    "NUL in the header": Case(HEADER + b"X-Nul: a\0b\n\nx\n"),
    "other control characters": body(bytes(set(range(1, 0x20)) - set(b"\r\n")) + b"\x7f\n"),
}

Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Refused:
    """The receiver does not take it, and says this; avcheck defers."""

    words: str


@dataclass(frozen=True)
class Bounced:
    """The receiver takes it, and its own client or mailer finds that it cannot be sent on."""


def same(wire: bytes) -> bytes:
    return wire


def cr_dropped(wire: bytes) -> bytes:
    return re.sub(rb"\r+\n", b"\r\n", wire)


def one_cr_dropped(wire: bytes) -> bytes:
    return wire.replace(b"\r\r\n", b"\r\n")


def cr_ends_line(wire: bytes) -> bytes:
    return re.sub(rb"\r(?!\n)", b"\r\n", wire)


def one_cr_dropped_others_end_line(wire: bytes) -> bytes:
    return cr_ends_line(one_cr_dropped(wire))


def blank_for_cr(wire: bytes) -> bytes:
    return re.sub(rb"\r(?!\n)", b" ", wire)


def empty_line_first(wire: bytes) -> bytes:
    return b"\r\n" + wire


def empty_line_last(wire: bytes) -> bytes:
    return wire + b"\r\n"


def mailbox_line(wire: bytes) -> bytes:
    return b"X-Mailbox-Line: " + wire


def first_line_dropped(wire: bytes) -> bytes:
    return wire.partition(b"\r\n")[2]


def last_dot_dropped(wire: bytes) -> bytes:
    return wire.removesuffix(b".\r\n")


def cut_at_nul(wire: bytes) -> bytes:
    return re.sub(rb"\0[^\r]*", b"", wire)


def question_mark_for_nul(wire: bytes) -> bytes:
    return wire.replace(b"\0", b"?")


CR, NUL = Refused("Bare carriage return (CR) not allowed"), Refused("NUL byte not allowed")

# The receivers: a server that is spoken SMTP to, or a program.
POSTFIX, POSTFIX_PROGRAM = "Postfix", "Postfix's sendmail -G -i"
EXIM, EXIM_PROGRAM = "Exim", "exim -G -i"
SENDMAIL, SENDMAIL_PROGRAM = "sendmail", "sendmail -G -i"

EXIM_CHANGES: dict[str, Change | Bounced] = {
    "no body": empty_line_last,
    "a dot at the very beginning": empty_line_first,
    "CR within a line": cr_ends_line,
    "a line of 2000 bytes": Bounced(),
    "a header line of 2000 bytes": Bounced(),
    "a line of 10 MB": Bounced(),
    "a line of 10 MB without end": Bounced(),
    "NUL in the header": question_mark_for_nul,
}
CHANGES: dict[str, Mapping[str, Change | Refused | Bounced]] = {
    POSTFIX: {
        "CR within a line": blank_for_cr,
        "CR at the end of a line": cr_dropped,
        "CR in place of the final line end": cr_dropped,
        "a dot at the very beginning": empty_line_first,
        "From first": mailbox_line,
        "NUL in the header": cut_at_nul,
    },
    POSTFIX_PROGRAM: {
        "CR within a line": blank_for_cr,
        "CR in place of the final line end": blank_for_cr,
        "CR at the end of a line": cr_dropped,
        "a dot at the very beginning": empty_line_first,
        "From first": first_line_dropped,
        "NUL in the header": cut_at_nul,
    },
    EXIM: {
        **EXIM_CHANGES,
        "CR at the end of a line": cr_ends_line,
        "CR in place of the final line end": cr_ends_line,
        "From first": empty_line_first,
    },
    EXIM_PROGRAM: {
        **EXIM_CHANGES,
        "CR at the end of a line": one_cr_dropped_others_end_line,
        "CR in place of the final line end": one_cr_dropped,
        "From first": first_line_dropped,
    },
    SENDMAIL: {
        "no body": empty_line_last,
        "CR within a line": CR,
        "CR at the end of a line": CR,
        "CR in place of the final line end": CR,
        "a dot at the very beginning": empty_line_first,
        "From first": first_line_dropped,
        "NUL in the body": NUL,
        "NUL in the header": NUL,
    },
    SENDMAIL_PROGRAM: {
        "no body": empty_line_last,
        "CR at the end of a line": one_cr_dropped,
        "CR in place of the final line end": one_cr_dropped,
        "a last line of one dot, without end": last_dot_dropped,
        "a dot at the very beginning": empty_line_first,
        "From first": first_line_dropped,
        "NUL in the body": Bounced(),
        "NUL in the header": Bounced(),
    },
}

# How the page calls them; "" is for what is not changed.
WORDS: dict[object, str] = {
    cr_dropped: "CR dropped",
    one_cr_dropped: "one CR dropped",
    one_cr_dropped_others_end_line: "one CR dropped, others end the line",
    cr_ends_line: "CR ends the line",
    blank_for_cr: "blank for CR",
    empty_line_first: "empty line before",
    empty_line_last: "empty line after",
    mailbox_line: "`X-Mailbox-Line: From ...`",
    first_line_dropped: "line dropped",
    last_dot_dropped: "dot dropped",
    cut_at_nul: "line ends at NUL",
    question_mark_for_nul: "`?` for NUL",
    CR: "refused, 421",
    NUL: "refused, 554",
    Bounced(): "bounced",
}


def table() -> str:
    """The table of the page: a line for each case that somebody changes."""
    lines = [["in the message", *CHANGES], ["---"] * (1 + len(CHANGES))]
    for name in CASES:
        cells = [WORDS.get(changes.get(name), "") for changes in CHANGES.values()]
        if any(cells):
            lines.append([name, *cells])
    return "".join(f"| {' | '.join(line)} |\n".replace("|  ", "| ") for line in lines)
