"""Exim's scanner clients, run by exim -bmalware.

Debian's exim4-daemon-heavy 4.96 has avast, clamd, cmdline, drweb, f-protd, f-prot6d,
fsecure, sock and sophie.  It cannot be installed beside Postfix, so it is unpacked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.emulators.asking import Answer
from tests.support.servers import packages, unpacked

ACCOUNT = "Debian-exim"

CONFIGURATION = """\
primary_hostname = mail.example.org
spool_directory = {spool}
log_file_path = {spool}/%slog
keep_environment =
av_scanner = {scanner}
"""

FOUND = re.compile(r"^Malware found: (.*)$", re.MULTILINE)
CLEAN = "No malware found."


class Exim:
    """The program, unpacked below the directory, which every account has to be able to enter."""

    def __init__(self, directory: Path) -> None:
        packages.need_root("Exim is started by root only")
        unpacked.account(ACCOUNT)
        program = unpacked.unpack(directory / "program", "exim4-daemon-heavy")
        self.program = program / "usr" / "sbin" / "exim4"
        self.program.chmod(0o755)
        self.directory = directory
        self.spool = directory / "eximspool"
        self.spool.mkdir(mode=0o755)
        shutil.chown(self.spool, ACCOUNT, ACCOUNT)

    def ask(self, scanner: str, message: bytes) -> Answer:
        """What it makes of the message, with this av_scanner."""
        configuration = self.directory / "exim.conf"
        configuration.write_text(CONFIGURATION.format(spool=self.spool, scanner=scanner))
        letter = self.directory / "letter.eml"
        letter.write_bytes(message)
        letter.chmod(0o644)
        done = subprocess.run(
            [str(self.program), "-C", str(configuration), "-bmalware", str(letter)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        found = FOUND.search(done.stdout)
        if found:
            return Answer("infected", (found[1],), done.stdout)
        if CLEAN in done.stdout and done.returncode == 0:
            return Answer("clean", (), done.stdout)
        return Answer("failed", (), f"status {done.returncode}: {done.stdout}")
