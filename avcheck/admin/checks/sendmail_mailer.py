"""Checks of the mailer by which sendmail runs avcheck: what it changes, and what bounces."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin import amounts
from avcheck.admin.calls import GUARD
from avcheck.admin.checks.limits import FOREVER, ROOM
from avcheck.admin.checks.pipe_account import own_account
from avcheck.admin.checks.sendmail_ways import looks
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.sendmail_instance import SENDERS
from avcheck.admin.sendmail_options import Mailer
from avcheck.printable import printable

# The flags of a mailer that change the message, or the envelope, and how.
CHANGE = {
    "7": "takes the eighth bit away",
    "9": "converts the message to 7 bits",
    "C": "adds a domain to addresses in headers",
    "D": "adds a Date header",
    "E": "changes lines that begin with From",
    "F": "adds a From header",
    "L": "breaks long lines",
    "M": "adds a Message-Id header",
    "P": "adds a Return-Path header",
    "X": "doubles dots",
    "b": "adds an empty line",
    "c": "takes comments out of addresses in headers",
    "x": "adds a Full-Name header",
}

# Those that there have to be, and what is changed without them.
WANTED = {
    "8": "mail is converted to 7 bits",
    "h": "the domain is folded to small letters",
    "n": "a From line is put before the message",
    "u": "the local part is folded to small letters",
}

# Those by which mail bounces, or waits.
KEEP = {
    "%": "keeps mail until somebody asks for it (ETRN)",
    "A": "has aliases expanded before the message is scanned, or mail waits without any",
    "f": "puts another -f before the arguments, and all mail waits",
    "r": "puts -r before the arguments, and all mail waits",
    "w": "refuses mail for whoever has no account on this host",
}

# What mail may wait, for each priority that it may have: the option, and the macro.
RETURNS = {
    "": "confTO_QUEUERETURN",
    ".normal": "confTO_QUEUERETURN_NORMAL",
    ".urgent": "confTO_QUEUERETURN_URGENT",
    ".non-urgent": "confTO_QUEUERETURN_NONURGENT",
}

FLAGS = "F=nuh8"
DAY = 86400.0


def sendmail_message(look: Look) -> Iterator[Result]:
    """The mailer hands over the message as it is."""
    if (looked := looks(look)) is None:
        return
    _, call = looked
    shown = f"mailer {printable(call.name)}: F={printable(call.flags)}"
    found = [f"{shown}: {flag} {what}" for flag, what in CHANGE.items() if flag in call.flags]
    found += [
        f"{shown}: without {flag} {what}" for flag, what in WANTED.items() if flag not in call.flags
    ]
    results = [Result(ERROR, text, FLAGS) for text in found]
    if call.equates.get("L", "0") != "0":
        text = f"mailer {printable(call.name)}: L={printable(call.equates['L'])} breaks long lines"
        results.append(Result(ERROR, text, "L=0"))
    if call.equates.get("E", "\\n") != "\\n":
        text = f"mailer {printable(call.name)}: E={printable(call.equates['E'])} changes line ends"
        results.append(Result(ERROR, text, "E=\\n"))
    yield from results
    if not results:
        yield Result(OK, f"mailer {printable(call.name)} does not change the message")


def sendmail_sender(look: Look) -> Iterator[Result]:
    """A bounce has no sender, and another sender stays as it is (/try)."""
    if (looked := looks(look)) is None:
        return
    pair, call = looked
    null, other = (*pair.senders.get(call.name, ()), "?", "?")[:2]
    if null:
        text = "the sender of a bounce becomes MAILER-DAEMON, and the way back refuses it"
        yield Result(ERROR, text, "S=AvcheckFrom/AvcheckHeader")
    elif other != SENDERS[1]:
        text = f"the sender {SENDERS[1]} becomes {printable(other, 80)}"
        yield Result(ERROR, text, "S=AvcheckFrom/AvcheckHeader")
    else:
        yield Result(OK, "the sender stays as it is, and that of a bounce is empty")


def sendmail_keeps(look: Look) -> Iterator[Result]:
    """No mail bounces by accident, nor soon, nor with what nobody has scanned."""
    if (looked := looks(look)) is None:
        return
    pair, call = looked
    options, results = pair.front.options, []
    if not call.guard:
        text = "without the guard, mail bounces while avcheck or Python cannot be started"
        remedy = f"P={GUARD}, A=avcheck-guard {printable(call.program)}"
        results.append(Result(ERROR, text, remedy))
    if "nobodyreturn" not in options.get("PrivacyOptions", ""):
        text = "a bounce has the message with it, scanned or not, and that for a virus is infected"
        flags = f"{options.get('PrivacyOptions', '')},nobodyreturn".strip(",")
        results.append(
            Result(WARNING, text, pair.front.define("confPRIVACY_FLAGS", printable(flags)))
        )
    for name, macro in RETURNS.items():
        waits = _seconds(options.get(f"Timeout.queuereturn{name}", "5d"))
        if waits < DAY:
            text = f"mail that waits for the scanner bounces after {amounts.age(waits)}"
            results.append(Result(WARNING, text, pair.front.define(macro, "5d")))
    results += _refused(look, call)
    deadline, wait = look.settings.deadline, _seconds(call.equates.get("W", "0s"), "s")
    if deadline == FOREVER:
        text = "avcheck never gives up by itself, and sendmail cannot be relied on to end it"
        results.append(Result(WARNING, text, "--deadline 450"))
    elif 0 < wait < deadline + ROOM:
        text = f"W={printable(call.equates['W'])}: sendmail may give up before avcheck does, after"
        text += f" {deadline:g} s: mail may be delivered twice"
        results.append(Result(WARNING, text, f"W={deadline + ROOM * 5:.0f}"))
    yield from results
    if not results:
        yield Result(OK, "mail bounces only where that is wanted")


def _refused(look: Look, call: Mailer) -> Iterator[Result]:
    """What the mailer does not take, or sendmail does not give it."""
    shown = f"mailer {printable(call.name)}"
    limit, largest = _number(call.equates.get("M", "0")), look.message_size_limit
    if limit and not 0 < largest <= limit:
        text = f"{shown}: M={limit}: what is larger bounces, and nobody has scanned it"
        yield Result(ERROR, text, "M=0")
    for flag, what in KEEP.items():
        if flag in call.flags:
            yield Result(ERROR, f"{shown}: F={printable(call.flags)}: {flag} {what}", FLAGS)
    if root := call.equates.get("/", ""):
        text = f"{shown}: /={printable(root)}: there is neither the guard nor avcheck below it"
        yield Result(ERROR, text, f"take /={printable(root)} out of {shown}")


def _seconds(text: str, usual: str = "d") -> float:
    """A time as sendmail has it: 5d, 4h; 30m; with the usual unit where it has none."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in amounts.SECONDS else (text, usual)
    return float(int(number) * amounts.SECONDS[unit]) if number.isdigit() else DAY


def sendmail_account(look: Look) -> Iterator[Result]:
    """avcheck runs as an account of its own."""
    if (looked := looks(look)) is None:
        return
    pair, call = looked
    good = "U=avclient:avgroup"
    if "S" in call.flags:
        text = f"F={printable(call.flags)}: with S sendmail does not change to the account of U="
        yield Result(ERROR, text, FLAGS)
    elif not call.user:
        default = printable(pair.front.options.get("DefaultUser", "daemon"))
        yield Result(ERROR, f"U= is missing: avcheck runs as {default}, as others do", good)
    elif call.user in ("root", "smmta", "smmsp"):
        text = f"U={printable(call.user)}: what avcheck runs could change all mail"
        yield Result(ERROR, text, good)
    else:
        yield own_account(f"U={printable(call.user)}", call.user, good)


def sendmail_recipients(look: Look) -> Iterator[Result]:
    """A run is for one recipient: its status is that of all of them."""
    if (looked := looks(look)) is None:
        return
    _, call = looked
    if "m" in call.flags and not look.settings.program:
        text = f"F={printable(call.flags)}: with m recipients share a run"
        text += ": if the way back refuses one, the others wait, and bounce, with it"
        yield Result(WARNING, text, FLAGS)
    else:
        yield Result(OK, "the recipients of a message have a run each")


def sendmail_concurrency(look: Look) -> Iterator[Result]:
    """The number of runs at a time is limited, and the way back takes as many."""
    if (looked := looks(look)) is None:
        return
    pair, results = looked[0], []
    most = _number(pair.front.options.get("MaxDaemonChildren", "0"))
    if not most:
        text = "any number of messages may be checked at a time"
        results.append(Result(WARNING, text, pair.front.define("confMAX_DAEMON_CHILDREN", "40")))
    for name, macro in (
        ("ConnectionRateThrottle", "confCONNECTION_RATE_THROTTLE"),
        ("MaxDaemonChildren", "confMAX_DAEMON_CHILDREN"),
    ):
        if pair.behind is None:
            break
        limit = _number(pair.behind.options.get(name, "0"))
        if limit and (limit < most or name != "MaxDaemonChildren"):
            text = f"{name} is {limit} in the sendmail that delivers: clean mail waits there"
            results.append(Result(WARNING, text, pair.behind.define(macro, "0")))
    yield from results
    if not results:
        yield Result(OK, f"{most} messages are checked at a time")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
