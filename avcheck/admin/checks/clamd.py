"""Checks of clamd's own settings; skipped where its clamd.conf cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin import amounts
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.scanners.rows import STREAM

# What the message grows by between the front door and clamd: the lines of a Received header,
# and the header of ours before the scanner's copy.
GROWTH = 64 * 1024


def clamd_limits(look: Look) -> Iterator[Result]:
    """It looks into the largest message that the mail system takes."""
    conf, largest = look.sure_conf, look.message_size_limit
    if conf is None or not largest:
        return
    names = ["MaxFileSize", "MaxScanSize"]
    if any(scanner.type == "clamd" and target.way == STREAM for scanner, target in look.targets):
        names.append("StreamMaxLength")
    for name in names:
        limit = conf.number(name)
        if 0 < limit <= largest + GROWTH:
            yield Result(
                WARNING,
                f"{name} is {amounts.size(limit)}, and Postfix takes messages of"
                f" {amounts.size(largest)}",
                f"{name} {(largest + GROWTH) // 1024**2 + 1}M",
            )
        else:
            yield Result(OK, f"{name} is above the size of message that Postfix takes")


def clamd_alerts(look: Look) -> Iterator[Result]:
    """It says so when it did not look into something."""
    conf = look.sure_conf
    if conf is None:
        return
    for name, what in (
        ("AlertExceedsMax", "what is too large or too deep for it"),
        ("AlertEncrypted", "an encrypted archive"),
    ):
        if conf.is_on(name):
            yield Result(OK, f"clamd does not say OK to {what}")
        else:
            yield Result(WARNING, f"clamd says OK to {what}", f"{name} yes")


def clamd_looks_inside(look: Look) -> Iterator[Result]:
    """It looks into mail and archives."""
    conf = look.sure_conf
    if conf is None:
        return
    for name in ("ScanMail", "ScanArchive"):
        if conf.is_on(name):
            yield Result(OK, f"{name} is on")
        else:
            yield Result(ERROR, f"{name} is off: attachments are not scanned", f"{name} yes")


def clamd_scan_time(look: Look) -> Iterator[Result]:
    """It gives up before we do; a scan that we gave up on goes on."""
    conf = look.sure_conf
    if conf is None:
        return
    longest = conf.number("MaxScanTime") / 1000
    patience = min(look.settings.timeout, look.settings.deadline)
    if not longest or longest >= patience:
        milliseconds = int(min(patience, 240) * 500)
        yield Result(
            WARNING,
            f"clamd scans {f'for up to {amounts.age(longest)}' if longest else 'without end'},"
            f" and avcheck waits {amounts.age(patience)}: scans pile up",
            f"MaxScanTime {milliseconds}",
        )
    else:
        yield Result(OK, f"clamd gives up a scan after {amounts.age(longest)}, before avcheck does")


def clamd_threads(look: Look) -> Iterator[Result]:
    """It can scan as many messages as come at a time."""
    conf, pipe = look.sure_conf, look.service.pipe
    runs = look.postfix.processes(pipe.line) if look.postfix and pipe else 0
    at_once = look.settings.slots or runs
    if conf is None or not at_once:
        return
    threads = conf.number("MaxThreads")
    if threads < at_once:
        yield Result(
            WARNING,
            f"{at_once} messages may come at a time, and clamd scans {threads}",
            f"MaxThreads {at_once}",
        )
    else:
        yield Result(OK, f"clamd scans {threads} messages at a time, and {at_once} may come")
