"""Checks of the account that pipe(8) runs avcheck as, and whether it can at all."""

from __future__ import annotations

import difflib
import grp
import pwd
from collections.abc import Iterator

from avcheck.admin.account import SHARED, name
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Pipe
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

GOOD = "user=avclient:avgroup"


def pipe_columns(look: Look) -> Iterator[Result]:
    """Its columns in master.cf let it change to the account, and see the whole file system."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    bad = False
    for field, value, why in (
        ("unprivileged", pipe.line.unprivileged, "pipe(8) cannot change to the account of user="),
        ("chroot", _chroot(postfix, pipe), "pipe(8) finds neither the program nor the account"),
    ):
        if value != "n":
            bad = True
            text = f"{pipe.name}: {field} is {value} in master.cf: {why}, and all mail waits"
            yield Result(ERROR, text, f"postconf -F '{pipe.name}/{pipe.line.type}/{field}=n'")
    if not bad:
        yield Result(OK, "the columns of the service in master.cf are right")


def _chroot(postfix: Postfix, pipe: Pipe) -> str:
    """The column; where it is left open, what Postfix does (postconf(5), compatibility_level)."""
    old = postfix.value("compatibility_level", default="0").split(".")[0] == "0"
    return pipe.line.chroot if pipe.line.chroot != "-" else "y" if old else "n"


def pipe_user(look: Look) -> Iterator[Result]:
    """avcheck runs as an account of its own, in a group of its own."""
    pipe = look.service.pipe
    if pipe is None:
        return
    if not pipe.user:
        yield Result(ERROR, "user= is missing", GOOD)
        return
    try:
        entry = pwd.getpwnam(pipe.user)
    except KeyError:
        text = f"user={printable(pipe.user)}: no such account, and all mail waits"
        yield Result(ERROR, text, _meant(look, pipe))
        return
    owner = look.postfix.value("mail_owner", default="postfix") if look.postfix else "postfix"
    if entry.pw_uid == 0 or pipe.user == owner:
        yield Result(ERROR, f"user={pipe.user}: pipe(8) refuses that, and rightly", GOOD)
    elif wrong := _group(look, pipe):
        own = _name_of_group(entry.pw_gid)
        yield Result(ERROR, wrong, f"user={pipe.user}{f':{own}' if own else ''}")
    elif pipe.user in SHARED:
        yield Result(WARNING, f"user={pipe.user}: others use that account, too", GOOD)
    else:
        yield Result(OK, f"avcheck runs as {pipe.user}")


def _meant(look: Look, pipe: Pipe) -> str:
    """The account that was meant, if one is called nearly so; else how it is made."""
    accounts = [each.pw_name for each in pwd.getpwall()]
    own = name(look.spool_owner) if look.spool_owner else ""
    near = difflib.get_close_matches(pipe.user, accounts, 1, 0.7)
    if own not in SHARED:  # the spool directory is avcheck's own already
        near = difflib.get_close_matches(pipe.user, [own], 1, 0.5) or near
    if near and near[0] not in (*SHARED, "root", "postfix"):
        return f"user={near[0]}{f':{pipe.group}' if _is_group(pipe.group) else ''}"
    return f"useradd --system --no-create-home --shell /usr/sbin/nologin {printable(pipe.user)}"


def _group(look: Look, pipe: Pipe) -> str:
    """What is wrong with the group of user=; empty if nothing is."""
    if not pipe.group:
        return ""
    named = f"user={pipe.user}:{printable(pipe.group)}"
    if not _is_group(pipe.group):
        return f"{named}: no such group, and all mail waits"
    number = grp.getgrnam(pipe.group).gr_gid
    postfix = look.postfix
    setgid = postfix.value("setgid_group", default="postdrop") if postfix else "postdrop"
    mail = postfix.value("mail_owner", default="postfix") if postfix else "postfix"
    if number == 0 or pipe.group in (setgid, mail):
        return f"{named}: pipe(8) refuses that group, and all mail waits"
    return ""


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _name_of_group(number: int) -> str:
    try:
        return printable(grp.getgrgid(number).gr_name)
    except KeyError:
        return ""
