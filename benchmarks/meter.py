"""How much processor time daemons have taken that nobody here waits for."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

# Processes that have been told to end are gone from their group within this time.
EMPTY_MAX = 10.0


class Meter:
    """The processor time of the whole machine, for want of anything better."""

    name = "the whole machine (/proc/stat)"

    def seconds(self) -> float:
        first, *_ = Path("/proc/stat").read_text().splitlines()
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, first.split()[1:])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def started_here(self) -> Iterator[None]:
        """Processes started within the block are counted."""
        yield

    def count(self, pid: int) -> None:
        """Count this process, too, from now on."""


class ControlGroup(Meter):
    """The processor time of the processes in a control group of one's own."""

    def __init__(self, parent: Path, account: str, name: str) -> None:
        self.name = name
        self.parent = parent
        self.directory = parent / f"avcheck-bench.{os.getpid()}"
        self.account = account
        self.guests: list[int] = []
        self.directory.mkdir()

    def seconds(self) -> float:
        text = (self.directory / self.account).read_text()
        if self.account == "cpu.stat":
            return int(text.split()[1]) / 1e6  # usage_usec
        return int(text) / 1e9  # cpuacct.usage

    @contextlib.contextmanager
    def started_here(self) -> Iterator[None]:
        self._move(os.getpid(), self.directory)
        try:
            yield
        finally:
            self._move(os.getpid(), self.parent)

    def count(self, pid: int) -> None:
        self._move(pid, self.directory)
        self.guests.append(pid)

    def remove(self) -> None:
        """Let the guests go and remove the group once it is empty."""
        for pid in self.guests:
            self._move(pid, self.parent)
        end = time.monotonic() + EMPTY_MAX
        while (self.directory / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.05)  # the kernel tells it only to who watches the file
        self.directory.rmdir()

    def _move(self, pid: int, where: Path) -> None:
        (where / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def meter() -> Iterator[Meter]:
    """The best meter that there is here: control groups version 2, version 1, /proc/stat."""
    for parent, account, name in groups():
        try:
            group = ControlGroup(parent, account, name)
        except OSError:
            continue
        try:
            yield group
        finally:
            group.remove()
        return
    yield Meter()


def groups() -> Iterator[tuple[Path, str, str]]:
    """This process's own groups that account for processor time, the newer kind first."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kinds = (("cgroup2", "", "cpu.stat"), ("cgroup", "cpuacct", "cpuacct.usage"))
    for system, controller, account in kinds:
        for _, mount, kind, options, *_ in mounts:
            if kind != system or (controller and controller not in options.split(",")):
                continue
            for _, controllers, path in own:
                if controller in controllers.split(","):
                    name = f"the control group of Postfix, clamd and the filters ({account})"
                    yield Path(mount, path.lstrip("/")), account, name
