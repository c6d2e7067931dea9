"""The check of what the mail server says where clean mail goes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import monotonic

from avcheck import conn
from avcheck.admin import amounts, doors
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line
from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.exits import Defer
from avcheck.printable import printable


def reinjection_answers(look: Look) -> Iterator[Result]:
    """The mail server of -S answers, and takes what it will be given."""
    settings = look.settings
    if settings.program or settings.no_inject:
        return
    try:
        offered, refused = look.ask(offers)
    except Defer as why:
        text = f"the mail server of -S does not answer: {why.text}"
        yield Result(ERROR, text, _set_up(look))
        return
    where = str(settings.server)
    if refused:
        text = f"the mail server {where} takes no mail: {refused}"
        yield Result(ERROR, text, _open(look, refused))
    else:
        yield Result(OK, f"the mail server {where} answers")
    size = offered.get(b"SIZE", b"")
    if size.isdigit() and 0 < int(size[:18]) <= look.message_size_limit:
        level, then = (ERROR, "bounces") if settings.refused == "bounce" else (WARNING, "waits")
        text = f"{where} takes {amounts.binary(int(size[:18]))} at most, and what is larger {then}"
        yield Result(level, text, _larger(look))
    if b"8BITMIME" not in offered:
        text = f"{where} offers no 8BITMIME: mail with umlauts would wait for ever"
        yield Result(ERROR, text, OFFERS[look.system]["8BITMIME"])
    if settings.xforward and b"XFORWARD" not in offered:
        text = f"{where} offers no XFORWARD, which --xforward is for"
        yield Result(WARNING, text, OFFERS[look.system]["XFORWARD"])
    if settings.tls == smtp_dialogue.REQUIRE and b"STARTTLS" not in offered:
        text = f"{where} offers no STARTTLS, which --tls require needs"
        yield Result(ERROR, text, OFFERS[look.system]["STARTTLS"])


# What a mail system has to be told so that it offers what is wanted.
OFFERS = {
    "Postfix": {
        "8BITMIME": "-o smtpd_discard_ehlo_keywords=",
        "XFORWARD": "-o smtpd_authorized_xforward_hosts=127.0.0.0/8",
        "STARTTLS": "-o smtpd_tls_security_level=may",
    },
    "Exim": {
        "8BITMIME": "accept_8bitmime = true",
        "XFORWARD": "leave out --xforward: Exim has none",
        "STARTTLS": "tls_advertise_hosts = *",
    },
    "sendmail": {
        "8BITMIME": "remove the lines about SevenBitInput and EightBitMode from sendmail.mc",
        "XFORWARD": "leave out --xforward: sendmail has none",
        "STARTTLS": "--tls may",
    },
}

# What the page says below the reinjection listener: this host and nobody else.
THIS_HOST = """\
    -o mynetworks={host}
    -o smtpd_client_restrictions=
    -o smtpd_helo_restrictions=
    -o smtpd_sender_restrictions=
    -o smtpd_relay_restrictions=
    -o smtpd_recipient_restrictions=permit_mynetworks,reject"""


def _line(look: Look) -> Line | None:
    """The service of this Postfix that is the way back, if there is one made for it."""
    server, postfix = look.settings.server, look.postfix
    line = postfix.listener(server) if postfix is not None else None
    return line if line and postfix and doors.made_for_the_way_back(postfix, line) else None


def _set_up(look: Look) -> str:
    """Where it is told how mail comes back."""
    if look.exim is not None:
        return "see local_interfaces and acl_avcheck in `avcheckctl setup exim`"
    if look.sendmail is not None:
        return "see sendmail.mc in `avcheckctl setup sendmail`"
    return "see the second service in `avcheckctl setup postfix`"


def _open(look: Look, refused: str) -> str:
    """How the way back takes mail of this host."""
    line, postfix = _line(look), look.postfix
    if line is None or postfix is None:
        return _set_up(look)
    options = THIS_HOST.format(host="127.0.0.0/8" + (",[::1]/128" if ":" in line.host else ""))
    if "STARTTLS" in refused:
        options = "    -o smtpd_tls_security_level=none"
    elif re.search(r": 4\d\d ", refused) and postfix.value("smtpd_milters", line):
        options = "    -o smtpd_milters="
    return f"{printable(line.name)} {line.type} ... smtpd\n{options}"


def _larger(look: Look) -> str:
    """How the way back takes a message of any size."""
    if look.exim is not None:
        port = printable(look.settings.server.port)
        size = amounts.binary(look.message_size_limit)
        return f"message_size_limit = ${{if eq{{$received_port}}{{{port}}}{{0}}{{{size}}}}}"
    if look.sendmail is not None:
        return "define(`confMAX_MESSAGE_SIZE', `0')dnl sendmail.mc"
    if (line := _line(look)) is None:
        return "raise the limit of that server above message_size_limit"
    return f"{printable(line.name)} {line.type} ... smtpd\n    -o message_size_limit=0"


def offers(look: Look) -> tuple[dict[bytes, bytes], str]:
    """A question: what the server offers to EHLO, and why it takes no mail if it does not.

    Raises Defer if it does not answer.  No message is sent.
    """
    server = look.settings.server
    with look.acting(), conn.connect((server,), monotonic() + look.left) as link:
        offered = smtp_dialogue.extensions(greeted(link))
        refused = ""
        # Where TLS comes first, only a handshake would tell.
        if look.settings.tls == smtp_dialogue.NEVER or b"STARTTLS" not in offered:
            refused = _refusal(look, link)
        link.send(b"QUIT\r\n")
    return offered, refused


def _refusal(look: Look, link: conn.Conn) -> str:
    """What the server says against an envelope as it will be given."""
    # sendmail asks the DNS about the domain of a sender, which says nothing about the set-up.
    unasked = look.service.call is None or look.sendmail is not None
    sender = b"" if unasked else look.settings.sender
    commands = [b"MAIL FROM:<" + smtp_words.mailbox(sender) + b">"]
    commands += [
        b"RCPT TO:<" + smtp_words.mailbox(recipient) + b">"
        for recipient in look.settings.recipients
    ]
    for command in commands:
        link.send(command + b"\r\n")
        reply = heard(link)
        if reply.code // 100 != 2:
            return f"{printable(command)}: {reply}"
    link.send(b"RSET\r\n")
    heard(link)
    return ""


def greeted(link: conn.Conn) -> smtp_replies.Reply:
    """The reply to EHLO, after the greeting; raises Defer unless both are a yes."""
    smtp_replies.want(2, b"the connection", [heard(link)])
    link.send(b"EHLO avcheckctl.invalid\r\n")
    reply = heard(link)
    smtp_replies.want(2, b"EHLO", [reply])
    return reply


def heard(link: conn.Conn) -> smtp_replies.Reply:
    """The next reply; raises Defer if it is none."""
    replies = smtp_replies.Replies()
    while (reply := replies.add(link.line())) is None:
        pass
    return reply
