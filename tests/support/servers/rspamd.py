"""A private rspamd: other people's clients for several scanners."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path

from . import packages
from .daemon import Daemon
from .ports import free_port

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


class Rspamd(Daemon):
    """An rspamd with one scanner, whose rule has these settings ("type": "kaspersky_se").

    module is "antivirus", or "external_services" where that has the type.
    """

    def __init__(
        self, directory: Path, rule: Mapping[str, str], *, module: str = "antivirus"
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        settings = {"symbol": "AV", "scan_mime_parts": "false", "log_clean": "true", **rule}
        lines = [
            f"        {name} = {value if value in ('true', 'false') else json.dumps(value)};"
            for name, value in settings.items()
        ]
        self._config = CONFIG.format(
            directory=self.directory, port=self.port, module=module, rule="\n".join(lines)
        )

    def scan(self, message: bytes, sender: str = "anna@example.com") -> dict[str, list[str]]:
        """The symbols of the scanner for a message, with what they say."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request("POST", "/checkv2", message, {"From": sender, "Rcpt": "b@example.net"})
            said = json.load(client.getresponse())
        finally:
            client.close()
        return {name: each.get("options", []) for name, each in said["symbols"].items()}

    def _prepare(self) -> None:
        packages.need("rspamd", commands=["rspamd"])
        packages.need_root("rspamd is told whose account it runs as by root only")
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "config").write_text(self._config)
        (self.directory / "rules.lua").touch()
        (self.directory / "tld").write_text("com\nnet\norg\n")  # its own list takes seconds

    def _command(self) -> list[str]:
        return [packages.find("rspamd"), "-f", "-i", "-c", str(self.directory / "config")]

    def is_ready(self) -> bool:
        """Whether it answers."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", "/ping")
            return client.getresponse().status == 200
        except OSError:
            return False
        finally:
            client.close()
