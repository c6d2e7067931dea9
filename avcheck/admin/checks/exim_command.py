"""The check of a transport of Exim: what it does not run, or bounces, or ends too early."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from avcheck.admin import amounts
from avcheck.admin.exim_doors import size_of
from avcheck.admin.exim_options import STRANGERS, Transport
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.printable import printable

# The version that looks at where the words of a command come from.
TAINTED = (4, 96)

# Bytes that avcheck may have to say: its line, and what a handler or Python adds.
OUTPUT_MIN = 4096

# Bytes by which a message grows on its way through Exim: by a Received header.
GROWS = 1024

# Where Exim runs a command, the first that is set.
DIRECTORIES = ("current_directory", "home_directory")


def exim_command(look: Look) -> Iterator[Result]:
    """Exim runs the command for every message, and to its end."""
    exim, call = look.exim, look.service.call
    if exim is None or not isinstance(call, Transport):
        return
    wrong = [_size(look, call)]
    if not call.by_smtp:
        wrong += [_tainted(look, call), _output(call), _directory(look, call)]
    found = [each for each in wrong if each is not None]
    yield from found
    if not found:
        yield Result(OK, f"transport {printable(call.name)} takes every message, to its end")


def _tainted(look: Look, call: Transport) -> Result | None:
    """A variable in the command with what a stranger has chosen."""
    found = STRANGERS.findall(call.options.get("command", ""))
    if not found:
        return None
    names = ", ".join(f"${printable(name.rstrip(':'))}" for name in dict.fromkeys(found))
    text = f"{names} in the command: strangers choose what is in it, and Exim"
    version = re.findall(r"\d+", look.exim.main.get("exim_version", "") if look.exim else "")
    if version and tuple(map(int, version[:2])) < TAINTED:
        return Result(WARNING, f"{text} bounces all mail from 4.96 on", call.corrected)
    return Result(ERROR, f"{text} bounces the mail (Tainted arg)", call.corrected)


def _output(call: Transport) -> Result | None:
    """A limit for the output that avcheck may reach."""
    text = call.options.get("max_output", "20K")
    if size_of(text) >= OUTPUT_MIN:
        return None
    said = f"max_output = {printable(text)}: Exim kills avcheck when it says what it has done, and"
    remedy = call.line("max_output", "20K")
    return Result(ERROR, f"{said} tries again: clean mail arrives each time", remedy)


def _size(look: Look, call: Transport) -> Result | None:
    """A limit for the size of messages that is not above Exim's own."""
    text = call.options.get("message_size_limit", "")
    limit, largest = size_of(text), look.message_size_limit
    if text in ("", "0") or (largest and limit >= largest + GROWS):
        return None
    what = amounts.binary(limit) if limit else printable(text, 80)
    said = f"transport {printable(call.name)}: message_size_limit = {what}: what is larger bounces"
    return Result(ERROR, said, call.line("message_size_limit", "0"))


def _directory(look: Look, call: Transport) -> Result | None:
    """A directory to run it in where the account cannot go."""
    option = next((each for each in DIRECTORIES if call.options.get(each)), "")
    path = call.options.get(option, "/")
    if "$" in path:
        return None
    with look.acting():
        allowed = os.path.isdir(path) and os.access(path, os.X_OK, effective_ids=True)
    if path.startswith("/") and allowed:
        return None
    said = f"{option} = {printable(path)}: the account cannot go there, and all mail waits"
    return Result(ERROR, said, call.line(option, "/"))
