"""The messages that wait in Postfix's queue because avcheck has deferred them."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass

from avcheck.admin import places, programs
from avcheck.admin.account import account
from avcheck.admin.calls import GUARDS, NAME
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import PLACES
from avcheck.printable import printable

# Seconds for postqueue(1), which reads the envelope of each message in the queue.
PATIENCE = 60.0

# How the lines of avcheck and of avcheck-guard.sh begin, without the status code before them,
# which pipe(8) takes for its own.  What other servers have said stands after "host NAME said:".
OURS = (
    "avcheck: ",
    "avcheck-guard has ",
    "avcheck could not be started ",
    "avcheck was killed ",
)

# What pipe(8) itself says of a command (pipe_command.c and sys_exits.c of Postfix 3.7): that a
# limit or a signal has ended it, or an exit status in words and the output, which may be the
# shell's or pipe's own where avcheck was not started.
PIPE = re.compile(
    r"Command (?:time limit exceeded|died with (?:status|signal) \d+|failed): "
    r"|[A-Za-z][a-z '/]*\. Command output: "
)

# In that, the path of our command, or the beginning of one of our lines.
NAMED = re.compile(
    rf"(?<![^\s\"/])(?:{'|'.join(map(re.escape, (NAME, *GUARDS)))})(?![^\s\":,])"
    rf"|{'|'.join(map(re.escape, OURS))}"
)


@dataclass(frozen=True)
class Deferred:
    """How many messages wait because of avcheck, and since when (seconds of the clock) the oldest
    of them is there."""

    messages: int
    oldest: float = 0.0


def of_postfix(directory: str) -> Deferred:
    """Those in the queue of the instance; raises Trouble where that cannot be seen."""
    return parse(_listing(directory))


def flush(directory: str) -> str:
    """The command that has the instance try again all that waits."""
    return f"postqueue -c {printable(directory)} -f" if directory else "postqueue -f"


def _listing(directory: str) -> bytes:
    """The output of postqueue -j (Postfix 3.1 and later)."""
    program = shutil.which("postqueue", path=PLACES)
    if program is None:
        raise Trouble("postqueue: not found", "see what waits with mailq")
    argv = [program, *(["-c", directory] if directory else []), "-j"]
    try:
        # As with postconf: a directory of somebody else's has his files.
        with account(places.owner(os.fsencode(directory)) if directory else 0):
            done = programs.run(argv, PATIENCE)
    except OSError as why:
        raise Trouble(f"postqueue -j: {why.strerror}", "see what waits with mailq") from why
    if done.status != 0:
        raise Trouble(f"postqueue -j: {printable(done.err)}", "see what waits with mailq")
    return done.out


def parse(listing: bytes) -> Deferred:
    """The messages of a list, a line of JSON each, that wait for our reason; raises Trouble."""
    arrivals = []
    for line in listing.splitlines():
        try:
            message = json.loads(line)
            reasons = [str(each.get("delay_reason", "")) for each in message["recipients"]]
            if any(map(is_ours, reasons)):
                arrivals.append(float(message["arrival_time"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as why:
            text = f"postqueue -j: not understood: {printable(line, 80)}"
            raise Trouble(text, "see what waits with mailq") from why
    return Deferred(len(arrivals), min(arrivals, default=0.0))


def is_ours(reason: str) -> bool:
    """Whether a message waits for avcheck, or because avcheck could not be run."""
    if reason.startswith(OURS):
        return True
    return PIPE.match(reason) is not None and NAMED.search(reason) is not None
