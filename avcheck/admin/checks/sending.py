"""Checks of the SMTP client that brings mail to avcheck-smtp, and whether that is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic

from avcheck import conn
from avcheck.address import Address
from avcheck.admin import peer, spawned
from avcheck.admin.calls import Call
from avcheck.admin.checks import net, sessions
from avcheck.admin.checks.back import greeted
from avcheck.admin.checks.clamd import SOON
from avcheck.admin.checks.exim_ways import exim_loop
from avcheck.admin.checks.reach import config
from avcheck.admin.checks.running import changed
from avcheck.admin.exim_options import SmtpTransport
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.postfix import FILTER, Postfix
from avcheck.admin.spawned import Client, Spawn
from avcheck.exits import EXPIRED, Defer
from avcheck.printable import printable

# What an smtp(8) may do to mail that it sends, and what it is not to do on the way to a filter.
CHANGE = {
    "smtp_header_checks": "changes mail",
    "smtp_mime_header_checks": "changes mail",
    "smtp_nested_header_checks": "changes mail",
    "smtp_body_checks": "changes mail",
    "smtp_generic_maps": "rewrites addresses, of local recipients, too",
}

# What turns the replies of avcheck-smtp into others, and replies as each of them sees them.
REPLIES = {
    "smtp_reply_filter": (
        "451 4.3.2 held back while /var/spool/avcheck/wait exists",
        "250 2.0.0 Ok",
    ),
    "smtp_delivery_status_filter": (
        "4.3.2 host 127.0.0.1[127.0.0.1] said: 451 4.3.2 held back while /x exists",
        "2.0.0 250 2.0.0 Ok: queued as 41C7E",
    ),
}

# The lengths of lines that are left alone: what SMTP allows is less than what there is.
LONG = 1_000_000

# The levels of TLS without which smtp(8) sends nothing.
DEMANDS = ("encrypt", "dane-only", "fingerprint", "verify", "secure")


def smtp_answers(look: Look) -> Iterator[Result]:
    """It is there, and offers the service of the next hop."""
    call = look.service.call
    if call is None or _place(call) is None:
        return
    name = printable(call.name)
    if not may_be_asked(look):
        see = "see exim_loop" if look.exim else "see smtp_loop"
        yield Result(SKIPPED, f"{name} was not asked, for it would ask itself", see)
        return
    try:
        look.ask(hello)
    except Defer as why:
        # Where all connections are taken, one more waits for its turn, as if nobody were there.
        busy = " (or all are busy)" if why.code == EXPIRED else ""
        text = f"{name}: nobody offers the service of avcheck-smtp{busy}, and mail waits"
        yield Result(ERROR, f"{text}: {why.text}", _start(look, call))
    else:
        yield Result(OK, f"{name}: avcheck-smtp answers")


def _place(call: Call) -> Address | None:
    """Where it listens; None if it is a socket of Postfix's own, where others do not get."""
    if not isinstance(call, (Spawn, SmtpTransport)) or not call.port:
        return None
    line = spawned.line_of(call)
    host = (line.host if line else "") or "127.0.0.1"
    return Address(host=host.encode("ascii", "replace"), port=call.port.encode())


def may_be_asked(look: Look) -> bool:
    """Whether there is an avcheck-smtp at a port, whose next hop does not lead back to it."""
    call = look.service.call
    if call is None or _place(call) is None:
        return False
    round_ = [*sessions.smtp_loop(look), *exim_loop(look)]
    return all(each.level != ERROR for each in round_)


def hello(look: Look) -> None:
    """A question: whether it answers EHLO, for which it asks the next hop; Defer if not."""
    call = look.service.call
    at = _place(call) if call is not None else None
    if at is None:
        return
    with conn.connect((at,), monotonic() + look.left) as link:
        greeted(link)
        link.send(b"QUIT\r\n")


def _start(look: Look, call: Call) -> str:
    """How it comes to be there, or where it says why it is not."""
    if look.postfix is not None and spawned.line_of(call) is not None:
        return f"{look.postfix.command} reload; its log, or avcheck's, says what is wrong then"
    service = printable(getattr(call, "service", ""))
    if service.endswith(".service"):
        return f"systemctl daemon-reload; systemctl status {service}; journalctl -u {service}"
    return f"restart the daemon that reads {service}; its log says what is wrong then"


def smtp_restarted(look: Look) -> Iterator[Result]:
    """What accepts connections itself was started after its files were last changed."""
    call = look.service.call
    place = _place(call) if call is not None else None
    if call is None or place is None or spawned.line_of(call) is not None:
        return
    if os.geteuid() != 0:
        yield Result(SKIPPED, "when avcheck-smtp read its file is not known", AS_ROOT)
        return
    files = [os.fsdecode(config(call)), call.program]
    for pid in peer.tcp_listeners(place):
        process = peer.process(pid)
        if process is None or call.program not in process.argv:
            continue  # systemd, or inetd
        newer = [file for file in filter(None, files) if changed(file) > process.started + SOON]
        if newer:
            text = f"{printable(newer[0])} was changed after avcheck-smtp (process {pid}) was"
            yield Result(ERROR, f"{text} started, and does not count yet", f"kill -HUP {pid}")
        else:
            yield Result(OK, f"avcheck-smtp (process {pid}) has read its files as they are")


def smtp_client(look: Look) -> Iterator[Result]:
    """What brings mail from the queue brings it nowhere else, and as it is."""
    if (found := sessions.of(look)) is None:
        return
    postfix, spawn = found
    clients = list(spawned.after_queue(postfix, spawn))
    transports = {id(each.transport): each.transport for each in clients if each.transport}
    several = {result for each in clients if (result := _several(postfix, spawn, each))}
    for line in transports.values():
        bad = [*several, *_faults(postfix, line)]
        yield from bad
        if not bad:
            yield Result(OK, f"{line.name} brings mail to {spawn.name} as it is")


def _several(postfix: Postfix, spawn: Spawn, client: Client) -> Result | None:
    """What to say of a filter with several next hops."""
    if not client.others:
        return None
    name, other = postfix.filter(client.line).partition(":")[0], printable(client.others[0])
    text = f"while avcheck-smtp takes no mail, {printable(name)} sends it to {other}, unscanned"
    filter_ = f"{printable(name)}:[127.0.0.1]:{spawn.port}"
    own = FILTER in client.line.overrides
    remedy = f"{sessions.shown(client.line)}{FILTER}=" if own else f"{FILTER} = "
    return Result(ERROR, text, f"{remedy}{filter_}")


def _faults(postfix: Postfix, line: Line) -> Iterator[Result]:
    name, set_ = printable(line.name), sessions.shown(line)
    if line.command == "lmtp":
        text = f"{name} is lmtp(8), and says LHLO, which avcheck-smtp does not know: mail bounces"
        yield Result(ERROR, text, f"{name} {line.type}  -  -  n  -  {line.limit}  smtp")
        return
    fallback = "smtp_fallback_relay"
    if relay := postfix.value(fallback, line).strip():
        text = f"while avcheck-smtp cannot be reached, {name} sends mail to {printable(relay, 80)}"
        yield Result(ERROR, f"{text} ({fallback}), unscanned", f"{set_}{fallback}=")
    for parameter, what in CHANGE.items():
        if value := postfix.value(parameter, line).strip():
            text = f"{name}: {parameter} = {printable(value, 80)} {what}, before it is scanned"
            yield Result(ERROR, text, f"{set_}{parameter}=")
    length = postfix.value("smtp_line_length_limit", line)
    if length.isdigit() and 0 < int(length) < LONG:
        text = f"{name} breaks lines of more than {length} bytes, before they are scanned"
        yield Result(WARNING, text, f"{set_}smtp_line_length_limit=0")
    yield from _rewritten(postfix, line)
    tls = "smtp_tls_security_level"
    if (level := postfix.value(tls, line).strip()) in DEMANDS:
        text = f"{name} wants TLS ({tls} = {level}), which avcheck-smtp has not: all mail waits"
        yield Result(ERROR, text, f"{set_}{tls}=none")


def _rewritten(postfix: Postfix, line: Line) -> Iterator[Result]:
    """What its replies are turned into."""
    name = printable(line.name)
    for parameter, replies in REPLIES.items():
        value = postfix.value(parameter, line).strip()
        if not value:
            continue
        remedy = f"{sessions.shown(line)}{parameter}="
        if table := net.opaque(value):
            text = f"{name}: what {parameter} does cannot be asked about ({printable(table)})"
            yield Result(SKIPPED, text, remedy)
            continue
        try:
            other = net.changed(postfix, value, replies)
        except Trouble as why:
            other = why.message
        if other:
            text = f"{name}: {parameter}: {printable(other)}: mail is lost, bounces, or comes again"
            yield Result(ERROR, text, remedy)


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
