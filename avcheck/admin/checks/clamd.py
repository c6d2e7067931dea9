"""Checks of clamd's own settings; skipped where its clamd.conf cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import amounts, spawned
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Pipe
from avcheck.admin.spawned import Spawn
from avcheck.printable import printable
from avcheck.scanners.rows import STREAM
from avcheck.settings import Target

# What the message grows by between the front door and clamd: the lines of a Received header,
# and the header of ours before the scanner's copy.
GROWTH = 64 * 1024

# What the documents advise, where the mail system takes nothing larger.
ADVISED = {"MaxFileSize": 400, "MaxScanSize": 400, "StreamMaxLength": 400}

# What clamd looks into unless it is told not to, and what is then not scanned.
PARTS = {
    "ScanMail": "attachments",
    "ScanArchive": "archives",
    "ScanPE": "programs for Windows",
    "ScanELF": "programs for Linux",
    "ScanOLE2": "Office documents and their macros",
    "ScanPDF": "PDF documents",
    "ScanHTML": "web pages",
    "ScanSWF": "Flash films",
    "ScanXMLDOCS": "Office documents in XML",
    "ScanHWP3": "Hangul documents",
    "ScanOneNote": "OneNote documents",
}
ATTACHED = ("ScanMail", "ScanArchive")

# Where freshclam(1) is told whom to notify.
FRESHCLAM = ("/etc/clamav/freshclam.conf", "/etc/freshclam.conf")

# Seconds within which nobody can tell which of the two came first.
SOON = 1.0

# Where systemd runs as the first process (sd_booted(3)).
BOOTED = "/run/systemd/system"


def restart() -> str:
    """The command that restarts clamd on this machine."""
    if os.path.isdir(BOOTED):
        return "systemctl restart clamav-daemon"
    return "service clamav-daemon restart"


def clamd_targets(look: Look) -> list[Target]:
    return [target for scanner, target in look.targets if scanner.type == "clamd"]


def clamd_restarted(look: Look) -> Iterator[Result]:
    """It was started after its settings were last changed: it reads them then, and never again."""
    for conf in look.confs:
        path = printable(conf.path)
        for target in clamd_targets(look):
            peer = look.peer(target)
            if peer is None or not peer.started:
                continue
            if conf.changed > peer.started + SOON:
                text = f"{path} was changed after clamd was started, and does not count yet"
                yield Result(ERROR, text, restart())
            else:
                yield Result(OK, f"clamd was started after {path} was last changed")


def clamd_limits(look: Look) -> Iterator[Result]:
    """It looks into the largest message that the mail system takes."""
    confs, largest = look.confs, look.message_size_limit
    names = ["MaxFileSize", "MaxScanSize"]
    if any(target.way == STREAM for target in clamd_targets(look)):
        names.append("StreamMaxLength")
    for conf in confs if largest else ():
        for name in names:
            limit = conf.number(name)
            if 0 < limit <= largest + GROWTH:
                wanted = max(ADVISED[name], (largest + GROWTH) // 1024**2 + 1)
                yield Result(
                    WARNING,
                    f"{name} is {amounts.binary(limit)}, and {look.system} takes messages of"
                    f" {amounts.binary(largest)}",
                    f"{name} {wanted}M",
                )
            else:
                yield Result(OK, f"{name} is above the size of message that {look.system} takes")


def clamd_equal_sizes(look: Look) -> Iterator[Result]:
    """It scans a file in an archive to its end, or says that it has not (clamav#633)."""
    for conf in look.confs:
        file, scan = conf.number("MaxFileSize"), conf.number("MaxScanSize")
        if file and (not scan or file < scan):
            yield Result(
                WARNING,
                f"MaxFileSize is {amounts.binary(file)} and MaxScanSize"
                f" {amounts.binary(scan) if scan else 'without limit'}: clamd says OK to a larger"
                " file in an archive, and has looked at its beginning only",
                f"MaxFileSize {max(scan // 1024**2, ADVISED['MaxFileSize'])}M"
                + (f"\nMaxScanSize {ADVISED['MaxScanSize']}M" if not scan else ""),
            )
        else:
            yield Result(OK, "a file that is too large is too much to scan as well, and reported")


def clamd_alerts(look: Look) -> Iterator[Result]:
    """It says so when it did not look into something."""
    for conf in look.confs:
        for name, what in (
            ("AlertExceedsMax", "what is too large or too deep for it"),
            ("AlertEncrypted", "an encrypted archive"),
        ):
            if conf.is_on(name):
                yield Result(OK, f"clamd does not say OK to {what}")
            else:
                yield Result(WARNING, f"clamd says OK to {what}", f"{name} yes")


def clamd_looks_inside(look: Look) -> Iterator[Result]:
    """It looks into mail and archives, and into each kind of document and program."""
    for conf in look.confs:
        for name, what in PARTS.items():
            if conf.is_on(name):
                yield Result(OK, f"{name} is on")
            else:
                level = ERROR if name in ATTACHED else WARNING
                yield Result(level, f"{name} is off: {what} are not scanned", f"{name} yes")


def clamd_leaves_nothing_out(look: Look) -> Iterator[Result]:
    """No path is left out, and no signature of the usual ones."""
    for conf in look.confs:
        path = printable(conf.path)
        excluded = conf.values.get("ExcludePath", "no")
        if excluded.lower() not in ("no", "false", "0"):
            text = f"ExcludePath {printable(excluded, 80)}: clamd says OK to what lies there"
            yield Result(WARNING, text, f"sed -i 's/^ExcludePath/#&/' {path}")
        else:
            yield Result(OK, "no ExcludePath: nothing is left out by its path")


def clamd_self_check(look: Look) -> Iterator[Result]:
    """It reads new signatures by itself; the version that it says is that of the files."""
    for conf in look.confs:
        if conf.number("SelfCheck") or _is_notified():
            yield Result(OK, "clamd reads new signatures when there are any")
        else:
            text = "SelfCheck is off: clamd has new signatures only if freshclam tells it"
            yield Result(WARNING, f"{text} (NotifyClamd)", "SelfCheck 600")


def _is_notified() -> bool:
    """Whether freshclam tells clamd of new signatures."""
    for place in FRESHCLAM:
        try:
            with open(place, encoding="utf-8", errors="replace") as file:
                return any(line.startswith("NotifyClamd ") for line in file)
        except OSError:
            continue
    return False


def clamd_scan_time(look: Look) -> Iterator[Result]:
    """It gives up before we do; a scan that we gave up on goes on."""
    patience = min(look.settings.timeout, look.settings.deadline)
    for conf in look.confs:
        longest = conf.number("MaxScanTime") / 1000
        if not longest or longest >= patience:
            milliseconds = int(min(patience, 240) * 500)
            waits = f"waits {amounts.age(patience)}" if patience < float("inf") else "waits longer"
            yield Result(
                WARNING,
                f"clamd scans {f'for up to {amounts.age(longest)}' if longest else 'without end'},"
                f" and avcheck {waits}: scans pile up",
                f"MaxScanTime {milliseconds}",
            )
        else:
            text = f"clamd gives up a scan after {amounts.age(longest)}, before avcheck does"
            yield Result(OK, text)


def clamd_threads(look: Look) -> Iterator[Result]:
    """It can scan as many messages as come at a time."""
    call, postfix, runs = look.service.call, look.postfix, 0
    if postfix is not None and isinstance(call, Pipe):
        runs = postfix.processes(call.line)
    elif postfix is not None and isinstance(call, Spawn):
        runs = spawned.at_once(postfix, call, look.settings)
    at_once = look.settings.slots or runs
    for conf in look.confs if at_once else ():
        threads = conf.number("MaxThreads")
        if threads < at_once:
            yield Result(
                WARNING,
                f"{at_once} messages may come at a time, and clamd scans {threads}",
                f"MaxThreads {at_once}",
            )
        else:
            yield Result(OK, f"clamd scans {threads} messages at a time, and {at_once} may come")
