"""Twenty runs at a time, for minutes, while everything around them is killed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.campaigns.load import campaign
from tests.campaigns.load.mta import MailSystem
from tests.campaigns.load.place import ATTEMPTS, CANARY, SLOTS
from tests.campaigns.load.sessions import Sessions
from tests.campaigns.report import Report

TEXT = """Repeat it: `make load` (ten minutes; `make load MINUTES=2` for another time).

{runs} delivery agents, processes of a simulated mail system, run the installed command for one
message after the other, as pipe(8) does, for {minutes:g} minutes on {processors} processors. Two
real clamds are asked about every message, one by descriptor and one over TCP, and a third one by
stream when one of them has failed (`--need 2 --backup`); with `--slots {slots}`, `--canary
{canary}`, `--attempts {attempts}` and `--metrics`. Clean mail goes by SMTP to aiosmtpd, the test
virus into the quarantine, encrypted mail to a handler. Meanwhile scanners and server are killed,
stopped (SIGSTOP) and restarted, one run in twelve gets SIGKILL, SIGTERM, or SIGSTOP and SIGCONT,
and delivery agents are killed while their run goes on. What does not end with status 0 is tried
again, until the queue is empty.

Afterwards every copy of every message is counted, and has to match the status of its run: 0 is one
copy, unchanged, in the right place; 75 is none, unless the text was "possible duplicate"; only a
run that was killed may have left one unseen. Nothing infected or encrypted is ever delivered. The
metrics file is read by Prometheus's own parser.

{commands}

### Sessions of avcheck-smtp

The same with {runs} clients that keep a connection to `avcheck-smtp` for some messages each, with a
socket that listens. Sessions are killed, told to end, and stopped, and so is the process that
accepts connections (*delivery agent killed*); whoever listens starts it again. 250 is one copy, 4xx
is none, unless the text was "possible duplicate", and a message without a reply is one that a
killed session had in hand. Memory is that of the process that accepts.

{sessions}
"""

SCENES: dict[str, type[MailSystem]] = {"commands": MailSystem, "sessions": Sessions}


def options(parser: argparse.ArgumentParser) -> None:
    """What this campaign can be told."""
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=20, help="at a time")


def carry_out(given: argparse.Namespace) -> Report:
    """A storm of so many minutes for each of the scenes, or those that are given."""
    command = Path(sys.executable).with_name("avcheck")
    begins = tuple(given.scenes)
    tables, broken = dict.fromkeys(SCENES, ""), False
    for name, kind in SCENES.items():
        if begins and not name.startswith(begins):
            continue
        result = campaign.carry_out(command, agents=given.runs, minutes=given.minutes, kind=kind)
        print(name, result.table, *result.violations, sep="\n")
        tables[name] = result.table
        broken = broken or bool(result.violations)
    text = TEXT.format(
        runs=given.runs,
        minutes=given.minutes,
        processors=os.cpu_count(),
        slots=SLOTS,
        canary=CANARY,
        attempts=ATTEMPTS,
        **tables,
    )
    return Report("Load", text, broken)
