"""A message leaves the quarantine, by a way that is not scanned, once.

The way may be a program that the entry names, or the log of the quarantine; both belong
to the account that avcheck runs as.  So it is run as the owner of the quarantine, whoever
calls: quarantine_store.opened() has made that of root.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

# The last two are imported by deliver when it needs one, and then it may be too late:
# the owner of the quarantine may not be able to read Python's files.
from avcheck import deliver
from avcheck.admin.output import Trouble
from avcheck.admin.quarantine_records import BEGUN, FAILED, RELEASED, Act, Entry
from avcheck.admin.quarantine_store import Quarantine
from avcheck.admin.services import load_config
from avcheck.deliver import sendmail, smtp  # noqa: F401
from avcheck.exits import Leave, Usage
from avcheck.incoming import Incoming
from avcheck.options import reading
from avcheck.printable import printable
from avcheck.run import Run

# Seconds for a mail server to take the message.
PATIENCE = 600.0

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)


@dataclass(frozen=True)
class Order:
    """How to release: who says so, to whom (empty: as before), from whom, by which -S."""

    by: str
    to: tuple[str, ...] = ()
    sender: str | None = None
    sendmail: str = ""


def release(quarantine: Quarantine, entry: Entry, order: Order) -> str:
    """Send the message; returns what was said to that.

    Raises Trouble if it could not be sent.  The log knows of it before and after.
    """
    to = order.to or entry.recipients
    if not to:
        raise Trouble(f"{entry.name}: nobody knows whom it was for", "name recipients by --to")
    sender = entry.sender if order.sender is None else order.sender
    program = order.sendmail or entry.sendmail or recorded(quarantine)
    if not program:
        raise Trouble(
            "how is it to be sent, past the scanner?",
            "give -S HOST:PORT or -S PROGRAM as avcheck has it, or --postfix",
        )
    act = Act(now(), BEGUN, entry.name, order.by, to, program)
    fd = quarantine.message(entry)
    try:
        quarantine.note(act)
        said = send(fd, sender, to, program)
    except Leave as why:
        doubt = "possible duplicate" in why.text
        # What may have been sent is not sent again without being asked for.
        quarantine.note(changed(act, RELEASED if doubt else FAILED, why.text))
        raise Trouble(f"{entry.name}: {why.text}") from why
    finally:
        os.close(fd)
    quarantine.note(changed(act, RELEASED, said))
    return said


def send(fd: int, sender: str, to: tuple[str, ...], program: str) -> str:
    """Inject the message past avcheck, as `avcheck -c` does; raises Leave if that fails."""
    argv = [b"-c", b"-f", text(sender)]
    for each in split(program):
        argv += [b"-S", os.fsencode(each)]
    settings = reading.read([*argv, b"--", *[text(each) for each in to]], load_config)
    with _begun() as run:
        return deliver.inject(Incoming(fd), b"", settings, run)


def split(program: str) -> list[str]:
    """The arguments of a command line; raises Usage if it cannot be split."""
    try:
        return shlex.split(program)
    except ValueError as why:
        raise Usage(f"-S {printable(program, 80)}: {why}") from why


@contextmanager
def _begun() -> Iterator[Run]:
    """A run: signals end it before the message is sent, and not while it may be queued."""
    before = [signal.getsignal(number) for number in SIGNALS]
    run = Run()
    run.deadline = run.record.began + PATIENCE
    run.begin()
    try:
        yield run
    finally:
        run.caller.close()
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def recorded(quarantine: Quarantine) -> str:
    """The -S of the last release from this quarantine that was done."""
    for act in reversed(quarantine.acts()):
        if act.what == RELEASED and act.sendmail:
            return act.sendmail
    return ""


def text(address: str) -> bytes:
    """The bytes of an address in a sidecar."""
    return address.encode("utf-8", "surrogateescape")


def changed(act: Act, what: str, said: str) -> Act:
    return Act(now(), what, act.entry, act.by, act.to, act.sendmail, printable(said))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
