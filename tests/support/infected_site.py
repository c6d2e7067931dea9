"""scripts/infected.sh as avcheck runs it: a quarantine, a mail system, and settings of its own."""

from __future__ import annotations

import email
import email.message
import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree

SCRIPT = tree.ROOT / "scripts" / "infected.sh"
ROOT = os.geteuid() == 0
MAIL = (
    b"Received: from a\r\nSubject: hello\r\nX-Odd: \x07\xff\x1b[31m\r\n\r\n\x00body\n.\nFrom \xe4\n"
)

# What a run that is stopped in the middle may take before the test gives up.
PATIENCE = 30

# Everything but NUL, which no argument can hold.
ALL_BYTES = bytes(range(1, 256))
HOSTILE = [
    b"-rf",
    b"",
    b"'; touch oops; '",
    b"$(touch oops)`touch oops`",
    b"* /etc/*",
    b'"quoted \\" local part"@example.org',
    b"a\nBcc: victim@example.org\n\nb\r\n.\r\n",
    b"%s%n\\n\\0\\c",
    "jürgen@müller.example \U0001f600 \u20ac \ud7ff \U0010ffff".encode(),
    # Not UTF-8: overlong, a surrogate, too high, cut off.
    b"\xc0\x80 \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xf5 \xe2\x82",
    ALL_BYTES,
    ALL_BYTES[::-1],
]


class Site:
    """A spool directory with a message, the handler, and a program that keeps reports."""

    def __init__(self, directory: Path, shell: str) -> None:
        self.directory = directory
        self.shell = shell
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.quarantine = self.spool / "quarantine"
        self.message = self.spool / "m.1"
        self.message.write_bytes(MAIL)
        self.tools = directory / "tools"
        self.tools.mkdir()
        self.settings = directory / "etc" / "infected.conf"
        self.settings.parent.mkdir(mode=0o755)
        self.reports = directory / "reports"
        self.reports.mkdir()
        # As a site would: the settings on top are changed in a copy.
        text, changed = re.subn(
            r"(?m)^settings=.*$", f"settings={self.settings}", SCRIPT.read_text()
        )
        assert changed == 1
        self.script = directory / "infected.sh"
        self.script.write_text(text)
        self.sendmail = self.program(
            "sendmail",
            f'for word do printf "%s\\0" "$word"; done >{self.reports}/$$.argv\n'
            f"exec cat >{self.reports}/$$.mail",
        )
        self.environment: dict[str, str | bytes] = {
            "PATH": f"{self.tools}:/bin:/usr/bin",
            "SENDMAIL": f"{self.sendmail} -i",
            "AVCHECK_VERDICT": "infected",
            "AVCHECK_VIRUS": "Eicar-Test-Signature",
            "AVCHECK_SCANNER": "clamd /run/clamav/clamd.ctl",
            "AVCHECK_QUEUE_ID": "4abc",
            "AVCHECK_SHA256": hashlib.sha256(MAIL).hexdigest(),
        }

    def program(self, name: str, body: str) -> Path:
        """A shell script that is found before the program of that name."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def configure(self, text: str) -> None:
        if not ROOT:
            pytest.skip("a settings file has to be root's")
        self.settings.write_text(text)
        self.settings.chmod(0o644)

    def forget_queue_id(self) -> None:
        """From now on no run is another try of one before."""
        del self.environment["AVCHECK_QUEUE_ID"]

    def start(
        self,
        words: Sequence[bytes] = (b"Eicar FOUND", b"eve@example.org", b"bob@example.org"),
        *,
        message: Path | str | None = None,
        environment: Mapping[str, str | bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.shell, self.script, message or self.message, *words],
            cwd=self.spool,
            env=self.environment if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            umask=0o022,  # the handler must not rely on avcheck's
            start_new_session=True,
        )

    def run(
        self,
        words: Sequence[bytes] = (b"Eicar FOUND", b"eve@example.org", b"bob@example.org"),
        *,
        message: Path | str | None = None,
        environment: Mapping[str, str | bytes] | None = None,
    ) -> tuple[int, str]:
        """The exit status and standard error; standard output has the entry's name, or nothing."""
        process = self.start(words, message=message, environment=environment)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        names = [entry.name for entry in self.entries()]
        assert out.decode() in (["", *(f"stored as {name}\n" for name in names)])
        assert bool(out) == (process.returncode == 0)
        return process.returncode, err.decode("utf-8", "surrogateescape")

    def entries(self) -> list[Path]:
        """What can be seen in the quarantine."""
        if not self.quarantine.is_dir():
            return []
        return [path for path in self.quarantine.iterdir() if path.name != ".new"]

    def about(self) -> dict[str, Any]:
        """The sidecar of the only entry."""
        (entry,) = self.entries()
        about: dict[str, Any] = json.loads((entry / "about.json").read_bytes().decode("ascii"))
        return about

    def unfinished(self) -> list[Path]:
        new = self.quarantine / ".new"
        names = new.iterdir() if new.is_dir() else ()
        return [path for path in names if not path.name.startswith("told-")]

    def report(self) -> tuple[list[bytes], email.message.Message, str]:
        """The only report: the arguments of the program, the header, the text."""
        (argv,) = self.reports.glob("*.argv")
        (kept,) = self.reports.glob("*.mail")
        raw = kept.read_bytes()
        assert set(raw) <= {0x0A, *range(0x20, 0x7F)}
        assert max(map(len, raw.splitlines())) <= 998
        mail = email.message_from_bytes(raw)
        return argv.read_bytes().split(b"\0")[:-1], mail, str(mail.get_payload())

    def assert_stored(self) -> None:
        """One whole entry, nothing unfinished, nothing in the spool."""
        (entry,) = self.entries()
        assert sorted(path.name for path in entry.iterdir()) == ["about.json", "message"]
        assert (entry / "message").read_bytes() == MAIL
        assert self.about()["sha256"] == hashlib.sha256(MAIL).hexdigest()
        assert self.unfinished() == []
        assert not self.message.exists()

    def assert_untouched(self) -> None:
        """Nothing was stored, nothing half; the message is where it was; nobody was told."""
        assert self.entries() == []
        assert self.unfinished() == []
        assert self.message.read_bytes() == MAIL
        assert list(self.reports.iterdir()) == []


def mount(where: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], check=True)
