"""Checks of the transport by which Exim runs avcheck: what it changes, and what bounces."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator

from avcheck import exits, policy
from avcheck.admin.checks import exim_smtp
from avcheck.admin.checks.limits import compared
from avcheck.admin.checks.pipe_account import account_of, own_account
from avcheck.admin.exim_doors import seconds
from avcheck.admin.exim_options import OFF, ON, SmtpTransport, Transport, listed
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.printable import printable

# The options that change the message, what they are unless they do, and what they do.
CHANGE = {
    "message_prefix": ("", "puts a line before the message"),
    "message_suffix": ("", "puts a line after the message"),
    "check_string": ("", "changes lines"),
    "escape_string": ("", "changes lines"),
    "headers_add": ("", "adds header lines"),
    "headers_remove": ("", "removes header lines"),
    "headers_rewrite": ("", "rewrites header lines"),
    "transport_filter": ("", "runs the message through a program"),
    "body_only": (OFF, "leaves out the header"),
    "headers_only": (OFF, "leaves out the body"),
    "return_path_add": (OFF, "adds a Return-path header"),
    "delivery_date_add": (OFF, "adds a Delivery-date header"),
    "envelope_to_add": (OFF, "adds an Envelope-to header"),
    "use_bsmtp": (OFF, "puts the envelope before the message"),
    "use_crlf": (OFF, "changes the ends of lines"),
    "return_path": ("", "changes the sender"),
    "dkim_private_key": ("", "signs the message before it is scanned"),
}

# The options by which mail is lost, or bounces by accident, or waits for a person.
KEEP = {
    "ignore_status": (OFF, ERROR, "mail is lost if avcheck does not take it"),
    "return_output": (OFF, ERROR, "mail bounces as soon as avcheck says something"),
    "timeout_defer": (ON, ERROR, "mail bounces if avcheck takes longer than the timeout"),
    "freeze_signal": (ON, ERROR, "mail bounces if the shell is killed by a signal"),
    "use_shell": (OFF, ERROR, "a shell takes the addresses, which strangers choose, apart"),
    "restrict_to_path": (OFF, ERROR, "mail bounces: the command has a path"),
    "allow_commands": ("", ERROR, "mail bounces unless the command is among these"),
    "shadow_transport": ("", WARNING, "a copy of all mail goes there, infected or not"),
    "freeze_exec_fail": (OFF, WARNING, "mail is frozen while the program is missing"),
}

# What avcheck, a handler, the guard, Python and a shell leave with if something goes wrong.
STATUSES = frozenset({1, 2, *range(64, 79), 120, 126, 127})

# The options of the main section that Exim is not to have, and what becomes of mail then.
MAIN = {
    "mua_wrapper": "mail bounces at once, where it would wait",
    "deliver_drop_privilege": "Exim cannot run avcheck as its account, and all mail waits",
}

RETRY = "*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h  # begin retry"
DAY = 86400.0


def _call(look: Look) -> Transport | None:
    return look.service.call if isinstance(look.service.call, Transport) else None


def exim_message(look: Look) -> Iterator[Result]:
    """The transport hands over the message as it is."""
    call = _call(look)
    if call is None:
        return
    bad = False
    for option, (good, what) in CHANGE.items():
        if call.options.get(option, good) != good:
            bad = True
            text = f"transport {printable(call.name)}: {option} {what}"
            yield Result(ERROR, text, call.line(option, good))
    if not bad:
        yield Result(OK, f"transport {printable(call.name)} does not change the message")


def exim_keeps(look: Look) -> Iterator[Result]:
    """No mail is lost, nor bounces by accident, whatever becomes of the command."""
    call = _call(look)
    if call is None:
        return
    bad = False
    for option, (good, level, what) in KEEP.items():
        if call.options.get(option, good) != good:
            bad = True
            text = f"transport {printable(call.name)}: {_shown(call, option)}: {what}"
            yield Result(level, text, call.line(option, good))
    others = exim_smtp.wrong(look, call) if call.by_smtp else filter(None, [_errors(look, call)])
    for result in others:
        bad = True
        yield result
    if not bad:
        yield Result(OK, f"transport {printable(call.name)} keeps what avcheck does not take")


def _shown(call: Transport, option: str) -> str:
    value = call.options[option]
    return {ON: option, OFF: f"no {option}"}.get(value, f"{option} = {printable(value, 80)}")


def _errors(look: Look, call: Transport) -> Result | None:
    """What is wrong with temp_errors: the statuses at which mail stays in the queue."""
    text = call.options.get("temp_errors", "")
    wanted = {exits.REJECT} if _bounces(look) else set()
    line = call.line("temp_errors", " : ".join(map(str, sorted(STATUSES - wanted))))
    if text == "*":
        wrong = "temp_errors = *: mail that is to bounce (status 77) stays in the queue"
        return Result(WARNING, wrong, line) if wanted else None
    missing = STATUSES - set(map(int, re.findall(r"\d+", text))) - wanted
    if not missing:
        return None
    statuses = ", ".join(map(str, sorted(missing)))
    wrong = f"temp_errors = {printable(text, 80)}: mail bounces if avcheck leaves with {statuses}"
    return Result(ERROR, wrong, line if wanted else call.line("temp_errors", "*"))


def _bounces(look: Look) -> bool:
    """Whether somebody wants mail to bounce: what is refused by avcheck, or on the way back."""
    settings = look.settings
    return settings.refused == "bounce" or _rejects(look)


def _rejects(look: Look) -> bool:
    return any(action == policy.REJECT for action, _ in look.settings.on.values())


def exim_time_limit(look: Look) -> Iterator[Result]:
    """avcheck gives up before Exim kills it."""
    call = _call(look)
    if call is None:
        return
    if call.by_smtp:
        yield exim_smtp.waits(look, call)
        return
    text = call.options.get("timeout", "1h")
    defers = call.options.get("timeout_defer") == ON
    kills = f"Exim kills it after {printable(text)} (timeout)"
    kills += ", and tries again" if defers else ", and bounces the message"
    limit = seconds(text) or float("inf")
    level = WARNING if defers else ERROR
    yield compared(look.settings, limit, kills, call.line("timeout", "600s"), level)


def exim_retry(look: Look) -> Iterator[Result]:
    """What waits is tried again for some days."""
    exim = look.exim
    if exim is None or _call(look) is None:
        return
    for address, said in exim.retries.items():
        rules = said.partition("Retry rule:")[2].strip()
        ends = [seconds(each.split(",")[1]) for each in rules.split(";") if each.count(",") > 0]
        if not ends:
            text = f"no retry rule is for {printable(address)}: mail that should wait bounces"
            yield Result(ERROR, text, RETRY)
        elif max(ends) < DAY:
            text = f"mail for {printable(address)} waits for {max(ends) / 3600:.0f} h, and bounces"
            yield Result(WARNING, f"{text}, should the scanner be away longer", RETRY)
        else:
            yield Result(OK, f"mail for {printable(address)} waits for a day or longer")


def exim_delivers(look: Look) -> Iterator[Result]:
    """No option of the main section keeps mail, or has it bounce."""
    exim, call = look.exim, _call(look)
    if exim is None or call is None or call != exim.calls[0]:
        return
    bad = [
        Result(ERROR, f"{option}: {what}", f"{option} = false")
        for option, what in MAIN.items()
        if exim.main.get(option) == ON
    ]
    if "*" in listed(exim.main.get("hold_domains", "")):
        text = "hold_domains has *: all mail waits until somebody delivers it by hand (exim -M)"
        bad.append(Result(ERROR, text, "hold_domains ="))
    never = listed(exim.main.get("never_users", ""))
    if not call.by_smtp and call.user in never:
        text = f"never_users has {printable(call.user)}: Exim does not run avcheck, and mail waits"
        others = " : ".join(each for each in never if each != call.user)
        bad.append(Result(ERROR, text, f"never_users = {printable(others)}"))
    yield from bad
    if not bad:
        yield Result(OK, "no option of the main section keeps mail, or has it bounce")


def exim_account(look: Look) -> Iterator[Result]:
    """avcheck runs as an account of its own."""
    exim, call = look.exim, _call(look)
    if exim is None or call is None:
        return
    if isinstance(call, SmtpTransport):
        yield account_of(call.user, call.service)
        return
    good = f"{call.line('user', 'avclient')}\n  group = avgroup"
    user = _number(call.user)
    own = exim.main.get("exim_user", "")
    if not call.user:
        text = f"transport {printable(call.name)}: no user, so avcheck runs as whom mail is for"
        yield Result(ERROR, text, good)
    elif user == 0 or call.user == own or user == _number(own):
        text = f"user = {printable(call.user)}: what avcheck runs could change all mail"
        yield Result(ERROR, text, good)
    else:
        yield own_account(f"user = {printable(call.user)}", call.user, good)


def _number(user: str) -> int | None:
    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def exim_bounce(look: Look) -> Iterator[Result]:
    """A bounce for refused mail does not carry the virus: it would be found infected, too."""
    exim, call = look.exim, _call(look)
    if exim is None or call is None:
        return
    if _rejects(look) and exim.main.get("bounce_return_body", ON) == ON:
        text = "a bounce has the message with it, so that for a virus is found infected, and frozen"
        yield Result(WARNING, text, "bounce_return_body = false")
    else:
        yield Result(OK, "no bounce carries a virus")
