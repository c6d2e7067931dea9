"""A session of SMTP that is none (`exim -bh`): what the ACLs at a port say to a whole message.

Nothing of it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A message as any other, and one as sendmail(1) takes it and a strict ACL does not.
PLAIN = "plain"
ODD = "odd"
MESSAGES = {
    PLAIN: "From: <sender@example.org>\r\nTo: <recipient@example.org>\r\nSubject: avcheckctl\r\n"
    "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <avcheckctl@example.org>\r\n\r\nHello.",
    ODD: "From: somebody, of no address <>>\r\nSubject: avcheckctl\r\n\r\n" + "x" * 1200,
}

# The replies before that to DATA: the greeting, EHLO, MAIL, RCPT.
BEFORE = 4

# What becomes of a message that was taken, by a line of the log or by what an ACL does.
LOST = "is thrown away"
FROZEN = "is frozen, and waits for a person"
QUEUED = "waits for the next run of the queue"
CHANGED = "is changed"
FATES = (
    (re.compile(r"^LOG: .*(discarded|blackholed)"), LOST),
    (re.compile(r"^>>> discard: condition test succeeded"), LOST),
    (re.compile(r"^>>> check control = freeze"), FROZEN),
    (re.compile(r"^>>> check control = queue"), QUEUED),
    (re.compile(r"^>>> check control = submission"), CHANGED),
)

REPLY = re.compile(r"^(\d{3}) .*$", re.MULTILINE)
BEGINS = re.compile(r'^>>> using ACL "(.*)"')
ENDS = re.compile(r'^>>> end of ACL "')


@dataclass(frozen=True)
class Session:
    """What came of it.

    refused is the reply that refuses the message: after the message if whole is set, else
    to DATA.  fate is what becomes of it where it is taken, and acl the one that does it.
    """

    refused: str = ""
    whole: bool = True
    fate: str = ""
    acl: str = ""


def dialogue(message: str) -> bytes:
    """What the client says."""
    lines = (
        "EHLO avcheckctl.invalid",
        "MAIL FROM:<sender@example.org>",
        "RCPT TO:<recipient@example.org>",
        "DATA",
        message,
        ".",
        "QUIT",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def session(replies: str, log: str) -> Session:
    """What came of the session, by the replies and what was said beside them."""
    said = [found[0].strip() for found in REPLY.finditer(replies.replace("\r", ""))]
    after = said[BEFORE:]
    if any(reply[0] != "2" for reply in said[:BEFORE]) or not after:
        return Session()  # it came to no message
    taken = _taken(log)
    if taken.fate == LOST:
        return taken
    if not after[0].startswith("3"):
        return Session(after[0], whole=False)
    if len(after) > 1 and not after[1].startswith("2"):
        return Session(after[1])
    return taken


def _taken(log: str) -> Session:
    """What becomes of a message that was taken."""
    acls: list[str] = []
    for line in log.splitlines():
        if found := BEGINS.match(line):
            acls.append(found[1])
        elif ENDS.match(line):
            del acls[-1:]
        for pattern, fate in FATES:
            if pattern.match(line):
                return Session(fate=fate, acl=acls[0] if acls else "")
    return Session()
