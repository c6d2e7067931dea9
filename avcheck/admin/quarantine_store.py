"""The quarantine directory, as avcheck.quarantine and infected.sh make it, and its log.

QUARANTINE/20260102T030405Z-0123456789ab    an entry (see avcheck.entry)
QUARANTINE/.log      what administrators did: a line of JSON each
QUARANTINE/.lock     held by one who changes something

All of it belongs to the account that avcheck runs as, which is not root's friend: names,
times and texts are whatever that account wants them to be.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from avcheck import entry as form
from avcheck import files, report, spool
from avcheck.admin import locks, output, places, subject, walk
from avcheck.admin.output import Trouble
from avcheck.directory import Directory
from avcheck.printable import printable

LOG = ".log"
LOCK = b".lock"
NEW = os.fsdecode(form.NEW)

# The names that avcheck and infected.sh give their entries.  Others are none, and are
# neither shown nor touched.
NAME = re.compile(form.NAME)

# For syslog: LOG_MAIL and LOG_NOTICE.
NOTICE = 21

# Far more than a sidecar of thousands of recipients.
SIDECAR_MAX = 4 * 1024 * 1024

# Of a log that is larger, which has some 200 000 lines, only the end is read.
LOG_MAX = 64 * 1024 * 1024

# How many of the names that are none of ours are told.
OTHERS_MAX = 5

BEGUN = "release begun"
RELEASED = "released"
FAILED = "not released"
DELETED = "deleted"
EXPIRED = "expired"


class NotThere(Trouble):
    """There is no quarantine directory: none of avcheck's messages has been put there yet."""


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

    def __init__(self, directory: Directory | places.Folder) -> None:
        self.path = directory.path
        self.fd = directory.fd  # to be listed, too
        self._log: dict[str, list[Act]] | None = None

    def names(self) -> list[str]:
        """The names of entries that there are."""
        return [name for name in os.listdir(self.fd) if NAME.fullmatch(name)]

    def others(self) -> str:
        """A sentence about what is there and is no entry; empty if there is nothing."""
        names = sorted(
            name
            for name in os.listdir(self.fd)
            if not NAME.fullmatch(name) and name not in (LOG, NEW, LOCK.decode())
        )
        if not names:
            return ""
        told = ", ".join(printable(os.fsencode(name), 60) for name in names[:OTHERS_MAX])
        more = f", and {len(names) - OTHERS_MAX} more" if len(names) > OTHERS_MAX else ""
        return f"Not entries, and left alone: {told}{more}"

    def entries(self) -> list[Entry]:
        """All entries, the oldest first."""
        found = [self._entry(name) for name in self.names()]
        return sorted((each for each in found if each), key=lambda each: (each.time, each.name))

    def one(self, word: str) -> Entry:
        """The entry whose name begins so, or else the one of the message with that queue ID.

        Raises Trouble if that is none, or more than one.
        """
        names = self.names()
        fitting = [name for name in names if name.startswith(word) and word]
        if word in names:
            fitting = [word]
        if len(fitting) > 1:
            raise Trouble(
                f"{printable(word)}: {len(fitting)} entries begin so", "write more of the name"
            )
        where = printable(self.path)
        found = [self._entry(name) for name in fitting] or self._with_queue_id(word)
        if len(found) > 1:
            raise Trouble(
                f"{printable(word)}: {len(found)} entries have this queue ID",
                "name one of them: "
                + ", ".join(each.name for each in found[:OTHERS_MAX] if each is not None),
            )
        if not found or found[0] is None:
            raise Trouble(
                f"{printable(word)}: no such entry in {where}, nor such a queue ID",
                f"avcheckctl quarantine list --directory {where}",
            )
        return found[0]

    def _with_queue_id(self, word: str) -> list[Entry | None]:
        return [each for each in self.entries() if word and each.queue_id == word]

    def with_subject(self, entry: Entry) -> Entry:
        """The entry, and the Subject of its message, if it can be read."""
        try:
            fd = self.message(entry)
        except Trouble:
            return entry
        try:
            return replace(entry, subject=subject.of(os.pread(fd, subject.HEAD_MAX, 0)))
        except OSError:
            return entry
        finally:
            os.close(fd)

    def _entry(self, name: str) -> Entry | None:
        """The entry of that name, or None if it is none, or gone meanwhile."""
        try:
            with self._inside(name) as folder:
                status = folder.status(form.MESSAGE)
                acts = tuple(self.log().get(name, ()))
                try:
                    facts = json.loads(folder.read(form.SIDECAR, SIDECAR_MAX))
                    return _entry(name, status, facts, acts)
                except (OSError, ValueError, RecursionError) as why:
                    when = output.moment(status.st_mtime)
                    wrong = f"{form.SIDECAR.decode()}: {printable(str(why), 100)}"
                    return Entry(name, when, status.st_size, wrong=wrong, acts=acts)
        except OSError:
            return None

    def _inside(self, name: str) -> places.Folder:
        """The directory of an entry; raises OSError if it is not its owner's alone."""
        fd = os.open(name, walk.LOOK | os.O_DIRECTORY, dir_fd=self.fd)
        status = os.fstat(fd)
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & walk.OTHERS_WRITE:
            os.close(fd)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return places.Folder(os.fsencode(name), fd)

    def message(self, entry: Entry) -> int:
        """A descriptor of the message as received; raises Trouble if it cannot be opened."""
        try:
            with self._inside(entry.name) as folder:
                return files.open_regular(form.MESSAGE, dir_fd=folder.fd)
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
            fd = files.open_regular(LOG, dir_fd=self.fd)
        except FileNotFoundError:
            return []
        try:
            size = os.fstat(fd).st_size
            os.lseek(fd, max(size - LOG_MAX, 0), os.SEEK_SET)
            lines = places.content(fd, LOG_MAX).split(b"\n")
        except OSError as why:
            raise Trouble(f"{printable(self.path)}/{LOG}: {why.strerror}") from why
        finally:
            os.close(fd)
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                found.append(_act(json.loads(line)))
        return found

    def note(self, act: Act) -> None:
        """Add to the log, durably, and tell syslog; raises Trouble if that cannot be done."""
        facts = {name: value for name, value in vars(act).items() if value}
        line = json.dumps(facts).encode("ascii") + b"\n"
        try:
            fd = files.open_regular(LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND, self.fd)
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
    texts = {key: facts.get(key, "") for key in form.TEXTS}
    when, recipients = facts.get("time", ""), facts.get("recipients")
    if not isinstance(recipients, list) or not _are_texts(when, *texts.values(), *recipients):
        raise ValueError("not as avcheck writes it")
    time = datetime.strptime(when, form.TIME).replace(tzinfo=UTC)
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

    Raises Trouble if there is none or if it is not safe, and turns what the system refuses
    within the with block into Trouble.
    """
    name = os.fsencode(path)
    with _walked(name) as folder, folder.acting():
        _unless_safe(name, os.fstat(folder.fd))
        try:
            with places.Folder(name, folder.itself()) as directory:
                if not change:
                    yield Quarantine(directory)
                    return
                lock = locks.take(folder, LOCK)
                try:
                    yield Quarantine(directory)
                finally:
                    lock.release()
        except BrokenPipeError:
            raise
        except OSError as why:
            raise Trouble(f"quarantine {printable(name)}: {why.strerror or why}") from why


def _walked(name: bytes) -> places.Folder:
    try:
        return places.walk(name)
    except FileNotFoundError as why:
        text = f"quarantine {printable(name)}: not there; it is made with the first entry"
        raise NotThere(text, "if it is elsewhere: --directory DIR") from why
    except OSError as why:
        raise places.unseen(name, why) from why


def _unless_safe(name: bytes, status: os.stat_result) -> None:
    """Raise Trouble unless only its owner can see and change what is in the directory."""
    where = printable(name)
    us = os.geteuid()
    if status.st_uid not in (us, 0):
        raise Trouble(f"quarantine {where}: owned by somebody else", places.AS_ROOT)
    # The group of a directory that is ours has no business in it: see avcheck.spool.
    group = stat.S_IWGRP if status.st_uid == us else 0
    if status.st_mode & (form.OTHERS | group):
        remedy = f"chmod g-w,o= {where}" if status.st_uid == us else places.AS_ROOT
        raise Trouble(f"quarantine {where}: open to others", remedy)
