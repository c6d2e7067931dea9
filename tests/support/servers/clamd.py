"""A private clamd: its own directory, socket, port and signatures."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from . import packages
from .ports import free_port

SIGNATURES = Path(__file__).with_name("signatures")
TESTFILES = Path("/usr/share/clamav-testfiles")

# What clamd calls the two bundled signatures.  It marks every signature that
# is not ClamAV's own with the last word.
EICAR = "Eicar-Test-Signature.UNOFFICIAL"
CLAM = "ClamAV-Test-File.UNOFFICIAL"

# Loading two signatures takes clamd a few tenths of a second; a busy machine
# needs more, and one that needs this much is not going to make it.
START_MAX = 60.0
STOP_MAX = 30.0

# sun_path holds 108 bytes, the final NUL included.
SOCKET_MAX = 107


class Clamd:
    """A clamd of one's own, with the bundled signatures.

    `settings` are lines of clamd.conf ("StreamMaxLength": "1M").  With "User",
    and started by root, it runs as that account, which gets the directory too.
    After `start()` it answers on `socket`, and with `tcp` on 127.0.0.1:`port`.
    """

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, tcp: bool = False
    ) -> None:
        self.directory = directory.absolute()
        self.settings = dict(settings or {})
        self.tcp = tcp
        self.socket = self.directory / "clamd.ctl"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(self.socket)) > SOCKET_MAX:
            raise ValueError(f"{self.socket}: too long for a socket; choose a shorter directory")

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it is not running."""
        if self._process is None:
            raise RuntimeError("this clamd is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.directory / "clamd.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with its log if it does not."""
        packages.need("clamav-daemon", commands=["clamd"])
        self._prepare()
        with open(self.directory / "clamd.log", "ab") as log:
            self._process = subprocess.Popen(
                [self._program(), f"--config-file={self.directory / 'clamd.conf'}"],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end and wait; nothing happens if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without giving it a chance to say goodbye; its socket stays behind."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Clamd:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        database = self.directory / "signatures"
        scratch = self.directory / "scratch"
        # Another account may run it, and neither our umask nor the modes in our
        # copy of the source were chosen with that account in mind.
        for directory in (self.directory, database, scratch):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        for signatures in SIGNATURES.iterdir():
            copy = database / signatures.name
            shutil.copyfile(signatures, copy)
            copy.chmod(0o644)
        lines = {
            "Foreground": "yes",
            "LocalSocket": str(self.socket),
            "FixStaleSocket": "yes",
            "DatabaseDirectory": str(database),
            "TemporaryDirectory": str(scratch),
            # The scans of a test are few; the default is ten threads.
            "MaxThreads": "4",
        }
        if self.tcp:
            self.port = self.port or free_port()
            lines |= {"TCPSocket": str(self.port), "TCPAddr": "127.0.0.1"}
        lines |= self.settings
        config = self.directory / "clamd.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        config.chmod(0o644)
        user = self.settings.get("User")
        if user and os.geteuid() == 0:
            for path in (self.directory, scratch):
                shutil.chown(path, user)

    def _program(self) -> str:
        installed = packages.find("clamd")
        if not apparmor():
            return installed
        # Debian's AppArmor profile goes by the path /usr/sbin/clamd and allows
        # it the system's own directories only.  A copy is not confined.
        return shutil.copy(installed, str(self.directory / "clamd"))

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_MAX
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.02)  # a daemon in the foreground has no other way to say it is ready
        raise RuntimeError(f"clamd does not answer:\n{self.log[-2000:]}")

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(5)
                probe.connect(str(self.socket))
                probe.sendall(b"zPING\0")
                if probe.recv(5) != b"PONG\0":
                    return False
            if self.tcp:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return False
        return True

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        # A stopped process (SIGSTOP) would not see SIGTERM.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def apparmor() -> bool:
    """Whether this kernel enforces AppArmor profiles."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        return False
