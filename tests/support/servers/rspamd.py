"""A private rspamd: other people's clients for several scanners."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from . import packages
from .ports import free_port

START_MAX = 60.0
STOP_MAX = 30.0
PATIENCE = 60.0

CONFIG = """\
options {{
    pidfile = "{directory}/pid";
    tempdir = "{directory}";
    hs_cache_dir = "{directory}";
    filters = "";
    control_socket = "{directory}/control mode=0600";
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
    url_tld = "{directory}/tld";
}}
logging {{ type = "file"; filename = "{directory}/log"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; enabled = true; }}
lua = "{directory}/rules.lua";
modules {{ path = "${{PLUGINSDIR}}/{module}.lua"; }}
metric {{ name = "default"; actions {{ reject = 1000; }} }}
{module} {{
    av {{
{rule}
    }}
}}
"""


class Rspamd:
    """An rspamd with one scanner, whose rule has these settings ("type": "kaspersky_se").

    module is "antivirus", or "external_services" where that has the type.
    """

    def __init__(
        self, directory: Path, rule: Mapping[str, str], *, module: str = "antivirus"
    ) -> None:
        self.directory = directory.absolute()
        self.port = free_port()
        settings = {"symbol": "AV", "scan_mime_parts": "false", "log_clean": "true", **rule}
        lines = [
            f"        {name} = {value if value in ('true', 'false') else json.dumps(value)};"
            for name, value in settings.items()
        ]
        self._config = CONFIG.format(
            directory=self.directory, port=self.port, module=module, rule="\n".join(lines)
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has written so far."""
        try:
            return (self.directory / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def scan(self, message: bytes, sender: str = "anna@example.com") -> dict[str, list[str]]:
        """The symbols of the scanner for a message, with what they say."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request("POST", "/checkv2", message, {"From": sender, "Rcpt": "b@example.net"})
            said = json.load(client.getresponse())
        finally:
            client.close()
        return {name: each.get("options", []) for name, each in said["symbols"].items()}

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with its log if it does not."""
        packages.need("rspamd", commands=["rspamd"])
        packages.need_root("rspamd is told whose account it runs as by root only")
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "config").write_text(self._config)
        (self.directory / "rules.lua").touch()
        (self.directory / "tld").write_text("com\nnet\norg\n")  # its own list takes seconds
        self._process = subprocess.Popen(
            [packages.find("rspamd"), "-f", "-i", "-c", str(self.directory / "config")],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask it to end and wait; nothing happens if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Rspamd:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_MAX
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.05)  # it has no other way to say that it is ready
        raise RuntimeError(f"rspamd does not answer:\n{self.log[-3000:]}")

    def _answers(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", "/ping")
            return client.getresponse().status == 200
        except OSError:
            return False
        finally:
            client.close()
