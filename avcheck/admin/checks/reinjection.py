"""Checks of the way back into the mail system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic

from avcheck import conn, smtp
from avcheck.admin.account import account
from avcheck.admin.checks import ERROR, OK, WARNING, Look, Result
from avcheck.admin.postfix import Line, Postfix
from avcheck.exits import Defer
from avcheck.printable import printable

# Seconds for the greeting and the reply to EHLO.
PATIENCE = 10.0


def sendmail_words(look: Look) -> Iterator[Result]:
    """The sendmail program of -S can be run, and its options keep the message as it is."""
    words = look.settings.program
    if not words or look.settings.no_inject:
        return
    name = printable(words[0])
    with account(*look.service.runs_as):
        allowed = os.access(words[0], os.X_OK, effective_ids=True)
    if not allowed:
        yield Result(ERROR, f"{name}: cannot be run", "-S /usr/sbin/sendmail -S -G -S -i")
        return
    if os.path.basename(words[0]) != b"sendmail":
        yield Result(OK, f"{name} can be run")
        return
    options = words[1:]
    if b"-t" in options:
        text = f"{name} -t sends to those in the header once more"
        yield Result(ERROR, text, f"-S {name} -S -G -S -i")
    elif not any(word in options for word in (b"-i", b"-oi")):
        text = f"{name} without -i: a line with a single dot ends the message"
        yield Result(ERROR, text, f"-S {name} -S -G -S -i")
    else:
        yield Result(OK, f"{name} can be run, and keeps the message as it is")


def reinjection_answers(look: Look) -> Iterator[Result]:
    """The mail server of -S answers, and takes what it will be given."""
    settings = look.settings
    if settings.program or settings.no_inject:
        return
    try:
        offered = _offers(look)
    except Defer as why:
        text = f"the mail server of -S does not answer: {why.text}"
        yield Result(ERROR, text, "see the second service in `avcheckctl setup postfix`")
        return
    where = str(settings.server)
    yield Result(OK, f"the mail server {where} answers")
    if b"8BITMIME" not in offered:
        text = f"{where} offers no 8BITMIME: mail with umlauts would wait for ever"
        yield Result(ERROR, text, "-o smtpd_discard_ehlo_keywords=")
    if settings.xforward and b"XFORWARD" not in offered:
        text = f"{where} offers no XFORWARD, which --xforward is for"
        yield Result(WARNING, text, "-o smtpd_authorized_xforward_hosts=127.0.0.0/8")
    if settings.tls == smtp.REQUIRE and b"STARTTLS" not in offered:
        text = f"{where} offers no STARTTLS, which --tls require needs"
        yield Result(ERROR, text, "-o smtpd_tls_security_level=may")


def _offers(look: Look) -> dict[bytes, bytes]:
    """What the server offers in its reply to EHLO; raises Defer if there is none."""
    server = look.settings.server
    with account(*look.service.runs_as), conn.connect((server,), monotonic() + PATIENCE) as link:
        smtp.want(2, b"the connection", [_reply(link)])
        link.send(b"EHLO avcheckctl.invalid\r\n")
        reply = _reply(link)
        smtp.want(2, b"EHLO", [reply])
        link.send(b"QUIT\r\n")
    return smtp.extensions(reply)


def _reply(link: conn.Conn) -> smtp.Reply:
    replies = smtp.Replies()
    while (reply := replies.add(link.line())) is None:
        pass
    return reply


def reinjection_loop(look: Look) -> Iterator[Result]:
    """What goes back does not come to avcheck again."""
    postfix, pipe, settings = look.postfix, look.service.pipe, look.settings
    if postfix is None or pipe is None or settings.no_inject:
        return
    if settings.program:
        if os.path.basename(settings.program[0]) != b"sendmail":
            return
        line = _service(postfix, "pickup")
        way = "sendmail"
    else:
        line = _listener(postfix, settings.server.port.decode("ascii", "replace"))
        way = str(settings.server)
    if line is None:
        if not settings.program:
            yield Result(
                WARNING,
                f"{way} is no service of this Postfix; make sure that it does not lead back here",
                "avcheckctl setup postfix",
            )
        return
    used = postfix.value("content_filter", line)
    if used.partition(":")[0] == pipe.name:
        yield Result(
            ERROR,
            f"{way} leads back to avcheck: mail goes round until it bounces",
            f"{line.name} ... {line.command}\n    -o content_filter=",
        )
    else:
        yield Result(OK, f"{way} does not lead back to avcheck")


def _service(postfix: Postfix, name: str) -> Line | None:
    return next((line for line in postfix.lines if line.name == name), None)


def _listener(postfix: Postfix, port: str) -> Line | None:
    """The smtpd(8) service at that port, given as it stands in -S, or None."""
    names = {port, {"25": "smtp", "smtp": "25"}.get(port, port)}
    for line in postfix.lines:
        if line.type == "inet" and line.name.rpartition(":")[2] in names:
            return line
    return None
