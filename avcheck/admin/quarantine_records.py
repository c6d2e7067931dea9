"""What the files of a quarantine say: about.json of an entry, and the log of what was done.

Both can be written by the account that avcheck runs as, which root does not trust: names,
times and texts are whatever that account wants them to be.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from avcheck import entry as form
from avcheck import files, process
from avcheck.admin.places import content

LOG = ".log"

# Of a log that is larger, which has some 200 000 lines, only the end is read.
LOG_MAX = 64 * 1024 * 1024

BEGUN = "release begun"
RELEASED = "released"
FAILED = "not released"
DELETED = "deleted"
EXPIRED = "expired"


@dataclass(frozen=True)
class Act:
    """A line of the log: what was done with an entry, by whom, and when."""

    time: str
    what: str
    entry: str
    by: str
    to: tuple[str, ...] = ()
    sendmail: str = ""
    said: str = ""


@dataclass(frozen=True)
class Entry:
    """A message in the quarantine.  Its texts come from strangers; print them printable."""

    name: str
    time: datetime
    size: int
    verdict: str = "?"
    virus: str = ""
    scanner: str = ""
    text: str = ""
    subject: str = ""
    queue_id: str = ""
    sha256: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    sendmail: str = ""
    error: str = ""
    acts: tuple[Act, ...] = field(default=())

    @property
    def age(self) -> float:
        return (datetime.now(UTC) - self.time).total_seconds()

    def released(self) -> Act | None:
        """The last release that was done, or begun and perhaps done."""
        done = self._releases()
        return done[-1] if done else None

    def sent_to(self) -> set[str]:
        """Whom it was released to, or perhaps was."""
        return {address for act in self._releases() for address in act.to}

    def _releases(self) -> list[Act]:
        done: list[Act] = []
        for act in self.acts:
            if act.what in (RELEASED, FAILED) and done and done[-1].what == BEGUN:
                done.pop()  # this is how it ended
            if act.what in (RELEASED, BEGUN):
                done.append(act)
        return done


def parse_entry(name: str, status: os.stat_result, facts: Any, acts: tuple[Act, ...]) -> Entry:
    """The entry that about.json describes; raises ValueError if avcheck does not write it so."""
    if not isinstance(facts, dict):
        raise ValueError("not as avcheck writes it")
    texts = {key: facts.get(key, "") for key in form.TEXTS}
    when, recipients = facts.get("time", ""), facts.get("recipients")
    if not isinstance(recipients, list) or not _are_texts(when, *texts.values(), *recipients):
        raise ValueError("not as avcheck writes it")
    time = datetime.strptime(when, form.TIME).replace(tzinfo=UTC)
    return Entry(name, time, status.st_size, recipients=tuple(recipients), acts=acts, **texts)


def read_log(directory: int) -> list[Act]:
    """What administrators did, in order; lines that make no sense are left out."""
    try:
        fd = files.open_regular(LOG, dir_fd=directory)
    except FileNotFoundError:
        return []
    try:
        size = os.fstat(fd).st_size
        os.lseek(fd, max(size - LOG_MAX, 0), os.SEEK_SET)
        lines = content(fd, LOG_MAX).split(b"\n")
    finally:
        os.close(fd)
    acts = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            acts.append(parse_act(json.loads(line)))
    return acts


def append_to_log(directory: int, act: Act) -> None:
    """Add a line for the act, and have it on disk."""
    facts = {name: value for name, value in vars(act).items() if value}
    line = json.dumps(facts).encode("ascii") + b"\n"
    fd = files.open_regular(LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND, directory)
    try:
        # What a power cut has left of a line does not spoil this one.
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        process.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)


def parse_act(facts: Any) -> Act:
    """The act in a line of the log; raises ValueError or TypeError if there is none."""
    if not isinstance(facts, dict) or not isinstance(to := facts.pop("to", []), list):
        raise ValueError("not as avcheckctl writes it")
    if not _are_texts(*facts.values(), *to):
        raise ValueError("not as avcheckctl writes it")
    return Act(to=tuple(to), **facts)


def _are_texts(*values: Any) -> bool:
    """Whether all are texts that can be made bytes again, as addresses have to be."""
    if not all(isinstance(each, str) for each in values):
        return False
    try:
        "".join(values).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
