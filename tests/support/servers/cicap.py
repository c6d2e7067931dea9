"""A private c-icap with its antivirus service, which asks a clamd."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from . import packages
from .clamd import Clamd
from .daemon import Daemon
from .ports import free_port

CONFIG = Path("/etc/c-icap")
TEMPLATES = Path("/usr/share/c_icap/templates")

# As Debian's virus_scan.conf has them.
DEBIAN = {
    "ScanFileTypes": "TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE",
    "SendPercentData": "5",
    "StartSendPercentDataAfter": "2M",
    "MaxObjectSize": "5M",
}


def modules() -> Path:
    """Where Debian has c-icap's modules: the directory is named after the architecture."""
    (module,) = Path("/usr/lib").glob("*/c_icap/virus_scan.so")
    return module.parent


class CIcap(Daemon):
    """A c-icap of one's own on 127.0.0.1:`port`, below `directory`.

    Its services are virus_scan, the aliases of Debian's configuration (srv_clamav, avscan)
    and echo.  Without a `clamd` it has no engine to scan with.  `settings` are virus_scan's
    ("MaxObjectSize": "1M") where they differ from those of Debian.
    """

    process_group = 0

    def __init__(
        self,
        directory: Path,
        *,
        clamd: Clamd | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.clamd = clamd
        self.settings = {**DEBIAN, **(settings or {})}
        self.port = 0

    @property
    def address(self) -> str:
        """Where it listens, as in -s icap:ADDRESS."""
        return f"127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        return [packages.find("c-icap"), "-N", "-D", "-f", str(self.directory / "c-icap.conf")]

    def _prepare(self) -> None:
        packages.need("c-icap", "libc-icap-mod-virus-scan")
        scratch = self.directory / "scratch"
        # clamd opens the files in there by their names, and may be another account.
        for directory in (self.directory, scratch):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        self.port = self.port or free_port()
        lines = [
            f"PidFile {self.directory}/pid",
            f"CommandsSocket {self.directory}/ctl",
            f"Port 127.0.0.1:{self.port}",
            f"TmpDir {scratch}",
            "StartServers 1",
            "MaxServers 2",
            "MinSpareThreads 2",
            "MaxSpareThreads 20",
            "ThreadsPerChild 10",
            "Timeout 60",
            f"ModulesDir {modules()}",
            f"ServicesDir {modules()}",
            f"TemplateDir {TEMPLATES}/",
            "TemplateDefaultLanguage en",
            f"LoadMagicFile {CONFIG}/c-icap.magic",
            f"ServerLog {self.directory}/server.log",
            f"AccessLog {self.directory}/access.log",
            "Service echo srv_echo.so",
            "Service antivirus_module virus_scan.so",
            "ServiceAlias srv_clamav virus_scan",
            "ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple",
            *(f"virus_scan.{name} {value}" for name, value in self.settings.items()),
        ]
        if self.clamd:
            lines += [
                "Module common clamd_mod.so",
                f"clamd_mod.ClamdSocket {self.clamd.socket}",
            ]
        config = self.directory / "c-icap.conf"
        config.write_text("".join(f"{line}\n" for line in lines))

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                probe.sendall(b"OPTIONS icap://localhost/echo ICAP/1.0\r\nHost: localhost\r\n\r\n")
                return probe.recv(8) == b"ICAP/1.0"
        except OSError:
            return False

    def _end(self, signum: signal.Signals) -> None:
        process = self._process
        super()._end(signum)
        # Those that serve, and that it has not ended itself, have its process group.
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
