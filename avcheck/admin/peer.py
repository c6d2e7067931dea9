"""Who listens on a Unix-domain socket."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass

# Seconds to wait for a listener, which may be anybody.
PATIENCE = 5.0

# A process can put anything in the place of its arguments, of any length.
ARGV_MAX = 64 * 1024

# systemd, which listens for daemons that it starts when they are called.
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


def listener(path: bytes) -> int:
    """The process that listens there; 0 if that cannot be found out.

    To be called as the account that runs avcheck, which decides where the path leads.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            link.connect(path)
            credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return only("clamd") if pid == SYSTEMD else pid


def only(name: str) -> int:
    """The process of that name, if there is exactly one, else 0."""
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
            argv = tuple(os.fsdecode(arg) for arg in cmdline.read(ARGV_MAX).split(b"\0")[:-1])
        root = os.readlink(f"/proc/{pid}/root")
    except OSError:
        return None
    uid = int(facts[b"Uid"].split()[1])
    groups = [int(facts[b"Gid"].split()[1]), *map(int, facts[b"Groups"].split())]
    return Peer(pid, uid, tuple(groups), root, argv)
