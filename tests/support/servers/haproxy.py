"""A private haproxy, with a configuration of one's own."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from . import packages

START_MAX = 30.0
STOP_MAX = 30.0


class Haproxy:
    """A haproxy with this configuration, which listens on `port` of 127.0.0.1, as who starts it.

    Without the words of the configuration that are for a daemon of the system: its own
    account, its log, and to leave the foreground.
    """

    SYSTEM = ("log ", "user ", "group ", "daemon")

    def __init__(self, directory: Path, configuration: str, port: int) -> None:
        self._directory = directory
        self._port = port
        self._lines = [
            line for line in configuration.splitlines() if not line.strip().startswith(self.SYSTEM)
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens; raises RuntimeError with its words if it does not."""
        packages.need("haproxy", commands=["haproxy"])
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / "haproxy.cfg"
        file.write_text("".join(f"{line}\n" for line in self._lines))
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [packages.find("haproxy"), "-db", "-f", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_MAX
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.02)  # a program in the foreground has no other way to say it is ready

    def stop(self) -> None:
        """End it; nothing happens if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_MAX)

    def __enter__(self) -> Haproxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 5).close()
        except OSError:
            return False
        return True
