"""The check of the Postfix that runs: has it read what is in its files?"""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import peer
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.places import AS_ROOT
from avcheck.admin.postfix import Postfix

# Seconds within which nobody can tell which of the two came first.
SOON = 0.2

# What master(8) starts again when it reads its files.
MANAGER = "qmgr"

USUAL = "/etc/postfix"


def changed(path: str) -> float:
    """When the file was last changed, in seconds of the clock; 0 if it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def postfix_reloaded(look: Look) -> Iterator[Result]:
    """It was started, or told to read its files, after they were last changed."""
    postfix = look.postfix
    if postfix is None or look.service.call is None:
        return
    if os.geteuid() != 0:
        yield Result(SKIPPED, "when Postfix read its files is not known", AS_ROOT)
        return
    master = _master(postfix)
    command = postfix.command
    if not master:
        yield Result(WARNING, "Postfix does not run, so all mail waits", f"{command} start")
        return
    read = max([peer.started(master), *map(peer.started, peer.children(master, MANAGER))])
    directory = postfix.directory or USUAL
    files = ("master.cf", "main.cf")
    stale = [name for name in files if changed(os.path.join(directory, name)) > read + SOON]
    if stale:
        text = f"{' and '.join(stale)} changed after Postfix had read it, and may not count yet"
        level = ERROR if "master.cf" in stale else WARNING
        yield Result(level, text, f"{command} reload")
    else:
        yield Result(OK, "Postfix has read its files since they were last changed")


def _master(postfix: Postfix) -> int:
    """The process of master(8); 0 if it does not run."""
    place = postfix.value("queue_directory", default="/var/spool/postfix")
    try:
        with open(os.path.join(place, "pid", "master.pid"), "rb") as file:
            number = int(file.read(100).split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return number if peer.called(number) == "master" else 0
