"""avcheck watched from outside: its system calls, what comes of it when one fails, its open files.

A call is known by its name and its number among the calls of that name, which is how
strace is told where to strike.  Only avcheck itself is traced, not what it starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.fakes import PATIENCE
from tests.support.mta import MAIL, Ended, Site
from tests.support.servers import packages

LINE = re.compile(r"(?P<name>\w+)\((?P<words>.*)\) += (?P<result>\S+)")

IN_OPEN = 0x20  # sys/inotify.h


@dataclass(frozen=True)
class Call:
    """One system call: its arguments as strace shows them, descriptors with their paths."""

    name: str
    number: int
    words: str
    result: str


def calls(site: Site, words: Sequence[str | bytes], message: bytes = MAIL) -> list[Call]:
    """Every system call of a run, from the exec on; the run must end well."""
    ended, found = trace(site, words, message=message)
    assert ended.status == 0, ended
    return found


def failing(site: Site, words: Sequence[str | bytes], call: Call, error: str) -> Ended:
    """A run in which the system says that error to the call."""
    return trace(site, words, f"inject={call.name}:error={error}:when={call.number}")[0]


def signalled(site: Site, words: Sequence[str | bytes], call: Call, signal: str) -> Ended:
    """A run that gets the signal (KILL, TERM) when it comes to the call."""
    return trace(site, words, f"inject={call.name}:signal={signal}:when={call.number}")[0]


def trace(
    site: Site, words: Sequence[str | bytes], inject: str = "", message: bytes = MAIL
) -> tuple[Ended, list[Call]]:
    """A run and its system calls."""
    packages.need("strace", commands=["strace"])
    log = site.directory / "strace.log"
    strace = ["strace", "-qq", "-y", "-s", "200", "-o", str(log)]
    # A run that measures itself makes calls of its own, another number each time.
    for name in site.measured:
        strace += ["-E", name]
    if inject:
        strace += ["-e", inject]
    ended = site.start([*strace, *words]).end(message)
    return ended, parse(log.read_text(errors="replace"))


def parse(log: str) -> list[Call]:
    """The calls in what strace wrote about one task."""
    numbers: dict[str, int] = {}
    found = []
    for line in log.splitlines():
        if match := LINE.match(line):
            name = match["name"]
            numbers[name] = numbers.get(name, 0) + 1
            found.append(Call(name, numbers[name], match["words"], match["result"]))
    return found


def opens(pid: int, path: Path) -> bool:
    """Whether the process has the file open at the moment."""
    with contextlib.suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
        for entry in os.scandir(f"/proc/{pid}/fd"):
            if os.readlink(entry.path) == str(path):
                return True
    return False


@contextlib.contextmanager
def openings(path: Path) -> Iterator[Callable[[], None]]:
    """Gives a function that returns when the file is opened again, however short (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    try:
        watch = libc.inotify_add_watch(fd, os.fsencode(path), IN_OPEN)
        assert watch >= 0, os.strerror(ctypes.get_errno())

        def wait() -> None:
            assert select.select([fd], [], [], PATIENCE)[0], f"{path}: nobody has opened it"
            os.read(fd, 4096)

        yield wait
    finally:
        os.close(fd)
