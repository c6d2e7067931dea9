"""The quarantine directory, as avcheck.quarantine and infected.sh make it, and its log.

QUARANTINE/20260102T030405Z-0123456789ab/message       as received
QUARANTINE/20260102T030405Z-0123456789ab/about.json    the rest
QUARANTINE/.log      what administrators did: a line of JSON each
QUARANTINE/.lock     held by one who changes something
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from avcheck import report, spool
from avcheck.admin import account, hold
from avcheck.admin.output import Trouble
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.waitfile import TIME

LOG = ".log"
LOCK = b".lock"
NEW = ".new"

STAMP = "%Y%m%dT%H%M%SZ"

# For syslog: LOG_MAIL and LOG_NOTICE.
NOTICE = 21

# Far more than a sidecar of thousands of recipients.
SIDECAR_MAX = 4 * 1024 * 1024

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
    queue_id: str = ""
    sha256: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    sendmail: str = ""
    wrong: str = ""
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


class Quarantine:
    """An open quarantine directory.  Use it within opened()."""

    def __init__(self, directory: spool.Directory) -> None:
        self.path = directory.path
        self.fd = directory.fd
        self._log: dict[str, list[Act]] | None = None

    def entries(self) -> list[Entry]:
        """All entries, the oldest first."""
        names = [name for name in os.listdir(self.fd) if not name.startswith(".")]
        found = [self._entry(name) for name in names]
        return sorted((each for each in found if each), key=lambda each: (each.time, each.name))

    def one(self, beginning: str) -> Entry:
        """The entry whose name begins so; raises Trouble if that is none, or more than one."""
        names = [name for name in os.listdir(self.fd) if not name.startswith(".")]
        fitting = [name for name in names if name.startswith(beginning) and beginning]
        if beginning in names:
            fitting = [beginning]
        where = printable(self.path)
        if len(fitting) > 1:
            raise Trouble(
                f"{printable(beginning)}: {len(fitting)} entries begin so", "write more of the name"
            )
        entry = self._entry(fitting[0]) if fitting else None
        if entry is None:
            raise Trouble(
                f"{printable(beginning)}: no such entry in {where}",
                f"avcheckctl quarantine list --directory {where}",
            )
        return entry

    def _entry(self, name: str) -> Entry | None:
        """The entry of that name, or None if it is none, or gone meanwhile."""
        try:
            status = os.stat(f"{name}/message", dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return None
        acts = tuple(self.log().get(name, ()))
        try:
            with open(self._open(f"{name}/about.json"), "rb") as file:
                facts = json.loads(file.read(SIDECAR_MAX))
            return _entry(name, status, facts, acts)
        except (OSError, ValueError, RecursionError) as why:
            when = datetime.fromtimestamp(status.st_mtime, UTC)
            wrong = f"about.json: {printable(str(why), 100)}"
            return Entry(name, when, status.st_size, wrong=wrong, acts=acts)

    def _open(self, name: str) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=self.fd)

    def message(self, entry: Entry) -> int:
        """A descriptor of the message as received; raises Trouble if it cannot be opened."""
        try:
            return self._open(f"{entry.name}/message")
        except OSError as why:
            raise Trouble(f"{entry.name}: {why.strerror}") from why

    def log(self) -> dict[str, list[Act]]:
        """What administrators did, by entry."""
        if self._log is None:
            self._log = {}
            for act in self.acts():
                self._log.setdefault(act.entry, []).append(act)
        return self._log

    def acts(self) -> list[Act]:
        """What administrators did, in order; lines that make no sense are left out."""
        try:
            with open(self._open(LOG), "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                found.append(_act(json.loads(line)))
        return found

    def note(self, act: Act) -> None:
        """Add to the log, durably, and tell syslog; raises Trouble if that cannot be done."""
        facts = {name: value for name, value in vars(act).items() if value}
        line = json.dumps(facts).encode("ascii") + b"\n"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(LOG, flags, 0o600, dir_fd=self.fd)
            try:
                # What a power cut has left of a line does not spoil this one.
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line
                spool.write(fd, line)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as why:
            raise Trouble(f"{printable(self.path)}/{LOG}: {why.strerror}") from why
        self._log = None
        to = f", to=<{printable('>, <'.join(act.to), 200)}>" if act.to else ""
        with contextlib.suppress(OSError):  # no syslog daemon: the log has it
            report.log(f"quarantine: {act.entry}: {act.what} by {act.by}{to}", NOTICE)

    def remove(self, entry: Entry) -> None:
        """Remove an entry: it vanishes with one rename; raises Trouble if that fails."""
        made = f"{NEW}/{entry.name}"
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(NEW, 0o700, dir_fd=self.fd)
            os.rename(entry.name, made, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            inside = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
            try:
                for name in os.listdir(inside):
                    os.unlink(name, dir_fd=inside)
            finally:
                os.close(inside)
            os.rmdir(made, dir_fd=self.fd)
            os.fsync(self.fd)
        except OSError as why:
            raise Trouble(f"{entry.name}: cannot be removed: {why.strerror}") from why


def _entry(name: str, status: os.stat_result, facts: Any, acts: tuple[Act, ...]) -> Entry:
    """The entry of a sidecar; raises ValueError if it is not as it should be."""
    if not isinstance(facts, dict):
        raise ValueError("not as avcheck writes it")
    texts = {
        key: facts.get(key, "")
        for key in (
            "verdict", "virus", "scanner", "text", "queue_id", "sha256", "sender", "sendmail"
        )
    }  # fmt: skip
    when, recipients = facts.get("time", ""), facts.get("recipients")
    if not isinstance(recipients, list) or not _are_texts(when, *texts.values(), *recipients):
        raise ValueError("not as avcheck writes it")
    time = datetime.strptime(when, TIME).replace(tzinfo=UTC)
    return Entry(name, time, status.st_size, recipients=tuple(recipients), acts=acts, **texts)


def _act(facts: Any) -> Act:
    """The act of a line of the log; raises ValueError or TypeError if it is none."""
    if not isinstance(facts, dict) or not isinstance(to := facts.pop("to", []), list):
        raise ValueError("not as avcheckctl writes it")
    if not _are_texts(*facts.values(), *to):
        raise ValueError("not as avcheckctl writes it")
    return Act(to=tuple(to), **facts)


def _are_texts(*words: Any) -> bool:
    """Whether all of them are texts that can be bytes again, as addresses have to be."""
    if not all(isinstance(each, str) for each in words):
        return False
    try:
        "".join(words).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def opened(path: str, change: bool = False) -> Iterator[Quarantine]:
    """The quarantine, as its owner; with change, no other administrator is at it meanwhile.

    Raises Trouble if there is none or if it is not safe, and turns what avcheck raises
    within the with block into Trouble.
    """
    name = os.fsencode(os.path.abspath(path))
    with account.owner_of(name):
        try:
            with spool.Directory(name, "quarantine", 0o007) as directory:
                if not change:
                    yield Quarantine(directory)
                    return
                with hold.locked(name + b"/" + LOCK, name):
                    yield Quarantine(directory)
        except Defer as why:
            raise Trouble(why.text) from why
