"""Who listens on a socket of this host."""

from __future__ import annotations

import os
import pwd
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avcheck.address import Address

# Seconds to wait for a listener, which may be anybody.
PATIENCE = 5.0

# A process can put anything in the place of its arguments, of any length.
ARGV_MAX = 64 * 1024

# systemd, which listens for daemons that it starts when they are called.
SYSTEMD = 1


@dataclass(frozen=True)
class Peer:
    """A process: its ID, user and groups, its root directory, and its arguments.

    started is when it was (time.time seconds).
    """

    pid: int
    uid: int
    groups: tuple[int, ...]
    root: str = "/"
    argv: tuple[str, ...] = ()
    started: float = 0.0

    @property
    def user(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def is_here(address: Address) -> bool:
    """Whether it is on this host: a path, or an address of one of its interfaces."""
    host = address.host.decode("ascii", "replace").lower()
    if address.path or host in ("", "localhost", socket.gethostname().lower()):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))  # which only works for an address of our own
    except OSError:
        return False
    return True


def tcp_listener(address: Address) -> int:
    """The process that listens at that TCP address; 0 if that cannot be found out.

    To be called by root, for /proc shows the descriptors of others to nobody else.
    """
    pid = next(tcp_listeners(address), 0)
    return only("clamd") if pid == SYSTEMD else pid


def tcp_listeners(address: Address) -> Iterator[int]:
    """The processes that have the socket that listens at that TCP address."""
    try:
        port = os.fsdecode(address.port)
        number = int(port) if port.isdigit() else socket.getservbyname(port, "tcp")
    except OSError:
        return
    inodes = set(_listening(number, address.host.decode("ascii", "replace").lower()))
    for pid in _processes():
        if inodes.intersection(_sockets(pid)):
            yield pid


# Where a socket listens that takes connections to every address, and to those of a name.
ANY = ("0.0.0.0", "::")  # noqa: S104 - it is looked for
NAMED = ("127.0.0.1", "::1")


def _listening(port: int, host: str) -> Iterator[str]:
    """The sockets that listen there, as a link in /proc names them (proc(5), net/tcp)."""
    hosts = (*ANY, *(NAMED if host in ("", "localhost") else (host,)))
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            there, _, number = row[1].rpartition(":")
            if row[3] == "0A" and int(number, 16) == port and _spelled(there) in hosts:
                yield f"socket:[{row[9]}]"


def _spelled(digits: str) -> str:
    """An address as a person writes it; the kernel turns each four bytes of it round."""
    raw = bytes.fromhex(digits)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    text = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, turned)
    return text.removeprefix("::ffff:")


def _sockets(pid: int) -> Iterator[str]:
    """What the descriptors of the process are links to."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue


def listener(path: bytes, patience: float = PATIENCE) -> int:
    """The process that listens there; 0 if that cannot be found out.

    To be called as the account that runs avcheck, which decides where the path leads.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(patience)
            link.connect(path)
            credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return only("clamd") if pid == SYSTEMD else pid


def only(name: str) -> int:
    """The process of that name, if there is exactly one, else 0."""
    found = _all(name)
    return found[0] if len(found) == 1 else 0


def _all(name: str) -> list[int]:
    """The processes of that name."""
    return [pid for pid in _processes() if called(pid) == name]


def _processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def called(pid: int) -> str:
    """The name of the process; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as comm:
            return os.fsdecode(comm.read().strip())
    except OSError:
        return ""


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
    return Peer(pid, uid, tuple(groups), root, argv, started(pid))


def children(parent: int, name: str) -> list[int]:
    """The processes of that name that this one has started."""
    return [pid for pid in _all(name) if _stat(pid)[1:2] == [b"%d" % parent]]


def started(pid: int) -> float:
    """When the process was started (time.time seconds); 0 if it is gone."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on (proc(5)); none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # After the name, which can have anything in it.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []
