"""clamd.conf, with clamd's own defaults for what it does not say.

Which file that is, the daemon's arguments may tell, and a process can have any.  So the
file is read, and clamconf(1) is run, by the account of that process.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from avcheck import files
from avcheck.admin import places, programs
from avcheck.admin.account import account
from avcheck.admin.peer import Peer

# Where distributions keep it.
PLACES = ("/etc/clamav/clamd.conf", "/etc/clamd.d/scan.conf", "/etc/clamd.conf")

# What matters here, as ClamAV 1.4 has it (clamd.conf(5)); clamconf(1) knows better.
DEFAULTS = {
    "MaxScanSize": "400M",
    "MaxFileSize": "100M",
    "StreamMaxLength": "100M",
    "MaxRecursion": "17",
    "MaxFiles": "10000",
    "MaxScanTime": "120000",
    "MaxThreads": "10",
    "AlertExceedsMax": "no",
    "AlertEncrypted": "no",
    **dict.fromkeys(("ScanMail", "ScanArchive", "ScanPE", "ScanELF", "ScanOLE2"), "yes"),
    **dict.fromkeys(("ScanPDF", "ScanHTML", "ScanSWF", "ScanXMLDOCS"), "yes"),
    **dict.fromkeys(("ScanHWP3", "ScanOneNote"), "yes"),
    "ConcurrentDatabaseReload": "yes",
    "SelfCheck": "600",
}

UNITS = {"K": 1024, "k": 1024, "M": 1024**2, "m": 1024**2, "G": 1024**3, "g": 1024**3}

# The file has some hundred lines, most of them comments.
SIZE_MAX = 1024 * 1024

# Seconds for clamconf(1), which reads the databases as well, and the bytes that it may write.
PATIENCE = 60.0
OUTPUT_MAX = 16 * 1024 * 1024

# No limit of clamd's is larger.
NUMBER_MAX = 1 << 63

SAID = re.compile(r'^(\w+)(?: = (?:"(.*)"|(.*))| disabled)$')


@dataclass(frozen=True)
class Conf:
    """The file, what it comes to, and when it was last changed (time.time seconds)."""

    path: str
    values: Mapping[str, str]
    changed: float = 0.0

    def number(self, name: str) -> int:
        """A number, such as a size in bytes; 0 (for clamd: no limit) if it is none."""
        text = self.values.get(name, DEFAULTS.get(name, ""))
        unit = UNITS.get(text[-1:], 1)
        digits = text[:-1] if unit > 1 else text
        if not (digits.isascii() and digits.isdigit()):
            return 0
        return min(int(digits[:20]) * unit, NUMBER_MAX)

    def is_on(self, name: str) -> bool:
        """A switch."""
        return self.values.get(name, DEFAULTS.get(name, "")).lower() in ("yes", "true", "1")


def of(path: str, peer: Peer | None, patience: float = PATIENCE) -> Conf | None:
    """The configuration in the file that is named, or that the process was started with.

    Without either it is one of the usual places; None if there is none that can be read.
    """
    if path:
        try:
            return read(path, places.owner(os.fsencode(os.path.dirname(path))), None, patience)
        except OSError:
            return None
    if peer is not None and (path := from_argv(peer.argv)):
        # A path that begins elsewhere is of no use: nobody knows where it was started.
        if not path.startswith("/"):
            return None
        return read(path, peer.uid, peer.groups[0], patience)
    for place in PLACES:
        conf = read(place, os.geteuid(), None, patience)
        if conf is not None:
            return conf
    return None


def from_argv(argv: tuple[str, ...]) -> str:
    """The file that clamd's arguments name, or nothing."""
    for number, word in enumerate(argv):
        if word.startswith("--config-file="):
            return word.partition("=")[2]
        if word in ("-c", "--config-file"):
            return argv[number + 1] if number + 1 < len(argv) else ""
    return ""


def read(path: str, user: int, group: int | None = None, patience: float = PATIENCE) -> Conf | None:
    """The configuration in the file, by clamconf(1) if that can be asked; None if there is none.

    Read as the account.
    """
    with account(user, group):
        return _read(path, patience)


def _read(path: str, patience: float) -> Conf | None:
    try:
        fd = files.open_regular(path, follow=True)
        try:
            changed = os.fstat(fd).st_mtime
            text = places.content(fd, SIZE_MAX).decode("utf-8", "replace")
        finally:
            os.close(fd)
    except (OSError, ValueError):  # a NUL in its name is a ValueError
        return None
    own = parse(text)
    values = by_clamconf(path, patience) or {}
    # Of what is not set there clamconf may say "disabled", where clamd has its own default.
    for name in DEFAULTS.keys() - own.keys():
        if values.get(name) in ("0", "no"):
            del values[name]
    return Conf(path, {**own, **values}, changed)


def parse(text: str) -> dict[str, str]:
    """The settings of a clamd.conf; the first of two lines with one name wins, as in clamd."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(None, 1)
        if parts and not parts[0].startswith("#"):
            values.setdefault(parts[0], parts[1].strip().strip('"') if parts[1:] else "yes")
    return values


def by_clamconf(path: str, patience: float = PATIENCE) -> dict[str, str] | None:
    """The settings as clamconf(1) says them, defaults and all; None if it cannot."""
    program = shutil.which("clamconf")
    if program is None or os.path.basename(path) != "clamd.conf":
        return None
    try:
        done = programs.run(
            [program, f"--config-dir={os.path.dirname(path)}"], patience, OUTPUT_MAX
        )
    except OSError:
        return None
    # It complains by its status when freshclam.conf is not there.
    return parse_clamconf(done.out.decode("utf-8", "replace")) or None


def parse_clamconf(text: str) -> dict[str, str]:
    """The settings of clamd.conf in the output of clamconf(1)."""
    values: dict[str, str] = {}
    ours = False
    for line in text.splitlines():
        if line.startswith("Config file: "):
            ours = line == "Config file: clamd.conf"
        elif ours and (found := SAID.match(line)):
            name, quoted, bare = found.groups()
            values.setdefault(name, quoted if quoted is not None else bare or "no")
        elif ours and values and not line.strip():
            break
    return values
