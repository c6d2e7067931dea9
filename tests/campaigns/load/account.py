"""Where every message is afterwards, what was left behind, and the table of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from tests.campaigns.load.mta import CLEAN, ENCRYPTED, INFECTED, LOOK, Letter, MailSystem, Ran
from tests.campaigns.load.place import SLOTS, Place
from tests.support.fakes import PATIENCE
from tests.support.mta import KEEP, TEMPFAIL

# Where a copy of a message can be.
DELIVERED = "delivered"
QUARANTINED = "quarantined"
HANDLED = "handled"
UNSCANNABLE = "handled as unscannable (--attempts)"

ALLOWED = {
    CLEAN: (DELIVERED, UNSCANNABLE),
    INFECTED: (QUARANTINED, UNSCANNABLE),
    ENCRYPTED: (HANDLED, UNSCANNABLE),
}

ENHANCED = re.compile(rb"[245]\.\d+\.\d+")

# (Each run has a sender of its own here, by which its copies are told apart; so the counts of
# --attempts belong to a run each, and the next one does not remove them.)
STATE = re.compile(rf"slot\.[0-{SLOTS - 1}]|canary\.\w+|attempts\.[0-9a-f]+")

KIB = 1024

# Descriptors that clamd opens for itself at times: for its signatures, for a thread.
SPARE = 2


@dataclass(frozen=True)
class Copy:
    """A copy that somebody has: where, its digest, and in what else it is not as sent."""

    where: str
    digest: str
    difference: str = ""


@dataclass
class Account:
    """The numbers, in the order of the table, and every broken promise."""

    rows: list[tuple[str, object]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def must(self, condition: bool, what: str) -> None:
        if not condition:
            self.violations.append(what)

    @property
    def table(self) -> str:
        """The numbers in Markdown."""
        lines = ["| what | how many |", "|:---|---:|"]
        lines += [f"| {name} | {value} |" for name, value in self.rows]
        lines += [f"| **violations** | **{len(self.violations)}** |"]
        return "\n".join(lines)


def account(
    place: Place, mail: MailSystem, happened: Counter[str], before: dict[str, int]
) -> Account:
    """Look at everything, now that the queue is empty and nobody runs any more.

    before is what open_files() said at the beginning.
    """
    result = Account()
    copies = _copies(place, {ran.sender: ran for ran in mail.runs}, result)
    outcomes = Counter(_judge(ran, copies[ran.sender], result) for ran in mail.runs)
    places = Counter(_destination(each, copies, result) for each in mail.letters)
    result.rows += [("messages", len(mail.letters)), *sorted(places.items())]
    result.rows += [("runs", len(mail.runs)), *sorted(outcomes.items())]
    twice = sum(sum(len(copies[ran.sender]) for ran in each.runs) > 1 for each in mail.letters)
    result.rows.append(("messages handed on twice, by a run that was killed or said so", twice))
    blows = Counter(signal.Signals(each).name for ran in mail.runs for each in ran.blows)
    result.rows += [(f"{name} sent to avcheck", count) for name, count in sorted(blows.items())]
    result.rows += sorted(happened.items())
    _left_behind(place, mail, before, result)
    _memory(mail, result)
    _metrics(place, mail, result)
    return result


def _copies(place: Place, runs: dict[str, Ran], result: Account) -> defaultdict[str, list[Copy]]:
    """The copies that there are, by the sender of the run which has made them."""
    found: defaultdict[str, list[Copy]] = defaultdict(list)

    def add(sender: str, where: str, digest: str, difference: str = "") -> None:
        result.must(sender in runs, f"a copy of nobody's run: {sender}, {where}")
        found[sender].append(Copy(where, digest, difference))

    for taken in place.hop.taken():
        ran = runs.get(taken.sender)
        difference = "" if taken.first.startswith("X-AV-Checked: ") else f"begins {taken.first}"
        if ran and taken.recipients != ran.letter.recipients:
            difference = f"for {taken.recipients}"
        add(taken.sender, DELIVERED, taken.digest, difference)
    for file in place.taken.iterdir():
        sender, _, verdict = file.name.partition(" ")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        add(sender, UNSCANNABLE if verdict == "unscannable" else HANDLED, digest)
    for entry in place.quarantine.glob("[!.]*"):
        about = json.loads((entry / "about.json").read_text())
        digest = hashlib.sha256((entry / "message").read_bytes()).hexdigest()
        add(about["sender"], QUARANTINED, digest, "" if about["sha256"] == digest else "sidecar")
    return found


def _judge(ran: Ran, copies: list[Copy], result: Account) -> str:
    """What came of a run; what must not is noted."""
    fact = f"{ran.letter.kind} message {ran.letter.number}, {ran}, {copies}"
    for copy in copies:
        result.must(copy.where in ALLOWED[ran.letter.kind], f"in the wrong place: {fact}")
        digest = ran.letter.wire_digest if copy.where == DELIVERED else ran.letter.digest
        result.must(copy.digest == digest and not copy.difference, f"changed: {fact}")
    result.must(len(copies) <= 1, f"more than one copy of a run: {fact}")
    if ran.status is None:
        return "run lost with its delivery agent"
    if ran.status == 0:
        result.must(len(copies) == 1, f"lost: {fact}")
        result.must(not ENHANCED.match(ran.output), f"a status code in a success: {fact}")
        return "status 0"
    if ran.status == TEMPFAIL:
        result.must(bool(KEEP.match(ran.output)), f"no 4.x.x: {fact}")
        result.must(not copies or b"possible duplicate" in ran.output, f"twice, unsaid: {fact}")
        return "status 75, possible duplicate" if copies else "status 75"
    # SIGTERM comes too early to be caught, while the interpreter starts.
    by = -ran.status
    result.must(by in ran.blows, f"a status that is not meant: {fact}")
    result.must(by == signal.SIGKILL or not copies, f"died with the message handed on: {fact}")
    return "killed"


def _destination(each: Letter, copies: dict[str, list[Copy]], result: Account) -> str:
    """Where the message is in the end."""
    last = each.runs[-1]
    result.must(last.status == 0, f"never taken care of: {each}")
    return f"... {copies[last.sender][-1].where}" if copies[last.sender] else "... lost"


def open_files(place: Place, mail: MailSystem) -> dict[str, int]:
    """How many descriptors those have open who stay."""
    pids = {"mail server": place.hop.pid}
    pids |= {f"scanner {number}": each.pid for number, each in enumerate(place.scanners)}
    pids |= {f"delivery agent {number}": pid for number, pid in enumerate(mail.pids)}
    return {who: len(os.listdir(f"/proc/{pid}/fd")) for who, pid in pids.items()}


def _more(before: dict[str, int], now: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Who has more open than at the beginning."""
    return {who: (before[who], count) for who, count in now.items() if count > before[who] + SPARE}


def _left_behind(place: Place, mail: MailSystem, before: dict[str, int], result: Account) -> None:
    """Files, processes and descriptors that should not be there."""
    killed = [ran for ran in mail.runs if ran.status == -signal.SIGKILL]
    names = [name for name in os.listdir(place.spool) if not STATE.fullmatch(name)]
    # The copy for a handler has a name, and stays if avcheck is killed while that runs.
    copies = [name for name in names if name.startswith("avcheck.")]
    result.must(len(copies) == len(names), f"left in the spool directory: {names}")
    result.must(len(copies) <= len(killed), f"copies for handlers: {copies}")
    result.rows.append(("copies for a handler left by runs that were killed", len(copies)))
    began = place.quarantine / ".new"
    entries = os.listdir(began) if began.is_dir() else []
    result.must(len(entries) <= len(killed), f"left in the quarantine: {entries}")
    result.rows.append(
        ("unfinished quarantine entries left by runs that were killed", len(entries))
    )
    running = place.processes(str(place.spool))
    result.must(not running, f"processes are still running: {running}")
    result.rows.append(("processes left", len(running)))
    end = time.monotonic() + PATIENCE
    while (more := _more(before, open_files(place, mail))) and time.monotonic() < end:
        time.sleep(LOOK)  # the last connections are being closed
    result.must(not more, f"more descriptors than at the beginning: {more}")
    result.rows.append(("descriptors left open in servers and scanners", len(more)))


def _memory(mail: MailSystem, result: Account) -> None:
    """The peak memory of the runs, in the first tenth of the time and in the last."""
    ordinary = [
        ran for ran in mail.runs if ran.status == 0 and ran.letter.kind == CLEAN and not ran.blows
    ]
    tenth = max(10, len(ordinary) // 10)
    ordinary.sort(key=lambda ran: ran.at)
    for name, some in (("first", ordinary[:tenth]), ("last", ordinary[-tenth:])):
        peaks = [ran.memory for ran in some]
        words = f"{statistics.median(peaks) / KIB:.2f} / {max(peaks) / KIB:.2f} MiB"
        result.rows.append((f"peak memory, {name} tenth of the clean runs (median / most)", words))
    first, last = (
        statistics.median(ran.memory for ran in some)
        for some in (ordinary[:tenth], ordinary[-tenth:])
    )
    result.must(last <= first + 256, f"memory grows: {first} KiB, {last} KiB")


def _metrics(place: Place, mail: MailSystem, result: Account) -> None:
    """The counters, read by Prometheus's own parser, against the runs."""
    text = place.metrics.read_text()
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name][sample.labels.get("action", "")] += int(sample.value)
            if sample.labels.get("le") == "+Inf":
                values["+Inf"][""] += int(sample.value)
    messages = values["avcheck_messages_total"]
    # One that was struck, or lost its agent, may have come to its end and be counted, or not.
    doubtful = sum(1 for ran in mail.runs if ran.blows or ran.status is None)
    sure = len(mail.runs) - doubtful
    counted = messages.total()
    result.must(sure <= counted <= sure + doubtful, f"{counted} counted, {sure} + {doubtful} runs")
    delivered = sum(1 for each in place.hop.taken())
    result.must(
        delivered - doubtful <= messages["deliver"] <= delivered + doubtful,
        f"{messages['deliver']} deliveries counted of {delivered}",
    )
    scans = values["avcheck_scans_total"].total()
    histogram = values["avcheck_scan_seconds_count"].total()
    result.must(
        scans == histogram == values["+Inf"].total(), f"{scans} scans, {histogram} in the histogram"
    )
    result.must("avcheck_last_canary" in text, "no known-answer test was counted")
    with contextlib.suppress(FileNotFoundError):
        os.stat(f"{place.metrics}.new")
        result.must(False, "the metrics file has an unfinished successor")
    result.rows += [
        ("runs that ended undisturbed", sure),
        ("runs counted in the metrics file", counted),
        ("answers of scanners counted", scans),
    ]
