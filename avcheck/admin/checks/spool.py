"""Checks of the spool directory."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator
from time import time

from avcheck.admin import amounts
from avcheck.admin.account import SHARED, name
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result, Skip, misplaced
from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.printable import printable

# File systems of other machines: their locks and O_EXCL are not to be relied on.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"}

# How many of the largest messages should fit, and the size of one where it is not known.
MESSAGES = 10
SIZE = 10_240_000  # Postfix's default

# Files below which there is hardly room for the messages of a moment.
INODES = 100

OLD = 24 * 3600  # seconds; no run takes that long


def spool_usable(look: Look) -> Iterator[Result]:
    """The directory is there, and avcheck finds it safe."""
    path = look.settings.spool
    look.accounts()
    if unsafe := misplaced(path):
        yield unsafe
        return
    error = ""
    with look.acting():
        try:
            with Directory(path):
                if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
                    error = f"spool {printable(path)}: not writable"
        except Defer as why:
            error = why.text
    if error:
        yield Result(ERROR, error, f"install -d {_modes(look)} {printable(path)}")
    else:
        yield Result(OK, f"spool {printable(path)} is there and safe")


def _modes(look: Look) -> str:
    """The options of install(1) for a spool directory of the account that runs avcheck."""
    user, group = "avclient", "avgroup"
    call = look.service.call
    if call is not None and look.service.runs_as[0] != 0 and call.user:
        user = call.user
        group = call.group or group_name(look.service.runs_as[1])
    return f"-o {printable(user)} -g {printable(group)} -m 0710"


def group_name(gid: int | None) -> str:
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
    if look.service.call is None or user == 0:  # never hand it to root; pipe_user says so
        return
    place = printable(look.settings.spool)
    if look.spool_owner not in (user, 0):
        owner = look.spool_owner
        text = f"spool {place} belongs to {name(owner)}, and avcheck runs as {name(user)}"
        yield Result(ERROR, text, _one_account(look, owner, user))
        return
    _status(look)
    yield Result(OK, f"spool {place} belongs to the account that runs avcheck")


def _one_account(look: Look, owner: int, user: int) -> str:
    """How the service and the spool directory get the same account.

    An account that others use, too, does not get what is avcheck's.
    """
    place = printable(look.settings.spool)
    if name(user) in SHARED and name(owner) not in SHARED:
        try:
            group = os.stat(look.settings.spool).st_gid
        except OSError:
            group = None
        return f"user={name(owner)}{f':{group_name(group)}' if group is not None else ''}"
    return f"chown -h {name(user)} {place}"


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
    if facts.f_files and facts.f_favail < INODES:
        text = f"spool {place} has room for {facts.f_favail} files only (inodes)"
        yield Result(WARNING if facts.f_favail else ERROR, text, f"df -i {place}")
    elif free < size:
        yield Result(
            ERROR if free < size // MESSAGES else WARNING,
            f"spool {place} has room for {amounts.size(free)};"
            f" {MESSAGES} large messages need {amounts.size(size)}",
            f"df -h {place}",
        )
    else:
        yield Result(OK, f"spool {place} has {amounts.size(free)} free")


def spool_nameless(look: Look) -> Iterator[Result]:
    """Files without a name can be made there, so that nothing is ever left behind."""
    path = look.settings.spool
    error = ""
    with look.acting():
        try:
            os.close(os.open(path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        except (FileNotFoundError, PermissionError, NotADirectoryError) as why:
            raise unseen(look) from why
        except OSError as why:
            error = why.strerror or str(why)
    if error:
        yield Result(
            WARNING,
            f"spool {printable(path)}: no nameless files here ({error}):"
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
        fields = line.split()
        if fields[2:3] == [number] and "-" in fields:
            return fields[fields.index("-") + 1]
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
    as_user = f"runuser -u {name(user)} -- " if user else ""
    if old:
        yield Result(
            WARNING,
            f"spool {place}: {amounts.counted(len(old), 'message')} left by runs that were killed"
            " (the mail system has them still), or by a handler that took them over",
            f"{as_user}find {place} -maxdepth 1 -name 'avcheck.*' -mtime +0 -delete",
        )
    else:
        yield Result(OK, f"nothing was left behind in spool {place}")


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
