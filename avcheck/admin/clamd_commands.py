"""What avcheckctl needs of the clamd package, for where there is none: Debian has not packaged it.

The names and what they do are the package's, so that clamd_daemon can take either.
"""

from __future__ import annotations

import contextlib
from typing import Any


class ClamdError(Exception):
    """The daemon has refused a command."""


class ClamdNetworkSocket:
    """A clamd; a subclass connects clamd_socket in _init_socket, before each command."""

    clamd_socket: Any

    def _init_socket(self) -> None:
        raise NotImplementedError

    def ping(self) -> str:
        return self._basic_command("PING")

    def version(self) -> str:
        return self._basic_command("VERSION")

    def _basic_command(self, command: str) -> str:
        self._init_socket()
        with contextlib.closing(self.clamd_socket):
            self.clamd_socket.send(f"n{command}\n".encode())
            with contextlib.closing(self.clamd_socket.makefile("rb")) as file:
                answer: str = file.readline().decode().strip()
        if "ERROR" in answer:
            raise ClamdError(answer.rpartition("ERROR")[0])
        return answer
