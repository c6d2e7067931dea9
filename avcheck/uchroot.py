"""uchroot: run a command in another root directory, as an unprivileged user.

    uchroot [-u user] [-d dir] newroot command [argument...]

As chroot(8), and two options more, because a scanner that is chrooted as root can
leave its new root again.  The order matters: the account is looked up outside, where
/etc/passwd is; the groups go before the user, for only root can change them; and
that root cannot be had back is tried, not assumed.
"""

from __future__ import annotations

import getopt
import os
import pwd
import sys
from typing import NoReturn

from avcheck import process

USAGE = "usage: uchroot [-u user] [-d dir] newroot command [argument ...]"

# As chroot(1) and env(1) leave.
FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127

STDERR = 2


class Failure(Exception):  # noqa: N818 - it is how the command ends, not an error of ours
    """What to say, and the status to leave with."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


def main() -> NoReturn:
    """Become the command; leaves with 125 if that fails, 126 or 127 if the command does not run."""
    try:
        run(sys.argv[1:])
    except Failure as why:
        print(f"uchroot: {why}", file=sys.stderr)
        raise SystemExit(why.status) from None


def run(words: list[str]) -> NoReturn:
    """Become the command that the words name; raises Failure."""
    user, directory, root, command = parse(words)
    account = find(user) if user else None
    enter(root, directory)
    if account is not None:
        become(account)
    execute(command)


def parse(words: list[str]) -> tuple[str, str, str, list[str]]:
    """User and directory (empty where not given), the new root, and the command."""
    user, directory = "", "/"
    try:
        given, operands = getopt.getopt(words, "u:d:")
    except getopt.GetoptError as why:
        raise Failure(f"{why}\n{USAGE}") from None
    for letter, value in given:
        if not value:
            raise Failure(f"{letter}: an empty argument\n{USAGE}")
        if letter == "-u":
            user = value
        else:
            directory = value
    if len(operands) < 2 or not operands[0]:
        raise Failure(USAGE)
    return user, directory, operands[0], operands[1:]


def find(user: str) -> tuple[int, int]:
    """User and group ID of an account, or of a number that needs none; raises Failure."""
    try:
        entry = pwd.getpwnam(user)
        ids = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not (user.isascii() and user.isdigit() and len(user) < 10):
            raise Failure(f"{user}: no such user") from None
        try:
            ids = int(user), pwd.getpwuid(int(user)).pw_gid
        except KeyError:
            raise Failure(f"{user}: no such user, so it has no group") from None
    if ids[0] == 0 or ids[1] == 0:
        raise Failure(f"{user}: is root or in root's group, and can leave the new root")
    return ids


def enter(root: str, directory: str) -> None:
    """Change the root directory, and to the directory in it."""
    try:
        # Nothing but 0, 1 and 2 goes along: an open directory is a way out.
        process.close_from(STDERR + 1)
        os.chdir(root)
        os.chroot(".")
        os.chdir("/")
    except OSError as why:
        hint = "; only root can do that" if isinstance(why, PermissionError) else ""
        raise Failure(f"{root}: {why.strerror}{hint}") from None
    try:
        os.chdir(directory)
    except OSError as why:
        raise Failure(f"{directory} in {root}: {why.strerror}") from None


def become(account: tuple[int, int]) -> None:
    """Be the account from now on, with its group alone, for good; raises Failure otherwise."""
    user, group = account
    try:
        os.setgroups([group])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as why:
        raise Failure(f"user {user}, group {group}: {why.strerror}") from None
    for regain in (os.setuid, os.seteuid, os.setgid, os.setegid):
        try:
            regain(0)
        except OSError:
            continue
        raise Failure("root could be regained")
    if os.getresuid() != (user,) * 3 or os.getresgid() != (group,) * 3:
        raise Failure(f"not user {user} and group {group}, though nothing failed")
    if os.getgroups() != [group]:
        raise Failure("the supplementary groups are still there")


def execute(command: list[str]) -> NoReturn:
    """Turn into the command, found by PATH in the new root; raises Failure."""
    process.set_default_signals()
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell: that is the point
    except FileNotFoundError as why:
        raise Failure(f"{command[0]}: {why.strerror} (in the new root)", NOT_FOUND) from None
    except OSError as why:
        raise Failure(f"{command[0]}: {why.strerror}", NOT_EXECUTABLE) from None
