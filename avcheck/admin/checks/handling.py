"""Checks of what is done with mail."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from avcheck import handle, policy
from avcheck.admin import places
from avcheck.admin.checks.program import in_first_line, interpreter_of, read
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result, misplaced
from avcheck.admin.output import Trouble
from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN

# Of infected.sh; see its top.
SETTINGS = b"/etc/avcheck/infected.conf"


def handler(look: Look) -> Iterator[Result]:
    """There is a handler where one is needed."""
    settings = look.settings
    if all(action != policy.HANDLE for action, _ in settings.on.values()):
        return
    if settings.infected:
        names = [os.path.abspath(settings.infected)]
    elif look.service.program:
        directory = os.path.dirname(os.path.abspath(os.fsencode(look.service.program)))
        names = [directory + b"/" + name for name in handle.NAMES]
    else:
        text = (
            "which handler is run was not looked at: it is the one beside avcheck, wherever that is"
        )
        yield Result(WARNING, text, f"-i {printable(b'/path/to/' + handle.NAMES[-1])}")
        return
    with look.acting():
        usable = [name for name in names if os.access(name, os.X_OK, effective_ids=True)]
        there = bool(usable) and os.path.isfile(usable[0])
        interpreter = interpreter_of(usable[0]) if there else b""
        runs = not interpreter or os.access(interpreter, os.X_OK, effective_ids=True)
    stays = "infected mail stays in the queue"
    if there and runs:
        yield Result(OK, f"the handler is {printable(usable[0])}")
    elif there:
        text = f"the handler {printable(usable[0])} needs {printable(interpreter)}"
        text += f", which cannot be run: {stays}"
        ours = os.path.basename(usable[0]) == handle.NAMES[-1]
        shell = in_first_line(os.fsdecode(usable[0]), "/bin/sh")
        yield Result(ERROR, text, shell if ours else f"namei -l {printable(interpreter)}")
    else:
        listing = " or ".join(printable(name) for name in names)
        there = any(os.path.isfile(name) for name in names)
        last = printable(next((name for name in names if os.path.isfile(name)), names[-1]))
        why = "is not there" if not any(map(os.path.lexists, names)) else "is no file"
        why = "may not be run" if there else why
        remedy = f"chmod 755 {last}" if there else "install avcheck again, or correct -i"
        yield Result(ERROR, f"the handler ({listing}) {why}: {stays}", remedy)


def quarantine(look: Look) -> Iterator[Result]:
    """The quarantines of --on and of infected.sh are there, or can be made, and are private."""
    look.accounts()
    user = look.service.call.user if look.service.call is not None else ""
    user = printable(user) if user not in ("", "root") else "avclient"
    directories = [
        (verdict.name, directory)
        for verdict, (action, directory) in look.settings.on.items()
        if action == policy.QUARANTINE
    ]
    if any(action == policy.HANDLE for action, _ in look.settings.on.values()):
        directories += [("infected", directory) for directory in _of_handler(look)]
    for verdict_name, directory in directories:
        if unsafe := _roots(look, directory) or misplaced(directory):
            yield unsafe
            continue
        with look.acting():
            result = _directory(verdict_name, directory, user)
        yield result


def _roots(look: Look, path: bytes) -> Result | None:
    """What to say of root's quarantine in a directory of the account's, as an undo leaves it."""
    user, _ = look.accounts()
    try:
        status = os.lstat(path)
        if not user or status.st_uid or places.owner(os.path.dirname(path)) != user:
            return None
    except (OSError, Trouble):
        return None
    if not stat.S_ISDIR(status.st_mode):
        return None
    place = printable(path)
    text = f"quarantine {place} belongs to root, and avcheck cannot store in it"
    return Result(ERROR, text, f"mv -T {place} {place}.old")


def _of_handler(look: Look) -> Iterator[bytes]:
    """The quarantine of infected.sh, as its settings file or the script itself says."""
    script = look.settings.infected or os.path.join(
        os.path.dirname(os.fsencode(look.service.program)), handle.NAMES[-1]
    )
    if os.path.basename(script) != handle.NAMES[-1] or not look.settings.spool:
        return
    found = b""
    for file in (script, SETTINGS):
        try:
            lines = read(os.fsdecode(file)).splitlines()
        except OSError:
            continue  # the handler's check says so of the script
        for line in lines:
            if line.startswith(b"quarantine="):
                found = line.partition(b"=")[2].strip(b"\"' ")
                break
    if found:
        yield os.path.join(look.settings.spool, found)


def _directory(verdict: str, path: bytes, user: str) -> Result:
    place = printable(path)
    if not os.path.lexists(path):
        parent = os.path.dirname(path)
        if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            return Result(OK, f"quarantine {place} will be made for {verdict} mail")
        text = f"quarantine {place} is not there and cannot be made"
        return Result(ERROR, text, f"install -d -o {user} -m 0700 {place}")
    try:
        with Directory(path, "quarantine", 0o007):
            new = path + b"/.new"
            if os.path.lexists(new) and not os.access(new, os.W_OK | os.X_OK, effective_ids=True):
                text = f"quarantine {place}/.new: not writable for the account that runs avcheck"
                return Result(ERROR, text, f"mv -T {place} {place}.old")
            if os.access(path, os.W_OK | os.X_OK, effective_ids=True):
                return Result(OK, f"quarantine {place} takes {verdict} mail")
            text = f"quarantine {place}: not writable for the account that runs avcheck"
    except Defer as why:
        text = why.text
    return Result(ERROR, text, f"chown -h {user} {place}; chmod 0700 {place}")


def delivers_unproved(look: Look) -> Iterator[Result]:
    """Nothing is delivered that was not found clean, unless somebody wanted that."""
    found = [
        verdict.name
        for verdict, (action, _) in look.settings.on.items()
        if action == policy.DELIVER and verdict is not CLEAN
    ]
    if found:
        yield Result(
            WARNING,
            f"mail that is {', '.join(found)} is delivered",
            " ".join(f"--on {name}={_usual(name)}" for name in found),
        )
    else:
        yield Result(OK, "only clean mail is delivered")


def _usual(name: str) -> str:
    return next(action for verdict, action in policy.DEFAULT.items() if verdict.name == name)
