"""Checks of the way back into the mail system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic

from avcheck import conn
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.admin.postfix import Postfix
from avcheck.deliver import sendmail, smtp_dialogue, smtp_replies, smtp_words
from avcheck.exits import Defer
from avcheck.printable import printable

SIZE = "message_size_limit"

# Seconds for the greeting and the reply to EHLO.
PATIENCE = 10.0


def sendmail_arguments(look: Look) -> Iterator[Result]:
    """The sendmail program of -S can be run, and its options keep the message as it is."""
    argv = look.settings.program
    if not argv or look.settings.no_inject:
        return
    name = printable(argv[0])
    with look.acting():
        allowed = os.access(argv[0], os.X_OK, effective_ids=True)
    if not allowed:
        yield Result(ERROR, f"{name}: cannot be run", "-S /usr/sbin/sendmail -S -G -S -i")
        return
    if os.path.basename(argv[0]) != b"sendmail":
        yield Result(OK, f"{name} can be run")
        return
    letters = sendmail.letters(argv[1:])
    if b"t" in letters:
        text = f"{name} -t sends to those in the header once more"
        yield Result(ERROR, text, f"-S {name} -S -G -S -i")
    elif b"i" not in letters:
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
        offered, refused = _offers(look)
    except Defer as why:
        text = f"the mail server of -S does not answer: {why.text}"
        yield Result(ERROR, text, "see the second service in `avcheckctl setup postfix`")
        return
    where = str(settings.server)
    if refused:
        text = f"the mail server {where} takes no mail: {refused}"
        yield Result(ERROR, text, "see the second service in `avcheckctl setup postfix`")
    else:
        yield Result(OK, f"the mail server {where} answers")
    if b"8BITMIME" not in offered:
        text = f"{where} offers no 8BITMIME: mail with umlauts would wait for ever"
        yield Result(ERROR, text, "-o smtpd_discard_ehlo_keywords=")
    if settings.xforward and b"XFORWARD" not in offered:
        text = f"{where} offers no XFORWARD, which --xforward is for"
        yield Result(WARNING, text, "-o smtpd_authorized_xforward_hosts=127.0.0.0/8")
    if settings.tls == smtp_dialogue.REQUIRE and b"STARTTLS" not in offered:
        text = f"{where} offers no STARTTLS, which --tls require needs"
        yield Result(ERROR, text, "-o smtpd_tls_security_level=may")


def _offers(look: Look) -> tuple[dict[bytes, bytes], str]:
    """What the server offers in its reply to EHLO, and why it takes no mail if it does not.

    Raises Defer if it does not answer.  No message is sent.
    """
    server = look.settings.server
    with look.acting(), conn.connect((server,), monotonic() + PATIENCE) as link:
        smtp_replies.want(2, b"the connection", [_reply(link)])
        link.send(b"EHLO avcheckctl.invalid\r\n")
        reply = _reply(link)
        smtp_replies.want(2, b"EHLO", [reply])
        offered = smtp_dialogue.extensions(reply)
        refused = ""
        # Where TLS comes first, only a handshake would tell.
        if look.settings.tls == smtp_dialogue.NEVER or b"STARTTLS" not in offered:
            refused = _refusal(look, link)
        link.send(b"QUIT\r\n")
    return offered, refused


def _refusal(look: Look, link: conn.Conn) -> str:
    """What the server says against an envelope as it will be given."""
    sender = look.settings.sender if look.service.pipe is not None else b""
    commands = [b"MAIL FROM:<" + smtp_words.mailbox(sender) + b">"]
    commands += [
        b"RCPT TO:<" + smtp_words.mailbox(recipient) + b">"
        for recipient in look.settings.recipients
    ]
    for command in commands:
        link.send(command + b"\r\n")
        reply = _reply(link)
        if reply.code // 100 != 2:
            return f"{printable(command)}: {reply}"
    return ""


def _reply(link: conn.Conn) -> smtp_replies.Reply:
    replies = smtp_replies.Replies()
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
        line = postfix.service("pickup")
        way = "sendmail"
    else:
        line = postfix.listener(settings.server.port)
        way = str(settings.server)
    if line is None:
        if not settings.program:
            yield Result(
                WARNING,
                f"{way} is no service of this Postfix; make sure that it does not lead back here",
                "avcheckctl setup postfix",
            )
        return
    if postfix.filters(line, pipe):
        yield Result(
            ERROR,
            f"{way} leads back to avcheck: mail goes round until it bounces",
            f"{line.name} ... {line.command}\n    -o content_filter=",
        )
    else:
        yield Result(OK, f"{way} does not lead back to avcheck")


def reinjection_private(look: Look) -> Iterator[Result]:
    """Only this host can reach the way back: what comes in there is not scanned."""
    postfix, settings = look.postfix, look.settings
    if postfix is None or settings.program or settings.no_inject:
        return
    line = postfix.listener(settings.server.port)
    if line is None:
        return  # reinjection_loop says so
    remedy = (
        f"127.0.0.1:{line.port} inet n  -  n  -  {line.limit}  smtpd\n    -o mynetworks=127.0.0.0/8"
    )
    places = [name for name in _listens_at(postfix, line) if not _is_here(name)]
    trusted = [name for name in _names(postfix.value("mynetworks", line)) if not _is_here(name)]
    allowed = _names(postfix.value("smtpd_recipient_restrictions", line))
    if not places:
        yield Result(OK, f"{line.name} can be reached from this host only")
    elif trusted or allowed != ["permit_mynetworks", "reject"]:
        text = (
            f"{line.name} can be reached from elsewhere, and mail that comes there is not scanned"
        )
        yield Result(ERROR, text, remedy)
    else:
        text = f"{line.name} can be reached from elsewhere, though it takes mail of this host only"
        yield Result(WARNING, text, remedy)


def _names(value: str) -> list[str]:
    """The items of a list in main.cf."""
    return value.replace(",", " ").split()


def _listens_at(postfix: Postfix, line: Line) -> list[str]:
    """The addresses of an inet service, as they are written there or in inet_interfaces."""
    host = line.name.rpartition(":")[0]
    return [host] if host else _names(postfix.value("inet_interfaces", line, default="all"))


def _is_here(name: str) -> bool:
    """Whether an address, or a network, is this host's alone."""
    plain = name.strip("[]").replace("[", "").replace("]", "")
    return plain in ("localhost", "loopback-only") or plain.startswith(
        ("127.", "::1", "::ffff:127.")
    )


def reinjection_size(look: Look) -> Iterator[Result]:
    """What was small enough for the front door is so on the way back, a header later."""
    postfix, pipe, settings = look.postfix, look.service.pipe, look.settings
    if postfix is None or pipe is None or settings.no_inject:
        return
    doors = [line for line in postfix.lines if postfix.filters(line, pipe)]
    largest = [postfix.number(SIZE, door) for door in doors]
    if settings.program:
        if os.path.basename(settings.program[0]) != b"sendmail":
            return
        limits = {"postdrop": postfix.number(SIZE, None)}
        remedy = f"{doors[0].name if doors else 'smtp'} ... smtpd\n    -o message_size_limit=..."
    else:
        line = postfix.listener(settings.server.port)
        if line is None:
            return  # reinjection_loop says so
        name = postfix.value("cleanup_service_name", line, default="cleanup")
        cleanup = postfix.service(name)
        limits = {line.name: postfix.number(SIZE, line), name: postfix.number(SIZE, cleanup)}
        remedy = (
            f"{line.name} ... smtpd\n    -o message_size_limit=0\n"
            "    -o cleanup_service_name=avcheck-cleanup\n"
            "avcheck-cleanup unix n  -  n  -  0  cleanup\n    -o message_size_limit=0"
        )
        if cleanup is None:
            yield Result(ERROR, f"{line.name}: there is no service {printable(name)}", remedy)
            return
    if not largest:
        return  # filter_used says so
    small = [
        name for name, limit in limits.items() if limit and (limit <= max(largest) or 0 in largest)
    ]
    if small:
        text = f"a message that just fits is too large for {', '.join(small)} then, and waits"
        yield Result(WARNING, text, remedy)
    else:
        yield Result(OK, "what the front door takes is not too large for the way back")
