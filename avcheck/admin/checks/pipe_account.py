"""Checks of the account that Postfix, or systemd, runs avcheck as, and whether it can at all."""

from __future__ import annotations

import difflib
import grp
import pwd
from collections.abc import Iterator
from dataclasses import replace

from avcheck.admin.account import SHARED, name
from avcheck.admin.calls import Call
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.postfix import Postfix
from avcheck.admin.spawned import Spawn, line_of
from avcheck.printable import printable

GOOD = "user=avclient:avgroup"

# The account of a unit of systemd, and the command that names another one.
EDIT = "systemctl edit {}: [Service] User=avclient Group=avgroup"


def own_account(said: str, user: str, good: str) -> Result:
    """Whether nobody else uses the account, which is in order else; said is how it is named."""
    if user in SHARED:
        return Result(WARNING, f"{said}: others use that account, too", good)
    return Result(OK, f"avcheck runs as {printable(user)}")


def pipe_columns(look: Look) -> Iterator[Result]:
    """Its columns in master.cf let it change to the account, and see the whole file system."""
    line, postfix = line_of(look.service.call), look.postfix
    if line is None or postfix is None:
        return
    bad, name = False, printable(line.name)
    for field, value, why in (
        ("unprivileged", line.unprivileged, "cannot change to the account of user="),
        ("chroot", _chroot(postfix, line), "finds neither the program nor the account"),
    ):
        if value != "n":
            bad = True
            text = f"{name}: {field} is {value} in master.cf: {line.command}(8) {why}"
            remedy = f"postconf -F '{name}/{line.type}/{field}=n'"
            yield Result(ERROR, f"{text}, and all mail waits", remedy)
    if not bad:
        yield Result(OK, "the columns of the service in master.cf are right")


def _chroot(postfix: Postfix, line: Line) -> str:
    """The column; where it is left open, what Postfix does (postconf(5), compatibility_level)."""
    old = postfix.value("compatibility_level", default="0").split(".")[0] == "0"
    return line.chroot if line.chroot != "-" else "y" if old else "n"


def pipe_user(look: Look) -> Iterator[Result]:
    """avcheck runs as an account of its own, in a group of its own."""
    call, line, postfix = look.service.call, line_of(look.service.call), look.postfix
    if isinstance(call, Spawn) and line is None:
        yield account_of(call.user, call.service)
        return
    if call is None or line is None or postfix is None:
        return
    if not call.user:
        yield Result(ERROR, "user= is missing", GOOD)
        return
    try:
        entry = pwd.getpwnam(call.user)
    except KeyError:
        text = f"user={printable(call.user)}: no such account, and all mail waits"
        yield Result(ERROR, text, _meant(look, call))
        return
    owner = postfix.value("mail_owner", default="postfix")
    if entry.pw_uid == 0 or call.user == owner:
        text = f"user={call.user}: {line.command}(8) refuses that, and rightly"
        yield Result(ERROR, text, GOOD)
    elif wrong := _group(postfix, call, line.command):
        own = _name_of_group(entry.pw_gid)
        own = own if call.group and not _group(postfix, replace(call, group=""), "") else "avgroup"
        yield Result(ERROR, wrong, f"user={call.user}{f':{own}' if own else ''}")
    else:
        yield own_account(f"user={call.user}", call.user, GOOD)


def account_of(user: str, service: str) -> Result:
    """What to say of the account that systemd, or inetd, is told in that unit, or file."""
    service = printable(service)
    edit = (
        EDIT.format(service) if service.endswith(".service") else f"avclient:avgroup in {service}"
    )
    try:
        number = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        text = f"User={printable(user)}: no such account, and all mail waits"
        return Result(ERROR, text, edit)
    if number == 0:
        text = f"{service}: avcheck-smtp, which reads what strangers send, runs as root"
        return Result(ERROR, text, edit)
    return own_account(f"User={printable(user)}", user, edit)


def _meant(look: Look, call: Call) -> str:
    """The account that was meant, if one is called nearly so; else how it is made."""
    accounts = [each.pw_name for each in pwd.getpwall()]
    own = name(look.spool_owner) if look.spool_owner else ""
    near = difflib.get_close_matches(call.user, accounts, 1, 0.7)
    if own not in SHARED:  # the spool directory is avcheck's own already
        near = difflib.get_close_matches(call.user, [own], 1, 0.5) or near
    if near and near[0] not in (*SHARED, "root", "postfix"):
        return f"user={near[0]}{f':{call.group}' if _is_group(call.group) else ''}"
    return f"useradd --system --no-create-home --shell /usr/sbin/nologin {printable(call.user)}"


def _group(postfix: Postfix, call: Call, command: str) -> str:
    """What is wrong with the group of user=; empty if nothing is."""
    named = f"user={call.user}:{printable(call.group)}".rstrip(":")
    if call.group and not _is_group(call.group):
        return f"{named}: no such group, and all mail waits"
    number = grp.getgrnam(call.group).gr_gid if call.group else pwd.getpwnam(call.user).pw_gid
    group = _name_of_group(number)
    theirs = [
        postfix.value(name, default=usual)
        for name, usual in (("setgid_group", "postdrop"), ("mail_owner", "postfix"))
    ]
    if number == 0 or group in theirs:
        return f"{named}: {command}(8) refuses the group {group}, and all mail waits"
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
