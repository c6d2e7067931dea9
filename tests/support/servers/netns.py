"""A small network: hosts in namespaces of their own, on a switch that is in another one.

Nothing of it is to be seen on this host's own interfaces.  The namespaces are those of
threads of this process, so they are gone with it, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from . import packages

P = ParamSpec("P")
T = TypeVar("T")

# <linux/sched.h>; os.unshare() comes with Python 3.12.
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

# A private network (RFC 1918), which nobody but the hosts in it sees.
PREFIX = "10.77.0."

# Ways to cut a host off, as rules of its own firewall: what comes in is dropped or refused;
# what goes out is dropped, so that everything arrives and nothing is answered.
RULES = {
    "silent": ("input iif != lo drop", "output oif != lo drop"),
    "deaf": ("input iif != lo drop",),
    "mute": ("output oif != lo drop",),
    "refused": ("input iif != lo meta l4proto tcp reject with tcp reset",),
}

# The interface has no carrier any more, as with a cable that is pulled out.
UNPLUGGED = "unplugged"

CUTS = (UNPLUGGED, *RULES)


class Host:
    """A host: what `do` runs, and everything that is started by it, is on this host.

    It has a loopback interface, an address on the switch, and an /etc/hosts.
    """

    def __init__(self, name: str, address: str, hosts: Path) -> None:
        self.name = name
        self.address = address
        self._hosts = hosts
        self._worker = ThreadPoolExecutor(1, f"host {name}")

    def do(self, function: Callable[P, T], *words: P.args, **more: P.kwargs) -> T:
        """What the function returns, or raises, on this host."""
        return self._worker.submit(function, *words, **more).result()

    def run(self, *words: str) -> str:
        """The output of a command on this host; raises RuntimeError unless it exits 0."""
        return self.do(_run, *words)

    def shell(self, commands: str) -> str:
        """The output of a few commands, likewise."""
        return self.run("sh", "-euc", commands)

    def namespace(self) -> str:
        """The file that stands for its network."""
        return self.do(lambda: f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net")

    def begin(self) -> None:
        """Make it; raises OSError where that is not permitted.  Until then `do` is here."""
        self.do(self._move)

    def close(self) -> None:
        """Leave it; it is gone when everything that was started on it has ended."""
        self._worker.shutdown()

    def _move(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"no namespaces: {os.strerror(number)}")
        _run("mount", "--make-rprivate", "/")
        _run("mount", "--bind", str(self._hosts), "/etc/hosts")
        _run("ip", "link", "set", "lo", "up")


class Network:
    """So many hosts on a switch, by name; /etc/hosts has them, and `names` for several of them.

    Usable inside a `with`.  It needs root.
    """

    def __init__(
        self, directory: Path, hosts: tuple[str, ...], names: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._file = directory / "hosts"
        address = {name: f"{PREFIX}{number}" for number, name in enumerate(hosts, 1)}
        lines = ["127.0.0.1 localhost", *(f"{address[name]} {name}" for name in hosts)]
        for name, several in names.items():
            lines += [f"{address[each]} {name}" for each in several]
        self._lines = lines
        self._switch = Host("switch", "", self._file)
        self.hosts = {name: Host(name, address[name], self._file) for name in hosts}

    def __enter__(self) -> Network:
        packages.need_root("namespaces are made by root only")
        packages.need("iproute2", "nftables", commands=["ip", "nft"])
        self._file.write_text("".join(f"{line}\n" for line in self._lines))
        self._file.chmod(0o644)
        for host in (self._switch, *self.hosts.values()):
            host.begin()
        self._switch.run("ip", "link", "add", "switch", "type", "bridge")
        self._switch.run("ip", "link", "set", "switch", "up")
        for name, host in self.hosts.items():
            far = ("peer", "name", "net0", "netns", host.namespace())
            self._switch.run("ip", "link", "add", name, "type", "veth", *far)
            self._switch.run("ip", "link", "set", name, "master", "switch", "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "net0")
            host.run("ip", "link", "set", "net0", "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for host in (*self.hosts.values(), self._switch):
            host.close()

    def cut(self, name: str, how: str) -> None:
        """Cut a host off from the others, in one of the CUTS."""
        if how == UNPLUGGED:
            self._switch.run("ip", "link", "set", name, "down")
            return
        commands = ["add table inet cut"]
        for rule in RULES[how]:
            hook = rule.split()[0]
            commands += [
                f"add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}",
                f"add rule inet cut {rule}",
            ]
        self.hosts[name].run("nft", "\n".join(commands))

    def heal(self, name: str) -> None:
        """Undo every cut."""
        self._switch.run("ip", "link", "set", name, "up")
        self.hosts[name].run("nft", "flush", "ruleset")


def _run(*words: str) -> str:
    done = subprocess.run(
        [packages.find(words[0]), *words[1:]],
        env={**os.environ, "PATH": packages.PLACES},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}")
    return done.stdout
