"""A private clamd: its own directory, socket, port and signatures."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from . import packages
from .daemon import Daemon
from .ports import free_port

SIGNATURES = Path(__file__).with_name("signatures")
TESTFILES = Path("/usr/share/clamav-testfiles")

# What clamd calls the two bundled signatures.  It marks every signature that
# is not ClamAV's own with the last word.
EICAR = "Eicar-Test-Signature.UNOFFICIAL"
CLAM = "ClamAV-Test-File.UNOFFICIAL"

# sun_path holds 108 bytes, the final NUL included.
SOCKET_MAX = 107


class Clamd(Daemon):
    """A clamd of one's own, with the bundled signatures.

    `settings` are lines of clamd.conf ("StreamMaxLength": "1M").  With "User",
    and started by root, it runs as that account, which gets the directory too.
    After `start()` it answers on `socket`, and with `tcp` on 127.0.0.1:`port`.
    """

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, tcp: bool = False
    ) -> None:
        super().__init__(directory)
        self.settings = dict(settings or {})
        self.tcp = tcp
        self.socket = self.directory / "clamd.ctl"
        self.port = 0
        if len(os.fsencode(self.socket)) > SOCKET_MAX:
            raise ValueError(f"{self.socket}: too long for a socket; choose a shorter directory")

    def _prepare(self) -> None:
        packages.need("clamav-daemon", commands=["clamd"])
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

    def _command(self) -> list[str]:
        return [self._program(), f"--config-file={self.directory / 'clamd.conf'}"]

    def _program(self) -> str:
        installed = packages.find("clamd")
        if not apparmor():
            return installed
        # Debian's AppArmor profile goes by the path /usr/sbin/clamd and allows
        # it the system's own directories only.  A copy is not confined.
        return shutil.copy(installed, str(self.directory / "clamd"))

    def is_ready(self) -> bool:
        """Whether it answers, at its port, too."""
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


def apparmor() -> bool:
    """Whether this kernel enforces AppArmor profiles."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        return False
