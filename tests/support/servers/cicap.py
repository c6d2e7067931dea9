"""A private c-icap with its antivirus service, which asks a clamd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from . import packages
from .clamd import Clamd
from .ports import free_port

START_MAX = 60.0
STOP_MAX = 30.0

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


class CIcap:
    """A c-icap of one's own on 127.0.0.1:`port`, below `directory`.

    Its services are virus_scan, the aliases of Debian's configuration (srv_clamav, avscan)
    and echo.  Without a `clamd` it has no engine to scan with.  `settings` are virus_scan's
    ("MaxObjectSize": "1M") where they differ from those of Debian.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clamd: Clamd | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.clamd = clamd
        self.settings = {**DEBIAN, **(settings or {})}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as in -s icap:ADDRESS."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with its log if it does not."""
        packages.need("c-icap", "libc-icap-mod-virus-scan")
        self._prepare()
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [packages.find("c-icap"), "-N", "-D", "-f", str(self.directory / "c-icap.conf")],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # its children, which serve, are ended with it
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
        """End it and the processes that serve, in the middle of whatever they do."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> CIcap:
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

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_MAX
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.02)  # it has no other way to say that it is ready
        raise RuntimeError(f"c-icap does not answer:\n{self.log[-2000:]}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                probe.sendall(b"OPTIONS icap://localhost/echo ICAP/1.0\r\nHost: localhost\r\n\r\n")
                return probe.recv(8) == b"ICAP/1.0"
        except OSError:
            return False

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # What the main process has not ended itself: all have its process group.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
