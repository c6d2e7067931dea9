"""Checks of the SMTP client that brings mail to avcheck-smtp, and whether that is there."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from avcheck import conn
from avcheck.address import Address
from avcheck.admin import spawned
from avcheck.admin.checks import sessions
from avcheck.admin.checks.back import heard
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.postfix import Postfix
from avcheck.admin.spawned import Spawn
from avcheck.deliver import smtp_replies
from avcheck.exits import Defer
from avcheck.printable import printable

# What an smtp(8) may do to mail that it sends, and what it is not to do on the way to a filter.
CHANGE = {
    "header_checks": "changes mail",
    "mime_header_checks": "changes mail",
    "nested_header_checks": "changes mail",
    "body_checks": "changes mail",
    "generic_maps": "rewrites addresses, of local recipients, too",
}

# The lengths of lines that are left alone: what SMTP allows is less than what there is.
LONG = 1_000_000

# The levels of TLS without which smtp(8) sends nothing.
DEMANDS = ("encrypt", "dane-only", "fingerprint", "verify", "secure")


def smtp_answers(look: Look) -> Iterator[Result]:
    """It is there, and offers the service of the next hop."""
    if (found := sessions.of(look)) is None:
        return
    postfix, spawn = found
    name = printable(spawn.name)
    if not spawn.port:
        return  # a socket of Postfix's own, and others do not get there
    if not may_be_asked(look):
        yield Result(SKIPPED, f"{name} was not asked, for it would ask itself", "see smtp_loop")
        return
    try:
        look.ask(hello)
    except Defer as why:
        text = f"{name} offers no service, and mail waits: {why.text}"
        yield Result(ERROR, text, _start(postfix, spawn))
    else:
        yield Result(OK, f"{name} answers")


def may_be_asked(look: Look) -> bool:
    """Whether there is an avcheck-smtp at a port, whose next hop does not lead back to it."""
    found = sessions.of(look)
    if found is None or not found[1].port:
        return False
    return all(each.level != ERROR for each in sessions.smtp_loop(look))


def hello(look: Look) -> None:
    """A question: whether it answers EHLO, for which it asks the next hop; Defer if not."""
    found = sessions.of(look)
    if found is None:
        return
    spawn = found[1]
    host = spawn.line.host if spawn.line else ""
    at = Address(host=(host or "127.0.0.1").encode("ascii", "replace"), port=spawn.port.encode())
    with conn.connect((at,), monotonic() + look.left) as link:
        smtp_replies.want(2, b"the connection", [heard(link)])
        link.send(b"EHLO avcheckctl.invalid\r\n")
        smtp_replies.want(2, b"EHLO", [heard(link)])
        link.send(b"QUIT\r\n")


def _start(postfix: Postfix, spawn: Spawn) -> str:
    """How it comes to be there, or where it says why it is not."""
    if spawn.line is not None:
        return (
            f"{postfix.command} reload; what is wrong then is in the log of Postfix, and of avcheck"
        )
    if spawn.service.endswith(".service"):
        unit = printable(spawn.name)
        return f"systemctl daemon-reload && systemctl restart {unit}; journalctl -u {unit}"
    return f"restart the daemon that reads {printable(spawn.service)}; its log says what is wrong"


def smtp_client(look: Look) -> Iterator[Result]:
    """What brings mail from the queue brings it nowhere else, and as it is."""
    if (found := sessions.of(look)) is None:
        return
    postfix, spawn = found
    transports = {
        id(client.transport): client.transport
        for client in spawned.after_queue(postfix, spawn)
        if client.transport is not None
    }
    for line in transports.values():
        bad = list(_faults(postfix, line))
        yield from bad
        if not bad:
            yield Result(OK, f"{line.name} brings mail to {spawn.name} as it is")


def _faults(postfix: Postfix, line: Line) -> Iterator[Result]:
    name, kind, set_ = printable(line.name), line.command, sessions.shown(line)
    fallback = f"{kind}_fallback_relay"
    if relay := postfix.value(fallback, line).strip():
        text = f"while avcheck-smtp cannot be reached, {name} sends mail to {printable(relay, 80)}"
        yield Result(ERROR, f"{text} ({fallback}), unscanned", f"{set_}{fallback}=")
    for parameter, what in CHANGE.items():
        parameter = f"{kind}_{parameter}"
        if value := postfix.value(parameter, line).strip():
            text = f"{name}: {parameter} = {printable(value, 80)} {what}, before it is scanned"
            yield Result(ERROR, text, f"{set_}{parameter}=")
    length = postfix.value(f"{kind}_line_length_limit", line)
    if length.isdigit() and 0 < int(length) < LONG:
        text = f"{name} breaks lines of more than {length} bytes, before they are scanned"
        yield Result(WARNING, text, f"{set_}{kind}_line_length_limit=0")
    tls = f"{kind}_tls_security_level"
    if (level := postfix.value(tls, line).strip()) in DEMANDS:
        text = f"{name} wants TLS ({tls} = {level}), which avcheck-smtp has not: all mail waits"
        yield Result(ERROR, text, f"{set_}{tls}=none")


def smtp_xforward(look: Look) -> Iterator[Result]:
    """The client and the queue ID are told on both sides of it."""
    if (found := sessions.of(look)) is None:
        return
    postfix, spawn = found
    bad = False
    for client in spawned.after_queue(postfix, spawn):
        line = client.transport
        if line and postfix.value("smtp_send_xforward_command", line, "no") != "yes":
            bad = True
            text = f"{line.name} does not tell avcheck-smtp the client and the queue ID"
            yield Result(WARNING, text, f"{sessions.shown(line)}smtp_send_xforward_command=yes")
            break
    behind = sessions.behind_of(look, postfix)
    name = "smtpd_authorized_xforward_hosts"
    if behind is not None and not postfix.value(name, behind):
        bad = True
        text = f"{behind.name} does not want to be told the client: its log shows this host"
        yield Result(WARNING, text, f"{sessions.shown(behind)}{name}=127.0.0.0/8")
    if not bad:
        yield Result(OK, "the client is told from one to the next")
