"""The check of the ways in that asks them: does Postfix take mail there at all?"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from avcheck import conn
from avcheck.address import Address
from avcheck.admin import doors, spawned
from avcheck.admin.checks.back import greeted, heard
from avcheck.admin.doors import Door
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.postfix import Postfix
from avcheck.deliver import smtp_replies
from avcheck.exits import EXPIRED, Defer
from avcheck.printable import printable


def front_answers(look: Look) -> Iterator[Result]:
    """Each way in by TCP greets, and takes an envelope."""
    postfix, bad = look.postfix, False
    asked = list(_asked(look))
    for door, question in asked:
        name = printable(door.line.name)
        try:
            refused = look.ask(*question)
        except Defer as why:
            bad = True
            # master(8) lets clients wait for a server that dies as it does for one that is busy.
            busy = ", or is busy" if why.code == EXPIRED else ""
            yield Result(ERROR, f"{name} takes no mail{busy}: {why.text}", _log(postfix))
            continue
        if refused:
            bad = True
            yield Result(WARNING, f"{name} takes no mail for now: {refused}", _log(postfix))
    if asked and not bad:
        yield Result(OK, "Postfix takes mail at every way in")


def _log(postfix: Postfix | None) -> str:
    maillog = postfix.value("maillog_file") if postfix is not None else ""
    return f"grep -E 'fatal|warning' {printable(maillog) or '/var/log/mail.log'} | tail"


def questions(look: Look) -> Iterator[tuple[Any, ...]]:
    """What is asked here, of each way in."""
    for _, question in _asked(look):
        yield question


def _asked(look: Look) -> Iterator[tuple[Door, tuple[Any, ...]]]:
    """The ways in that can be asked, and the question for each; once, and not for each avcheck."""
    postfix = look.postfix
    if postfix is None or look.service.call is None:
        return
    if look.service.call != spawned.avchecks(postfix)[0].call:
        return
    for door in doors.doors(postfix):
        line = door.line
        if line.type != "inet" or line.command != "smtpd" or not line.port:
            continue
        if postfix.value("smtpd_upstream_proxy_protocol", line):
            continue  # another program says first who comes
        wrapped = postfix.value("smtpd_tls_wrappermode", line) == "yes"
        yield door, (knocked, _host(postfix, door), line.port, wrapped)


def _host(postfix: Postfix, door: Door) -> str:
    """An address of this host that the service listens at."""
    first = next(iter(doors.listens_at(postfix, door.line)), "").strip("[]")
    return "127.0.0.1" if first in ("", "all", "loopback-only", "0.0.0.0", "::") else first  # noqa: S104


def knocked(look: Look, host: str, port: str, wrapped: bool) -> str:
    """A question: why the server takes no envelope for now; raises Defer if it does not greet.

    Where TLS comes first, that it is there is all there is to see.
    """
    at = Address(host=host.encode("ascii", "replace"), port=port.encode())
    with conn.connect((at,), monotonic() + look.left) as link:
        if wrapped:
            return ""
        greeted(link)
        link.send(b"MAIL FROM:<>\r\n")
        reply = heard(link)
        if reply.code // 100 == 2:
            link.send(b"RCPT TO:<postmaster>\r\n")
            reply = heard(link)
            if b"4.3." not in reply.lines[0]:  # no fault of its own: it may put off strangers
                reply = smtp_replies.Reply(250, ())
        link.send(b"QUIT\r\n")
    return str(reply) if reply.code // 100 == 4 else ""
