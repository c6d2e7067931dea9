"""Checks of the spool directory and of the waitfile."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from time import time

from avcheck.admin import output, pausing
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result, Skip, misplaced
from avcheck.admin.output import Trouble
from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.printable import printable

# File systems of other machines: their locks and O_EXCL are not to be relied on.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"}

# How many of the largest messages should fit, and the size of one where it is not known.
MESSAGES = 10
SIZE = 10_240_000  # Postfix's default

OLD = 24 * 3600  # seconds; no run takes that long


def spool_usable(look: Look) -> Iterator[Result]:
    """The directory is there, and avcheck finds it safe."""
    path = look.settings.spool
    look.accounts()
    if unsafe := misplaced(path):
        yield unsafe
        return
    wrong = ""
    with look.acting():
        try:
            with Directory(path):
                if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
                    wrong = f"spool {printable(path)}: not writable"
        except Defer as why:
            wrong = why.text
    if wrong:
        yield Result(ERROR, wrong, f"install -d {_modes(look)} {printable(path)}")
    else:
        yield Result(OK, f"spool {printable(path)} is there and safe")


def _modes(look: Look) -> str:
    """The options of install(1) for a spool directory of the account that runs avcheck."""
    user, group = "avclient", "avgroup"
    if look.service.pipe is not None and look.service.runs_as[0] != 0 and look.service.pipe.user:
        user = look.service.pipe.user
        group = look.service.pipe.group or _group(look.service.runs_as[1])
    return f"-o {printable(user)} -g {printable(group)} -m 0710"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int | None) -> str:
    try:
        return grp.getgrgid(gid or 0).gr_name
    except KeyError:
        return str(gid)


def spool_private(look: Look) -> Iterator[Result]:
    """Nobody but the account and its group gets into the directory."""
    status = _status(look)
    place = printable(look.settings.spool)
    if status.st_mode & 0o007:
        yield Result(WARNING, f"spool {place} is open to others", f"chmod o= {place}")
    elif status.st_mode & 0o060:
        yield Result(WARNING, f"the group can list or change spool {place}", f"chmod 0710 {place}")
    else:
        yield Result(OK, f"only its owner and its group get into spool {place}")


def spool_owner(look: Look) -> Iterator[Result]:
    """It belongs to the account that runs avcheck."""
    user, _ = look.service.runs_as
    if look.service.pipe is None or user == 0:  # never hand it to root; pipe_user says so
        return
    status = _status(look)
    place = printable(look.settings.spool)
    if status.st_uid not in (user, 0):
        text = f"spool {place} belongs to {_user(status.st_uid)}, and avcheck runs as {_user(user)}"
        yield Result(ERROR, text, f"chown {_user(user)} {place}")
    else:
        yield Result(OK, f"spool {place} belongs to the account that runs avcheck")


def spool_room(look: Look) -> Iterator[Result]:
    """There is room for some large messages."""
    try:
        with look.acting():
            facts = os.statvfs(look.settings.spool)
    except OSError as why:
        raise unseen(look) from why
    size = (look.message_size_limit or SIZE) * MESSAGES
    free = facts.f_bavail * facts.f_frsize
    place = printable(look.settings.spool)
    if free < size or (facts.f_files and facts.f_favail < 100):
        yield Result(
            ERROR if free < size // MESSAGES else WARNING,
            f"spool {place} has room for {output.size(free)};"
            f" {MESSAGES} large messages need {output.size(size)}",
            f"df -h -i {place}",
        )
    else:
        yield Result(OK, f"spool {place} has {output.size(free)} free")


def spool_nameless(look: Look) -> Iterator[Result]:
    """Files without a name can be made there, so that nothing is ever left behind."""
    path = look.settings.spool
    wrong = ""
    with look.acting():
        try:
            os.close(os.open(path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        except (FileNotFoundError, PermissionError, NotADirectoryError) as why:
            raise unseen(look) from why
        except OSError as why:
            wrong = why.strerror or str(why)
    if wrong:
        yield Result(
            WARNING,
            f"spool {printable(path)}: no nameless files here ({wrong}):"
            " a crash may leave a message behind",
            "move it to ext4, xfs, btrfs or tmpfs",
        )
    else:
        yield Result(OK, f"files in spool {printable(path)} need no name")


def spool_local(look: Look) -> Iterator[Result]:
    """It is on a file system of this machine."""
    with look.acting():
        kind = _file_system(look.settings.spool)
    place = printable(look.settings.spool)
    if kind in REMOTE:
        yield Result(ERROR, f"spool {place} is on {kind}", "move it to a local disk")
    elif kind:
        yield Result(OK, f"spool {place} is on a local file system ({kind})")
    else:
        raise unseen(look)


def _file_system(path: bytes) -> str:
    """The type of the file system that the path is on, by /proc/self/mountinfo."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            lines = mounts.read().splitlines()
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    return kind_of(lines, number)


def kind_of(lines: list[str], number: str) -> str:
    """The type of the file system with that device number, or nothing."""
    for line in lines:
        words = line.split()
        if words[2:3] == [number] and "-" in words:
            return words[words.index("-") + 1]
    return ""


def spool_left_behind(look: Look) -> Iterator[Result]:
    """There is no message that a killed run has left."""
    path = look.settings.spool
    with look.acting():
        try:
            old = [
                name
                for name in os.listdir(path)
                if name.startswith(b"avcheck.")
                and time() - os.lstat(path + b"/" + name).st_mtime > OLD
            ]
        except OSError as why:
            raise unseen(look) from why
    place = printable(path)
    user, _ = look.service.runs_as
    as_user = f"runuser -u {_user(user)} -- " if user else ""
    if old:
        yield Result(
            WARNING,
            f"spool {place}: {len(old)} messages are left from runs that were killed (the mail"
            " system has them still), or by a handler that took them over and left them there",
            f"{as_user}find {place} -maxdepth 1 -name 'avcheck.*' -mtime +0 -delete",
        )
    else:
        yield Result(OK, f"nothing was left behind in spool {place}")


def waitfile(look: Look) -> Iterator[Result]:
    """Nobody else decides about the waitfile, and it is not forgotten there."""
    settings = look.settings
    if not settings.waitfile:
        yield Result(
            WARNING,
            "there is no waitfile, so mail cannot be held back while the scanner is restarted",
            f"-w {printable(settings.spool.rstrip(b'/'))}/wait",
        )
        return
    place = pausing.Place(settings.waitfile, settings.spool)
    name = printable(settings.waitfile)
    try:
        with look.acting():
            mode = os.stat(place.parent).st_mode
        if mode & stat.S_IWOTH:
            text = f"waitfile {name}: everybody can make it, and hold back all mail"
            yield Result(ERROR, text, f"-w {printable(settings.spool.rstrip(b'/'))}/wait")
            return
        note = pausing.read(place)
    except (OSError, Trouble) as why:
        reason = why.strerror if isinstance(why, OSError) else why.message
        yield Result(ERROR, f"waitfile {name}: {reason}", "correct the path of -w")
        return
    if note is not None:
        overdue = bool(note.end) and note.end <= pausing.now()
        words = note.words(pausing.now())
        yield Result(
            ERROR if overdue else WARNING,
            f"mail is held back by {name}" + (f": {words}" if words else ""),
            f"avcheckctl resume -w {name}",
        )
    else:
        yield Result(OK, f"waitfile {name} does not exist, so mail is checked")


def _status(look: Look) -> os.stat_result:
    """Of the spool directory; raises Skip if it is not there or not safe."""
    look.accounts()
    if misplaced(look.settings.spool):
        raise unseen(look)
    try:
        with look.acting():
            return os.stat(look.settings.spool)
    except OSError as why:
        raise unseen(look) from why


def unseen(look: Look) -> Skip:
    """Another check has said what is wrong with the directory."""
    return Skip(f"spool {printable(look.settings.spool)} cannot be looked at", "see spool_usable")
