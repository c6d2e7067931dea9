"""Checks of the program that the mail system runs: avcheck, with the guard before it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import places, programs
from avcheck.admin.account import name as account_name
from avcheck.admin.calls import Call
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.output import Trouble
from avcheck.printable import printable

# For `avcheck --version`: seconds, bytes, and the environment that pipe(8) gives.
RUN_MAX = 30.0
OUTPUT_MAX = 64 * 1024
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def program(look: Look) -> Iterator[Result]:
    """The account can run avcheck itself, and the guard before it: it is made to do so."""
    call = look.service.call
    guard = call.guard if call is not None else ""
    there = True
    for path in filter(None, (guard, look.service.program)):
        with look.acting():
            allowed = os.access(path, os.X_OK, effective_ids=True)
        if not os.path.exists(path):
            remedy = f"install avcheck again{(call and f', or correct {call.where}') or ''}"
            if call is not None and path == guard:
                remedy = _put(_own_guard(call), guard)
            yield Result(ERROR, f"{printable(path)}: not there", remedy)
            there = False
        elif not allowed:
            text = f"{printable(path)}: the account that is to run it may not"
            yield Result(ERROR, text, f"namei -l {printable(path)}")
            there = False
    if not there or not look.service.program:
        return
    if may_be_run(look):
        yield _runs(look)
    else:
        text = "avcheck is not run as root, to see whether it can be"
        yield Result(SKIPPED, text, "see pipe_user")


def may_be_run(look: Look) -> bool:
    """Whether it is known what is called, and by an account that is not root."""
    return bool(look.service.program) and (look.service.call is None or look.accounts()[0] != 0)


def _words(look: Look) -> list[str]:
    """What the mail system runs, without the arguments."""
    return list(look.service.call.words) if look.service.call else [look.service.program]


def version(look: Look) -> programs.Done:
    """A question: how the call ends that prints a version; raises OSError if it cannot be run."""
    with look.acting():
        seconds = min(RUN_MAX, look.left)
        return programs.run([*_words(look), "--version"], seconds, OUTPUT_MAX, ENVIRONMENT)


def _runs(look: Look) -> Result:
    """Whether the call prints a version, as the account, and without an environment."""
    shown = " ".join(printable(each) for each in _words(look))
    user, _ = look.accounts()
    try:
        done = look.ask(version)
    except OSError as why:
        reason = why.strerror
    else:
        if done.status == 0 and done.out.startswith((b"avcheck ", b"avcheck-smtp ")):
            return Result(OK, f"{shown} can be run")
        reason = f"status {done.status}: {printable(done.err + b' ' + done.out, 300)}"
    text = f"{shown} cannot be run by {account_name(user)}: {reason}"
    by_hand = (
        f"runuser -u {account_name(user)} -- {shown} --version\n"
        "# a Python that the account can reach: /usr/bin/python3 -m venv --clear, and install again"
    )
    return Result(ERROR, text, _mend(look) or by_hand)


def _mend(look: Look) -> str:
    """The command that lets the account run avcheck, where it is known what is in its way.

    Only in a virtual environment of root's: what is in there is avcheck's, and no secret.
    """
    program = os.path.abspath(look.service.program)
    place = os.path.dirname(os.path.dirname(program))
    try:
        if places.owner(os.fsencode(place)) != 0 or not os.path.exists(f"{place}/pyvenv.cfg"):
            return ""
        closed = _closed(place)
    except (OSError, Trouble):
        return ""
    return f"chmod -R go+rX {printable(closed)}" if closed else ""


def _closed(place: str) -> str:
    """The first directory or file below that others than its owner may not read; empty if none."""
    for directory, _, files in os.walk(place):
        if ~os.stat(directory).st_mode & 0o005:
            return directory
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path) and ~os.stat(path).st_mode & 0o004:
                return path
    return ""


def interpreter_of(script: bytes) -> bytes:
    """What the first line of the script names, #! if it names nothing; empty if it is none."""
    try:
        fd = os.open(script, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            line = os.read(fd, 256).partition(b"\n")[0]
        finally:
            os.close(fd)
    except OSError:
        return b""
    words = line.removeprefix(b"#!").split()
    return (words or [b"#!"])[0] if line.startswith(b"#!") else b""


def in_first_line(script: str, interpreter: str) -> str:
    """The command that names another interpreter there; its arguments stay."""
    return f"sed -i '1s|^#! *[^ ]*|#!{printable(interpreter)}|' {printable(script)}"


def _own_guard(call: Call) -> str:
    """The guard that came with the avcheck of the service."""
    return os.path.join(os.path.dirname(call.program), "avcheck-guard.sh")


def _put(guard: str, place: str) -> str:
    """The commands that put the guard there, whole at each moment, and after a power cut."""
    new = f"{printable(place)}.new"
    return (
        f"install -m 755 {printable(guard)} {new} && sync {new} && mv -f {new} {printable(place)}"
    )


def guard(look: Look) -> Iterator[Result]:
    """The guard is the one that came with this avcheck: an upgrade does not replace it."""
    call = look.service.call
    if call is None or not call.guard:
        return
    here = _own_guard(call)
    try:
        there, ours = read(call.guard), read(here)
    except OSError:
        return  # a package may keep no second one, and what is missing is said elsewhere
    if there == ours:
        yield Result(OK, f"{printable(call.guard)} is the one that came with avcheck")
    elif ours.startswith(there.rstrip(b"\0")):  # what a power cut leaves
        text = f"{printable(call.guard)} is empty or cut short: mail is lost or bounces"
        yield Result(ERROR, text, _put(here, call.guard))
    else:
        yield Result(
            WARNING,
            f"{printable(call.guard)} is not the one that came with avcheck",
            _put(here, call.guard),
        )


def read(path: str) -> bytes:
    """The bytes of a file of ours; raises OSError."""
    with open(path, "rb") as file:
        return file.read()
