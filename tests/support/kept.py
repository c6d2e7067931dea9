"""Messages in a quarantine, as avcheck puts them there, and an administrator at them."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

from avcheck import quarantine, spool
from avcheck.directory import Directory
from avcheck.options import reading
from avcheck.run import Run
from avcheck.verdict import INFECTED, Answer, Finding
from tests.support.admin import Said, avcheckctl
from tests.support.tree import ROOT

MAIL = b"Subject: hello\n folded\nX-Odd: \x1b[2J\n\n.\n..dots\nbody\n"
SENDER = "anna@example.com"
RECIPIENTS = ["bert@example.net", "carl@example.net"]

SCRIPT = ROOT / "scripts" / "infected.sh"


def load(path: bytes) -> bytes:
    raise AssertionError("there is no configuration file")


# Each message has its own, or the second would be found to be there already.
queue_ids = (f"4QUEUE{number}" for number in itertools.count())


def keep(
    place: Path,
    message: bytes = MAIL,
    sender: str = SENDER,
    recipients: list[str] = RECIPIENTS,
    sendmail: str = "",
    called: Path = Path("/bin/avcheck"),
) -> str:
    """Have avcheck put a message into the quarantine; the name of the entry.

    Without sendmail the sidecar does not say how to release it.
    """
    words = ["-f", sender, "-s", "clamd", "-d", str(place.parent), "--queue-id", next(queue_ids)]
    words += [*(["-S", sendmail] if sendmail else []), "--"]
    settings = reading.read([os.fsencode(word) for word in (*words, *recipients)], load)
    finding = Finding(INFECTED, (b"Eicar",), b"stream: Eicar FOUND")
    answer = Answer("clamd", "", finding)
    with (
        Directory(bytes(place.parent)) as directory,
        spool.Message(directory, b"", False) as mail,
    ):
        mail.add(message)
        mail.complete()
        name = quarantine.store(mail, answer, settings, Run(bytes(called)), bytes(place))
    if not sendmail:
        about = place / name / "about.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "sendmail": ""}))
    return name


def ctl(place: Path, what: str, *words: str | os.PathLike[str]) -> Said:
    return avcheckctl("quarantine", what, "--directory", place, *words)


def log(place: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (place / ".log").read_text().splitlines()]
