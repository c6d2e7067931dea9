"""Checks of the service in master.cf, and of main.cf around it."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator

from avcheck.admin import output
from avcheck.admin.checks import ERROR, OK, WARNING, Look, Result
from avcheck.admin.checks.reinjection import filtered
from avcheck.admin.postfix import GUARD, MACRO, Line
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

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

# Seconds between our deadline and Postfix's limit: it counts each wait by itself.
ROOM = 30.0


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
    pipe = look.service.pipe
    if pipe is None:
        return
    words = list(pipe.words)
    recipients = [number for number, word in enumerate(words) if "recipient" in _macros(word)]
    senders = [number for number, word in enumerate(words) if "sender" in _macros(word)]
    tail = "-f ${sender} -- ${recipient}"
    wrong = []
    if not recipients:
        wrong.append("${recipient} is missing")
    for number in recipients:
        if MACRO.fullmatch(words[number]) is None:
            wrong.append(f"{words[number]} has to be a word of its own")
        elif "--" not in words[:number]:
            wrong.append("without -- a recipient may be taken for an option")
        elif number < len(words) - 1:
            wrong.append("${recipient} has to be the last word")
    for number in senders:
        if MACRO.fullmatch(words[number]) is None:
            wrong.append(f"{words[number]}: an empty sender has to stay a word of its own")
        elif words[number - 1 : number] not in (["-f"], ["--from"]):
            wrong.append("${sender} has to follow -f")
    if not senders:
        wrong.append("${sender} is missing")
    for text in wrong:
        yield Result(ERROR, printable(text), tail)
    if not wrong:
        yield Result(OK, "addresses cannot be taken for options")


def _macros(word: str) -> set[str]:
    return {found[1] or found[2] or found[3] for found in MACRO.finditer(word)}


def pipe_user(look: Look) -> Iterator[Result]:
    """avcheck runs as an account of its own."""
    pipe = look.service.pipe
    if pipe is None:
        return
    owner = look.postfix.value("mail_owner", default="postfix") if look.postfix else "postfix"
    good = "user=avclient:avgroup"
    if not pipe.user:
        yield Result(ERROR, "user= is missing", good)
        return
    try:
        uid = pwd.getpwnam(pipe.user).pw_uid
    except KeyError:
        text = f"user={printable(pipe.user)}: no such account"
        yield Result(ERROR, text, f"useradd --system {printable(pipe.user)}")
        return
    if uid == 0 or pipe.user == owner:
        yield Result(ERROR, f"user={pipe.user}: pipe(8) refuses that, and rightly", good)
    elif pipe.user in ("nobody", "clamav", "www-data"):
        yield Result(WARNING, f"user={pipe.user}: others use that account, too", good)
    else:
        yield Result(OK, f"avcheck runs as {pipe.user}")


def seconds(text: str) -> float:
    """A time as main.cf has it: 600s, 10m; 0 if it is none."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", text)
    return float(int(found[1]) * UNITS[found[2] or "s"]) if found else 0.0


def pipe_time_limit(look: Look) -> Iterator[Result]:
    """avcheck gives up before Postfix kills it, and bounces the message."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    name = f"{pipe.name}_time_limit"
    text = postfix.value(name, default=postfix.value("command_time_limit", default="1000s"))
    limit = seconds(text)
    deadline = look.settings.deadline
    if deadline + ROOM > limit:
        yield Result(
            ERROR,
            f"Postfix kills avcheck after {text} and bounces the message; avcheck itself gives up"
            f" after {deadline:g} s",
            f"--deadline {max(limit - 150, limit / 2):.0f}",
        )
    else:
        yield Result(OK, f"avcheck gives up after {deadline:g} s, before Postfix's {text}")


def _limit(look: Look, line: Line) -> int:
    """The number of processes of a service; 0: no limit."""
    text = line.limit
    if text == "-" and look.postfix is not None:
        text = look.postfix.value("default_process_limit", default="100")
    return int(text) if text.isdigit() else 0


def pipe_concurrency(look: Look) -> Iterator[Result]:
    """The number of runs at a time is limited, and the way back takes as many."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    at_once = _limit(look, pipe.line)
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
    port = "" if look.settings.program else look.settings.server.port.decode("ascii", "replace")
    for line in postfix.lines:
        if port and line.type == "inet" and line.name.rpartition(":")[2] == port:
            back = _limit(look, line)
            if back and at_once > back:
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
    text = postfix.value(name, default="50")
    number = int(text) if text.isdigit() else 50
    if number == 0 or number > 1000:
        reason = "a command line has no room for them"
        yield Result(WARNING, f"{name} is {number}: {reason}", f"{name} = 1")
    elif number > 1 and not look.settings.program:  # sendmail(1) takes every address
        reason = "if the way back refuses one recipient, the others wait, and bounce, with it"
        yield Result(WARNING, f"{name} is {number}: {reason}", f"{name} = 1")
    else:
        yield Result(OK, f"{number} recipients of a message share a run")


def pipe_once(look: Look) -> Iterator[Result]:
    """No service of master.cf is there twice: Postfix uses the last one."""
    if look.postfix is None or look.service.pipe is None:
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


def bounces(look: Look) -> Iterator[Result]:
    """A bounce does not carry what nobody has scanned."""
    if look.postfix is None or look.service.pipe is None:
        return
    text = look.postfix.value("bounce_size_limit", default="50000")
    if text == "1":
        yield Result(OK, "a bounce has the header of the message only")
    else:
        yield Result(
            WARNING,
            f"bounce_size_limit is {printable(text)}: mail that waits for the scanner until the end"
            " of its time goes out in its bounce, unscanned",
            "bounce_size_limit = 1",
        )


def message_size(look: Look) -> Iterator[Result]:
    """There is a limit for messages, for no scanner looks at what is larger than its own."""
    if look.postfix is None or look.service.pipe is None:
        return
    if look.message_size_limit:
        yield Result(OK, f"Postfix takes messages of {output.size(look.message_size_limit)}")
    else:
        yield Result(
            WARNING,
            "Postfix takes messages of any size: what is larger than the scanner looks at,"
            " or the spool directory has room for, is not scanned",
            "message_size_limit = 10240000",
        )


def filter_used(look: Look) -> Iterator[Result]:
    """Mail goes through this service at all."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    users = [line.name for line in postfix.lines if filtered(postfix, line, pipe.name)]
    if users:
        yield Result(OK, f"mail from {', '.join(users)} goes through {pipe.name}")
    else:
        text = f"no mail goes through {pipe.name} by content_filter (access tables may say FILTER)"
        yield Result(WARNING, text, f"content_filter = {pipe.name}:dummy")


def filter_mappings(look: Look) -> Iterator[Result]:
    """Aliases are expanded once: after the filter."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    for line in postfix.lines:
        if line.command not in ("smtpd", "pickup"):
            continue
        if not filtered(postfix, line, pipe.name):
            continue
        options = re.split(r"[,\s]+", postfix.value("receive_override_options", line))
        if "no_address_mappings" in options:
            yield Result(OK, f"{line.name}: aliases wait until after the filter")
        else:
            yield Result(
                WARNING,
                f"{line.name}: aliases are expanded before the filter, and again after it",
                "receive_override_options = no_address_mappings",
            )


def safety_net(look: Look) -> Iterator[Result]:
    """No mail is bounced or lost by a Python that cannot start, nor while avcheck is replaced."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    net = postfix.value("pipe_delivery_status_filter", pipe.line)
    kept = bool(net) or postfix.value("soft_bounce") == "yes"
    if not pipe.guard:
        yield Result(
            WARNING,
            "while avcheck is replaced, mail can be lost"
            + ("" if kept else ", and if Python cannot start, Postfix bounces it"),
            f"argv={GUARD} {printable(pipe.program)} ...   # docs/postfix.md",
        )
    elif kept:
        yield Result(OK, "what Postfix would bounce by accident is kept")
    else:
        yield Result(
            OK, "avcheck-guard keeps mail if Python cannot start (but not if it is killed)"
        )


def smtputf8(look: Look) -> Iterator[Result]:
    """Mail with umlauts in its header, given back by sendmail(1), does not bounce for that."""
    postfix = look.postfix
    words = look.settings.program
    if postfix is None or not words or not words[0].endswith(b"/sendmail"):
        return
    line = next((line for line in postfix.lines if line.command == "pickup"), None)
    classes = re.split(
        r"[,\s]+",
        postfix.value("smtputf8_autodetect_classes", line, default="sendmail, verify"),
    )
    if postfix.value("smtputf8_enable", default="yes") == "yes" and (
        "sendmail" in classes or "all" in classes
    ):
        yield Result(
            WARNING,
            "mail with UTF-8 in its header, handed back by sendmail, bounces at servers"
            " without SMTPUTF8",
            "pickup ...\n    -o smtputf8_autodetect_classes=verify",
        )
    else:
        yield Result(OK, "UTF-8 in a header does not make mail need SMTPUTF8")


def xforward(look: Look) -> Iterator[Result]:
    """The way back believes what --xforward tells it."""
    postfix, settings = look.postfix, look.settings
    if postfix is None or not settings.xforward or settings.program:
        return
    port = settings.server.port.decode("ascii", "replace")
    for line in postfix.lines:
        if line.type != "inet" or line.name.rpartition(":")[2] != port:
            continue
        if postfix.value("smtpd_authorized_xforward_hosts", line):
            yield Result(OK, f"{line.name} takes XFORWARD")
        else:
            yield Result(
                WARNING,
                f"{line.name} takes no XFORWARD, so --xforward does nothing",
                f"{line.name} ... smtpd\n    -o smtpd_authorized_xforward_hosts=127.0.0.0/8",
            )
