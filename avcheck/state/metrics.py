"""Counters for Prometheus, in a text file that is its own store.

Each run reads the file, adds to it, and renames a new one over it, all under a lock on
FILE.lock.  A collector such as node_exporter's textfile collector sees whole files only.
Counting never fails a message: if the file cannot be read, counting begins at zero, and
if it cannot be written, nothing is counted.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4).
"""

from __future__ import annotations

from time import monotonic, time

from avcheck import files, unix
from avcheck.verdict import CLEAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from avcheck.verdict import Answer

# Seconds to wait for the lock, and between two tries: a run holds it for a millisecond.
LOCK_MAX = 10.0
PAUSE = 0.005

# The characters of a label's value; "+" is for +Inf.
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+")

# Upper bounds of the histogram's buckets, in seconds.
BUCKETS = ("0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30", "100", "+Inf")

FAMILIES = (
    # name, type, labels, help
    (
        "avcheck_messages_total",
        "counter",
        ("verdict", "action"),
        "Messages by verdict and by what was done.",
    ),
    ("avcheck_scans_total", "counter", ("scanner", "verdict"), "Answers by scanner and verdict."),
    ("avcheck_scan_seconds", "histogram", ("scanner",), "Time a scanner took to answer."),
    (
        "avcheck_last_clean_timestamp_seconds",
        "gauge",
        (),
        "When a message was last found clean.",
    ),
    (
        "avcheck_last_canary_timestamp_seconds",
        "gauge",
        ("scanner",),
        "When a scanner last knew the test virus.",
    ),
)

# A file of ours has some 20 lines for each scanner.
SIZE_MAX = 1 << 20


def add(file: bytes, verdict: str, action: str, answers: Sequence[Answer]) -> None:
    """Count a message and what each scanner said about it; never raises."""
    try:
        lock = files.open_regular(file + b".lock", unix.O_RDWR | unix.O_CREAT)
        try:
            if files.wait_for(lambda: files.lock(lock), monotonic() + LOCK_MAX, PAUSE):
                values = parse(_read(file))
                count(values, verdict, action, answers, time())
                _replace(file, render(values))
        finally:
            unix.close(lock)
    except OSError:
        return


def count(
    values: dict[str, float],
    verdict: str,
    action: str,
    answers: Sequence[Answer],
    now: float,
) -> None:
    """Add the message to the values, whose keys are name and labels."""
    _add(values, f'avcheck_messages_total{{verdict="{verdict}",action="{action}"}}', 1)
    if verdict == CLEAN.name:
        values["avcheck_last_clean_timestamp_seconds"] = round(now, 3)
    for answer in answers:
        # The type of a scanner is plain, but for the name of an administrator's module.
        name = "".join(letter if letter in PLAIN else "_" for letter in answer.scanner)
        scanner = f'scanner="{name}"'
        found = answer.finding.verdict.name
        _add(values, f'avcheck_scans_total{{{scanner},verdict="{found}"}}', 1)
        for bound in BUCKETS:
            within = answer.seconds <= float(bound)
            _add(values, f'avcheck_scan_seconds_bucket{{{scanner},le="{bound}"}}', within)
        _add(values, f"avcheck_scan_seconds_sum{{{scanner}}}", round(answer.seconds, 6))
        _add(values, f"avcheck_scan_seconds_count{{{scanner}}}", 1)
        if answer.tested:
            values[f"avcheck_last_canary_timestamp_seconds{{{scanner}}}"] = round(now, 3)


def _add(values: dict[str, float], key: str, more: float) -> None:
    values[key] = values.get(key, 0) + more


def parse(text: bytes) -> dict[str, float]:
    """The values in the file, by name and labels.

    A line that render() would not have written is left out: if it were kept, it could make
    the whole file unreadable for ever.
    """
    values = {}
    for line in text.decode("ascii", "replace").split("\n"):
        key, _, value = line.rpartition(" ")
        number = _number(value)
        if number is not None and _family(key):
            values[key] = number
    return values


def _number(value: str) -> float | None:
    if not value or any(letter not in "0123456789.e+-" for letter in value) or value[0] in "+-":
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number < 1e300 else None


def _family(key: str) -> str:
    """The family that the key belongs to; empty if it is none of ours."""
    name, _, braced = key.partition("{")
    for family, kind, labels, _ in FAMILIES:
        if kind == "histogram":
            forms = {
                f"{family}_bucket": (*labels, "le"),
                f"{family}_sum": labels,
                f"{family}_count": labels,
            }
        else:
            forms = {family: labels}
        if name in forms and _has_labels(braced, forms[name]):
            return family
    return ""


def _has_labels(braced: str, labels: Sequence[str]) -> bool:
    """Whether what follows the opening brace is exactly these labels, with plain values."""
    if not labels:
        return braced == ""
    if not braced.endswith("}"):
        return False
    pairs = braced[:-1].split(",")
    return len(pairs) == len(labels) and all(
        pair.startswith(label + '="') and pair.endswith('"') and _plain(pair[len(label) + 2 : -1])
        for pair, label in zip(pairs, labels, strict=True)
    )


def _plain(value: str) -> bool:
    return value != "" and all(letter in PLAIN for letter in value)


def render(values: dict[str, float]) -> bytes:
    """The file with these values."""
    lines = []
    for family, kind, _, help in FAMILIES:
        keys = [key for key in values if _family(key) == family]
        if keys:
            lines += [f"# HELP {family} {help}", f"# TYPE {family} {kind}"]
            lines += [f"{key} {values[key]:.15g}" for key in keys]
    return "".join(line + "\n" for line in lines).encode("ascii", "replace")


def _read(file: bytes) -> bytes:
    """What is in the file; nothing if there is none, or if it is too large to be ours.

    Raises OSError for what is no file.
    """
    try:
        fd = files.open_regular(file)
    except FileNotFoundError:
        return b""
    try:
        text = files.read_up_to(fd, SIZE_MAX + 1)
        return text if len(text) <= SIZE_MAX else b""
    finally:
        unix.close(fd)


def _replace(file: bytes, text: bytes) -> None:
    new = file + b".new"
    # We have the lock, so what is there was left by a run that was killed.
    try:  # noqa: SIM105 - contextlib takes 1.7 ms to import
        unix.unlink(new)
    except FileNotFoundError:
        pass
    fd = files.create(new)
    try:
        unix.fchmod(fd, 0o644)  # the collector runs as another account
        while text:
            text = text[unix.write(fd, text) :]
    finally:
        unix.close(fd)
    unix.rename(new, file)
