"""The known-answer test: a scanner is asked about the test virus and an innocent mail."""

from __future__ import annotations

import copy
from time import monotonic
from typing import TYPE_CHECKING

from avcheck import ask, spool
from avcheck.directory import Directory
from avcheck.exits import Defer, defer_from
from avcheck.state import canary
from avcheck.verdict import CLEAN, FAILED, INFECTED

if TYPE_CHECKING:
    from avcheck.settings import Scanner, Settings
    from avcheck.verdict import Answer

# Seconds for the two mails.
PATIENCE = 30.0


def error(scanner: Scanner, settings: Settings, patience: float = PATIENCE) -> str:
    """Why the scanner is not to be trusted; empty if it is.

    patience is the seconds for the two mails together; -t may say less for one.
    To be called as the account that avcheck runs as: the spool directory is used.
    """
    until = monotonic() + patience
    mails = ((canary.virus(), INFECTED), (canary.INNOCENT, CLEAN))
    for mail, wanted in mails:
        try:
            answer = asked(scanner, settings, [mail], until - monotonic())
        except Defer as why:
            return why.text
        finding = answer.finding
        if finding.verdict is FAILED:
            return finding.text
        if finding.verdict is not wanted:
            what = "the test virus" if wanted is INFECTED else "an innocent mail"
            return f"{answer.where}: {what} is {finding.verdict.name}: {finding.text}"
    return ""


def asked(scanner: Scanner, settings: Settings, pieces: list[bytes], patience: float) -> Answer:
    """What the scanner says about a mail of these bytes, by the way that avcheck asks it.

    Raises Defer where the spool directory cannot be used; the answer is FAILED where
    the scanner cannot.
    """
    plain = copy.copy(settings)
    plain.canary = 0.0
    with Directory(settings.spool) as directory:
        try:
            with spool.Message(directory, b"", scanner.opens_path) as message:
                for piece in pieces:
                    message.add(piece)
                message.complete()
                deadline = monotonic() + min(settings.timeout, patience)
                return ask.ask_scanner(scanner, message, plain, deadline)
        except OSError as why:
            raise defer_from(b"saving a message in " + directory.path, why) from why
