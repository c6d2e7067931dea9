"""1000 messages through each mail system while everything around it fails."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.campaigns.report import Report
from tests.support.tree import ROOT

HERE = Path(__file__).parent

SCENES = {
    "storm": HERE / "test_chaos.py",
    "sessions": HERE / "test_sessions.py",
    "outage": HERE / "test_outage.py",
    "upgrade": HERE / "test_upgrade.py",
    "links": ROOT / "tests" / "live" / "test_scaling.py",
}

TEXT = """Repeat it: `make chaos` (`make chaos MESSAGES=100` for fewer).

{count} messages go through each mail system, real ones from Debian's packages, set up as their
pages say. In the *storm* the scanner is restarted, killed, and has no place in its queue, the spool
is full, the port that mail comes back to is shut, and the mail system is restarted; with *sessions*
of avcheck-smtp, after the queue and before it, these are killed as well; in the *outage*
the scanner is away and all mail waits; in the *upgrade* one avcheck after the other is installed
while mail goes through it; the *links* are those of three mail hosts and two scanner hosts
(docs/scaling.md), which are cut at random. Afterwards every message is looked for: it is in one
place, once, or it is one of those that nobody can prevent, where the mail system was stopped
before it had noted the end of a run, or the log says "possible duplicate".

| scene | what happened | what came of it |
|:---|:---|:---|
{rows}
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument("--messages", type=int, default=1000, help="for each mail system")


def carry_out(given: argparse.Namespace) -> Report:
    """All scenes, or those that are given."""
    begins = tuple(given.scenes)
    chosen = [path for name, path in SCENES.items() if not begins or name.startswith(begins)]
    with tempfile.TemporaryDirectory(prefix="avcheck-chaos-") as directory:
        file = Path(directory, "notes")
        file.touch()
        os.environ[notes.FILE] = str(file)
        # One after the other: each wants the machine for itself.
        done = sweeps.carry_out(*chosen, words=("-n", "0", "-s"), count=given.messages)
        found = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [
        f"| {scene} | {notes.words(all_)} | {notes.words(what)} |" for scene, all_, what in found
    ]
    text = TEXT.format(count=given.messages, rows="\n".join(rows))
    return Report("Mail systems in bad weather", text, not done)
