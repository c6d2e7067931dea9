"""A throwaway Debian machine: this host's files, with Debian packages installed on top.

For documents that begin with "install the package": with the package's own configuration,
the well-known ports, accounts and paths, and nothing of it on this host.  Files are an
overlay in memory; processes, host name and network (loopback only) are its own, and all of
it is gone at the end.  By root only.  There is no systemd in it; what systemctl(1) is told
is done by systemctl.sh.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.once import MEMORY, once

from . import packages
from .daemon import is_suspended

HERE = Path(__file__).parent
SCRIPT = HERE / "machine.sh"
SYSTEMCTL = HERE / "systemctl.sh"
HOSTNAME = "mail.example.test"
PREFIX = "avcheck-machine-"

# Seconds to wait for something that a program does by itself, and for a command to end: a
# machine that is busy with several test runs has taken more than a minute.
PATIENCE = 150.0
COMMAND_MAX = 300.0


class Layer:
    """What is common to machines with the same packages; usable inside a with statement.

    It is made once for all workers of a test run, and gone at the end of that.
    answers are lines for debconf-set-selections(1); purge names the packages of this host
    that are removed first, with their configuration.
    """

    def __init__(self, *names: str, answers: str = "", purge: str = "") -> None:
        self.names = names
        self.answers = answers
        self.purge = purge
        self.directory = Path()

    def __enter__(self) -> Layer:
        packages.need_root("namespaces are made by root only")
        packages.need("busybox-static", commands=["busybox"])
        packages.need("util-linux", commands=["unshare", "nsenter"])
        packages.need("iproute2", commands=["ip"])
        key = repr((self.names, self.answers, self.purge))
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.directory = once(f"layer-{name}", self._make)
        return self

    def _make(self, directory: Path) -> None:
        _prepare(directory)
        done = subprocess.run(
            [
                *("unshare", "--mount", "--uts", "--pid", "--fork", "--propagation", "private"),
                *("sh", str(SCRIPT), "layer", str(directory), HOSTNAME, *self.names),
            ],
            input=self.answers.encode(),
            env={"PATH": packages.PLACES, "PURGE": self.purge},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            text = done.stdout.decode(errors="replace")[-2000:]
            raise packages.MissingError(f"installing {' '.join(self.names)}:\n{text}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing yet: another machine may have use of it."""

    @property
    def lower(self) -> str:
        """The directories with the files of a machine, the uppermost first."""
        return f"{self.directory / 'upper'}:/"


class Machine:
    """A machine with the packages of a layer, as they leave it; usable inside a with statement.

    What it changes is in `upper` of the directory, and stays there; without one, it is gone.
    """

    def __init__(
        self, layer: Layer, hostname: str = HOSTNAME, directory: Path | None = None
    ) -> None:
        self.layer = layer
        self.lower = layer.lower
        self.hostname = hostname
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._pid = 0
        self._init = -1

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            directory = self._directory or Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY))
            if not self._directory:
                stack.callback(shutil.rmtree, directory)
            _prepare(directory)
            process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--kill-child"),
                    *("--propagation", "private"),
                    *("sh", str(SCRIPT), "start", str(directory), self.lower, self.hostname),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={"PATH": packages.PLACES},
            )
            stack.callback(self._wait_for_end)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            self._pid = int(children.read_text())
            self._init = os.pidfd_open(self._pid)
            self.put("/usr/local/sbin/systemctl", SYSTEMCTL.read_text(), 0o755)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _wait_for_end(self) -> None:
        """Wait for its first process, with which all the others have ended."""
        if self._init >= 0:
            select.select([self._init], [], [], PATIENCE)
            os.close(self._init)
            self._init = -1

    def path(self, name: str) -> Path:
        """A file of the machine, as it is seen from outside."""
        return Path(f"/proc/{self._pid}/root") / name.removeprefix("/")

    def put(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, and make its directory."""
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def enter(self, *words: str) -> list[str]:
        """The words of a command, for subprocess, that runs these words on the machine."""
        where = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return ["nsenter", f"--target={self._pid}", *where, "--", *words]

    def attempt(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command as root, with a plain environment; its output is in one piece."""
        return subprocess.run(
            self.enter(*words),
            input=data,
            env={"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_MAX,
            check=False,
        )

    def run(self, *words: str, data: bytes = b"") -> str:
        """The output of a command that has to end with 0."""
        done = self.attempt(*words, data=data)
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, (words, done.returncode, text)
        return text

    def shell(self, commands: str) -> str:
        """The output of commands as a page shows them, each of which has to succeed."""
        return self.run("sh", "-euc", commands)

    def read(self, name: str) -> str:
        """The text of a file, empty while there is none."""
        try:
            return self.path(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def suspend(self, program: str) -> None:
        """SIGSTOP for a program, and wait until it has stopped (see suspend of daemon.py)."""
        pid = self.run("busybox", "pidof", program).split()[0]
        self.run("kill", "-STOP", pid)
        tasks = self.path(f"/proc/{pid}/task")
        self.wait_until(lambda: is_suspended(tasks), f"stop of {program}")

    def wait_until(self, true: Callable[[], object], what: str) -> None:
        """Wait for something that the machine's programs do by themselves."""
        until = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > until:
                raise AssertionError(f"no {what} after {PATIENCE:.0f} s:\n{self.state()}")
            time.sleep(0.05)

    def state(self) -> str:
        """What helps to see why something did not happen."""
        return self.run("busybox", "ps") + self.read("/var/log/syslog")[-4000:]

    def files(self, *directories: str) -> dict[str, tuple[int, int, int, bytes]]:
        """Mode, owner, group and content of every file below, to be compared later."""
        found = {}
        for top in directories:
            for path in sorted(self.path(top).rglob("*")):
                status = path.lstat()
                name = top + "/" + str(path.relative_to(self.path(top)))
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                if path.is_symlink():
                    content = os.fsencode(path.readlink())
                found[name] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found


def _prepare(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    for name in ("upper", "work", "root"):
        (directory / name).mkdir()
