"""Who listens on a Unix-domain socket."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass

# Seconds: the other side need not say anything.
PATIENCE = 5.0

# The process that listens for daemons which are started by systemd.
SYSTEMD = 1


@dataclass(frozen=True)
class Peer:
    """A process: its ID, user and groups, its root directory, and its arguments."""

    pid: int
    uid: int
    groups: tuple[int, ...]
    root: str = "/"
    argv: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def of(path: bytes) -> Peer | None:
    """The process that listens there; None if that cannot be told."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            link.connect(path)
            credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    pid, _, _ = struct.unpack("3i", credentials)
    if pid == SYSTEMD:
        pid = only("clamd")
    return process(pid) if pid > 0 else None


def only(name: str) -> int:
    """The process of that name if there is exactly one, or else 0."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm", "rb") as comm:
                    if comm.read().strip() == name.encode():
                        found.append(int(entry))
            except OSError:
                continue
    return found[0] if len(found) == 1 else 0


def process(pid: int) -> Peer | None:
    """The process; None if it is gone, or if we may not look at it."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            facts = dict(line.split(b":", 1) for line in status.read().splitlines() if b":" in line)
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            argv = tuple(os.fsdecode(word) for word in cmdline.read().split(b"\0")[:-1])
        root = os.readlink(f"/proc/{pid}/root")
    except OSError:
        return None
    uid = int(facts[b"Uid"].split()[1])
    groups = [int(facts[b"Gid"].split()[1]), *map(int, facts[b"Groups"].split())]
    return Peer(pid, uid, tuple(groups), root, argv)
