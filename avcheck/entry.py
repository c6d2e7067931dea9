"""The format of the quarantine: an entry is a directory with a message and its sidecar.

    QUARANTINE/20260102T030405Z-0123456789ab/message       as received
    QUARANTINE/20260102T030405Z-0123456789ab/about.json    the rest, which is the sidecar
    QUARANTINE/.new                                        where entries are made

quarantine and infected.sh write it; avcheckctl reads it.
"""

from __future__ import annotations

import os
from time import strftime

from avcheck.deliver import injector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from time import struct_time
    from typing import Any

    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer

MESSAGE = b"message"
SIDECAR = b"about.json"
NEW = b".new"

# What others must not be allowed in a quarantine.
OTHERS = 0o007

# An entry's name, as a regular expression and as the time that it begins with.
NAME = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}"
STAMP = "%Y%m%dT%H%M%SZ-"
END = 12  # hexadecimal digits after it

# The time in the sidecar.
TIME = "%Y-%m-%dT%H:%M:%SZ"

# What the sidecar says of the message in texts, and all that it says, in its order.
TEXTS = ("queue_id", "verdict", "virus", "scanner", "text", "sha256", "sender", "sendmail")
KEYS = ("entry", "time", "host", *TEXTS, "recipients", "size")


def name_of(now: struct_time, key: bytes) -> bytes:
    """A name for a new entry: with the key, or else with one that nobody can foresee."""
    return strftime(STAMP, now).encode() + (key or random_end())


def random_end() -> bytes:
    return os.urandom(END // 2).hex().encode()


def key_of(settings: Settings, digest: str) -> bytes:
    """The end of the name: the same for each try of a run; empty without a queue id."""
    if not settings.queue_id:
        return b""
    from hashlib import sha256

    words = (settings.queue_id, digest.encode(), settings.sender, *settings.recipients)
    return sha256(b"".join(word + b"\0" for word in words)).hexdigest()[:END].encode()


def facts(message: Message, answer: Answer, settings: Settings, called: bytes) -> dict[str, Any]:
    """What the sidecar says of the message, whenever it is stored; called is our path."""
    finding = answer.finding
    return {
        "host": os.uname().nodename,
        "queue_id": os.fsdecode(settings.queue_id),
        "verdict": finding.verdict.name,
        "virus": ", ".join(finding.names),
        "scanner": answer.scanner,
        "text": finding.text,
        "sha256": message.sha256(),
        "sender": _text(settings.sender),
        "sendmail": _text(injector.command(settings, called)),
        "recipients": [_text(recipient) for recipient in settings.recipients],
        "size": message.size,
    }


def sidecar(name: bytes, now: struct_time, known: dict[str, Any]) -> bytes:
    """The sidecar: JSON in ASCII; a byte that is no UTF-8 is written as \\udc80..\\udcff."""
    import json

    begun = {"entry": name.decode("ascii"), "time": strftime(TIME, now)}
    return json.dumps({**begun, **known}, indent=2).encode("ascii") + b"\n"


def _text(words: bytes) -> str:
    return words.decode("utf-8", "surrogateescape")
