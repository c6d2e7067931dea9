"""The quarantine directory, as avcheck.quarantine and infected.sh make it, and its log.

QUARANTINE/20260102T030405Z-0123456789ab    an entry (see avcheck.entry)
QUARANTINE/.log      what administrators did: a line of JSON each
QUARANTINE/.lock     held while an administrator changes something

All of it belongs to the account that avcheck runs as, which root does not trust.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace

from avcheck import entry as form
from avcheck import files, report
from avcheck.admin import amounts, locks, places, subject, walk
from avcheck.admin.output import Trouble
from avcheck.admin.quarantine_records import LOG, Act, Entry, append_to_log, parse_entry, read_log
from avcheck.directory import Directory
from avcheck.printable import printable

LOCK = b".lock"
NEW = os.fsdecode(form.NEW)

# The names that avcheck and infected.sh give their entries; nothing else is shown or touched.
NAME = re.compile(form.NAME)

# For syslog: LOG_MAIL and LOG_NOTICE.
NOTICE = 21

# Far more than a sidecar of thousands of recipients.
SIDECAR_MAX = 4 * 1024 * 1024

# How many names of what is no entry are shown.
OTHERS_MAX = 5


class NotThere(Trouble):
    """There is no quarantine directory: none of avcheck's messages has been put there yet."""


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
        """The entry whose name begins with the word, or else the one with that queue ID.

        Raises Trouble if there is none, or more than one.
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
                    return parse_entry(name, status, facts, acts)
                except (OSError, ValueError, RecursionError) as why:
                    when = amounts.moment(status.st_mtime)
                    error = f"{form.SIDECAR.decode()}: {printable(str(why), 100)}"
                    return Entry(name, when, status.st_size, error=error, acts=acts)
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
            return read_log(self.fd)
        except OSError as why:
            raise Trouble(f"{printable(self.path)}/{LOG}: {why.strerror}") from why

    def note(self, act: Act) -> None:
        """Add to the log, durably, and tell syslog; raises Trouble if that cannot be done."""
        try:
            append_to_log(self.fd, act)
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
            inside = files.open_directory(made, self.fd)
            try:
                for name in os.listdir(inside):
                    os.unlink(name, dir_fd=inside)
            finally:
                os.close(inside)
            os.rmdir(made, dir_fd=self.fd)
            os.fsync(self.fd)
        except OSError as why:
            raise Trouble(f"{entry.name}: cannot be removed: {why.strerror}") from why


@contextlib.contextmanager
def opened(path: str, change: bool = False) -> Iterator[Quarantine]:
    """The quarantine, as its owner; with change, it is locked against other administrators.

    Raises Trouble if there is none, if it is not safe, and for an OSError in the with block.
    """
    name = os.fsencode(path)
    with _walk(name) as folder, folder.acting():
        _require_safe(name, os.fstat(folder.fd))
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


def _walk(name: bytes) -> places.Folder:
    try:
        return places.walk(name)
    except FileNotFoundError as why:
        text = f"quarantine {printable(name)}: not there; it is made with the first entry"
        raise NotThere(text, "if it is elsewhere: --directory DIR") from why
    except OSError as why:
        raise places.unseen(name, why) from why


def _require_safe(name: bytes, status: os.stat_result) -> None:
    """Raise Trouble unless only its owner can see and change what is in the directory."""
    where = printable(name)
    us = os.geteuid()
    if status.st_uid not in (us, 0):
        raise Trouble(f"quarantine {where}: owned by somebody else", places.AS_ROOT)
    # The group of a directory that is ours has no business in it: see avcheck.directory.
    group = stat.S_IWGRP if status.st_uid == us else 0
    if status.st_mode & (form.OTHERS | group):
        remedy = f"chmod g-w,o= {where}" if status.st_uid == us else places.AS_ROOT
        raise Trouble(f"quarantine {where}: open to others", remedy)
