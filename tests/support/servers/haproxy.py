"""A private haproxy, with a configuration of one's own."""

from __future__ import annotations

import socket
from pathlib import Path

from . import packages
from .daemon import Daemon


class Haproxy(Daemon):
    """A haproxy with this configuration, which listens on `port` of 127.0.0.1, as who starts it.

    Without the words of the configuration that are for a daemon of the system: its own
    account, its log, and to leave the foreground.
    """

    SYSTEM = ("log ", "user ", "group ", "daemon")

    def __init__(self, directory: Path, configuration: str, port: int) -> None:
        super().__init__(directory)
        self._port = port
        self._lines = [
            line for line in configuration.splitlines() if not line.strip().startswith(self.SYSTEM)
        ]

    def _prepare(self) -> None:
        packages.need("haproxy", commands=["haproxy"])
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "haproxy.cfg").write_text("".join(f"{line}\n" for line in self._lines))

    def _command(self) -> list[str]:
        return [packages.find("haproxy"), "-db", "-f", str(self.directory / "haproxy.cfg")]

    def is_ready(self) -> bool:
        """Whether it listens."""
        try:
            socket.create_connection(("127.0.0.1", self._port), 5).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it: on a soft stop it would wait for whoever is connected."""
        self.kill()
