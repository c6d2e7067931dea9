"""Checks of main.cf around the service: what is sent to it, and what becomes of that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck import policy
from avcheck.admin import amounts, spawned
from avcheck.admin.look import OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.printable import printable

MAPPINGS = "receive_override_options"

# The line that sets a limit to the size of a message, by mail system.
LARGEST = {
    "Postfix": "message_size_limit = 10240000",
    "sendmail": "define(`confMAX_MESSAGE_SIZE', `52428800')dnl avcheck.mc",
    "Exim": "message_size_limit = ${{if eq{{$received_port}}{{{port}}}{{0}}{{50M}}}}",
}


def bounces(look: Look) -> Iterator[Result]:
    """A bounce does not carry what nobody has scanned."""
    if look.postfix is None or not spawned.queued_for(look.postfix, look.service.call):
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


def soft_bounce(look: Look) -> Iterator[Result]:
    """What is to be refused, or to bounce, does not wait in its place."""
    postfix, settings = look.postfix, look.settings
    if postfix is None or look.service.call is None:
        return
    rejects = any(action == policy.REJECT for action, _ in settings.on.values())
    if not rejects and settings.refused != "bounce":
        return
    if postfix.value("soft_bounce") == "yes":
        text = "soft_bounce is on: what avcheck refuses waits, here or with its sender, for days"
        yield Result(WARNING, text, "soft_bounce = no")
    else:
        yield Result(OK, "what avcheck refuses is refused")


def message_size(look: Look) -> Iterator[Result]:
    """There is a limit for messages, for no scanner looks at what is larger than its own."""
    if look.service.call is None:
        return
    if look.message_size_limit:
        yield Result(OK, f"{look.system} takes messages of {amounts.size(look.message_size_limit)}")
    else:
        yield Result(
            WARNING,
            f"{look.system} takes messages of any size: what is larger than the scanner looks at,"
            " or the spool directory has room for, is not scanned",
            LARGEST[look.system].format(port=printable(look.settings.server.port)),
        )


def filter_mappings(look: Look) -> Iterator[Result]:
    """Aliases are expanded once: after the filter."""
    postfix = look.postfix
    for line in spawned.queued_for(postfix, look.service.call) if postfix is not None else ():
        if postfix is None or line.command not in ("smtpd", "pickup"):
            continue
        options = re.findall(r"[^,\s]+", postfix.value(MAPPINGS, line))
        if "no_address_mappings" in options:
            yield Result(OK, f"{line.name}: aliases wait until after the filter")
        else:
            yield Result(
                WARNING,
                f"{line.name}: aliases are expanded before the filter, and again after it",
                _without_mappings(line, options),
            )


def _without_mappings(line: Line, options: list[str]) -> str:
    """Where the service is told not to expand aliases; with what it is told already."""
    value = ",".join(["no_address_mappings", *options])
    if MAPPINGS in line.overrides:
        return f"{printable(line.name)} {line.type} ... {line.command}\n    -o {MAPPINGS}={value}"
    return f"{MAPPINGS} = {value}"


def smtputf8(look: Look) -> Iterator[Result]:
    """Mail with umlauts in its header, given back by sendmail(1), does not bounce for that."""
    postfix = look.postfix
    argv = look.settings.program
    if postfix is None or not argv or not argv[0].endswith(b"/sendmail"):
        return
    line = postfix.service("pickup")
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
    line = postfix.listener(settings.server)
    if line is None:
        return  # reinjection_loop says so
    if postfix.value("smtpd_authorized_xforward_hosts", line):
        yield Result(OK, f"{line.name} takes XFORWARD")
    else:
        yield Result(
            WARNING,
            f"{line.name} takes no XFORWARD, so --xforward does nothing",
            f"{line.name} ... smtpd\n    -o smtpd_authorized_xforward_hosts=127.0.0.0/8",
        )
