"""Checks of the service in master.cf that runs avcheck."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import amounts, spawned
from avcheck.admin.calls import Call
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.printable import printable

# The flags of pipe(8) that change the message, and how.
CHANGE = {
    "B": "adds an empty line",
    "D": "adds a Delivered-To header, and local(8) sees a loop then",
    "F": "adds a From line",
    "O": "adds an X-Original-To header",
    "R": "adds a Return-Path header",
    ".": "doubles dots",
    ">": "changes lines that begin with From",
    "h": "folds the domain",
    "u": "folds the local part",
    "X": "calls this the final delivery",
}


def pipe_flags(look: Look) -> Iterator[Result]:
    """No flag changes the message."""
    pipe = look.service.pipe
    if pipe is None:
        return
    flags = pipe.attributes.get("flags", "")
    bad = [flag for flag in flags if flag in CHANGE]
    for flag in bad:
        yield Result(ERROR, f"flags={flags}: {flag} {CHANGE[flag]}", "flags=q")
    if "q" not in flags:
        text = f"flags={flags}: without q, odd addresses are not quoted as SMTP wants them"
        yield Result(WARNING, text, "flags=q")
    if not bad and "q" in flags:
        yield Result(OK, f"flags={flags}: the message is not changed")


def pipe_attributes(look: Look) -> Iterator[Result]:
    """No attribute has mail bounce for its size, or hides avcheck from pipe(8)."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    bad = False
    size, largest = pipe.attributes.get("size", "0"), look.message_size_limit
    if size.isdigit() and 0 < int(size) < (largest or int(size) + 1):
        bad = True
        takes = f"of {amounts.binary(largest)}" if largest else "of any size"
        text = f"size={size}: Postfix takes messages {takes}, and those larger than that bounce"
        yield Result(ERROR, text, "size=0")
    if root := pipe.attributes.get("chroot", ""):
        bad = True
        text = f"chroot={printable(root)}: pipe(8) finds avcheck nowhere, and all mail waits"
        yield Result(ERROR, text, f"remove chroot={printable(root)} from {printable(pipe.name)}")
    if place := pipe.attributes.get("directory", ""):
        with look.acting():
            allowed = os.path.isdir(place) and os.access(place, os.X_OK, effective_ids=True)
        if not allowed:
            bad = True
            text = f"directory={printable(place)}: the account cannot go there, and all mail waits"
            yield Result(ERROR, text, "directory=/")
    if not bad:
        yield Result(OK, "no attribute keeps mail away from avcheck")


def pipe_null_sender(look: Look) -> Iterator[Result]:
    """A bounce has no sender."""
    pipe = look.service.pipe
    if pipe is None:
        return
    if pipe.attributes.get("null_sender") == "":
        yield Result(OK, "null_sender= is empty")
    else:
        yield Result(
            ERROR,
            "without null_sender= a bounce gets the sender MAILER-DAEMON, and is bounced itself",
            "null_sender=",
        )


def pipe_arguments(look: Look) -> Iterator[Result]:
    """Addresses, which strangers choose, cannot be taken for options, nor for one another."""
    call = look.service.call
    if call is None or not call.recipient:  # the envelope comes by SMTP
        return
    errors = [*_recipients(call), *_senders(call)]
    for text in errors:
        yield Result(ERROR, printable(text), call.corrected)
    if not errors:
        yield Result(OK, "addresses cannot be taken for options")


def _recipients(call: Call) -> Iterator[str]:
    """What is wrong with where the recipients are among the arguments."""
    arguments, macro = call.arguments, call.spelled(call.recipient)
    found = [number for number, each in enumerate(arguments) if call.recipient in call.macros(each)]
    if not found:
        yield f"{macro} is missing"
    for number in found:
        if not call.is_macro(arguments[number]):
            yield f"{arguments[number]} has to be an argument of its own"
        elif "--" not in arguments[:number]:
            yield "without -- a recipient may be taken for an option"
        elif number < len(arguments) - 1:
            yield f"{macro} has to be the last argument"


def _senders(call: Call) -> Iterator[str]:
    """What is wrong with where the sender is among the arguments."""
    arguments, macro = call.arguments, call.spelled(call.sender)
    found = [number for number, each in enumerate(arguments) if call.sender in call.macros(each)]
    for number in found:
        if not call.is_macro(arguments[number].removeprefix("--from=")):
            yield f"{arguments[number]}: an empty sender has to stay an argument"
        elif not _follows_from(arguments, number):
            yield f"{macro} has to follow -f"
    if not found:
        yield f"{macro} is missing"


def _follows_from(arguments: tuple[str, ...], number: int) -> bool:
    """Whether the argument is that of -f: the next one, or the rest of the long option."""
    if arguments[number].startswith("--from="):
        return True
    return number > 0 and arguments[number - 1] in ("-f", "--from")


def pipe_concurrency(look: Look) -> Iterator[Result]:
    """The number of runs at a time is limited, and the way back takes as many."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    at_once = postfix.processes(pipe.line)
    if not at_once or at_once > 100:
        text = f"{at_once or 'any number of'} messages may be checked at a time"
        yield Result(WARNING, text, f"{pipe.name}   unix  -  n  n  -  10  pipe")
    else:
        yield Result(OK, f"{at_once} messages are checked at a time")
    if look.settings.slots and at_once and look.settings.slots < at_once:
        yield Result(
            WARNING,
            f"--slots {look.settings.slots} is less than the {at_once} runs that Postfix starts:"
            " the others wait, and are deferred",
            f"{pipe.name}   unix  -  n  n  -  {look.settings.slots}  pipe",
        )
    line = None if look.settings.program else postfix.listener(look.settings.server)
    back = postfix.processes(line) if line is not None else 0
    if line is not None and back and at_once > back:
        yield Result(
            ERROR,
            f"{line.name} takes {back} connections, and {at_once} messages come back",
            f"{line.name} inet n  -  n  -  {at_once}  smtpd",
        )


def pipe_recipients(look: Look) -> Iterator[Result]:
    """A run is for one recipient: its status is that of all of them."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    name = f"{pipe.name}_destination_recipient_limit"
    number = postfix.number(name, default=50)
    if number == 0 or number > 1000:
        reason = "a command line has no room for them"
        yield Result(WARNING, f"{name} is {number}: {reason}", f"{name} = 1")
    elif number > 1 and not look.settings.program:  # sendmail(1) takes every address
        reason = "if the way back refuses one recipient, the others wait, and bounce, with it"
        yield Result(WARNING, f"{name} is {number}: {reason}", f"{name} = 1")
    else:
        share = "have a run each" if number == 1 else f"share a run, up to {number}"
        yield Result(OK, f"the recipients of a message {share}")


def pipe_once(look: Look) -> Iterator[Result]:
    """No service of master.cf is there twice: Postfix uses the last one."""
    if look.postfix is None or spawned.line_of(look.service.call) is None:
        return
    names = [f"{line.name}/{line.type}" for line in look.postfix.lines]
    twice = sorted({name for name in names if names.count(name) > 1})
    for name in twice:
        yield Result(
            ERROR,
            f"master.cf has {printable(name)} twice, and Postfix uses the last one",
            "remove the lines of one of them from master.cf",
        )
    if not twice:
        yield Result(OK, "each service is in master.cf once")
