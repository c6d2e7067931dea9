"""avcheck-smtp: one connection on standard input, as spawn(8) has it."""

from __future__ import annotations

import fcntl
import os
import smtplib
from pathlib import Path

import pytest

from tests.support.letters import EICAR
from tests.support.mta import RECIPIENT, SENDER, Site, until
from tests.support.program import STOP
from tests.support.smtp_client import CONTENT, WIRE, spawn

INFECTED = b"Eicar-Test-Signature FOUND"


def test_a_clean_message_is_passed_on_with_the_next_hop_s_words(site: Site) -> None:
    hop = site.smtp()
    with spawn(site) as talk:
        talk.hello()
        assert talk.send() == b"250 2.0.0 taken\r\n"
        talk.quit()
    [letter] = hop.messages
    assert letter.data == CONTENT
    assert letter.sender == b"<%b>" % SENDER
    assert letter.recipients == (RECIPIENT,)
    assert site.left == []


def test_three_messages_are_passed_on_by_one_connection(site: Site) -> None:
    hop = site.smtp()
    with spawn(site) as talk:
        talk.hello()
        for number in range(3):
            assert talk.send(b"Subject: %d\r\n\r\n.\r\n" % number).startswith(b"250 ")
        talk.quit()
    assert [each.data for each in hop.messages] == [
        b"Subject: %d\r\n\r\n" % number for number in range(3)
    ]
    assert sum(command.startswith(b"EHLO") for command in hop.commands) == 1
    assert len(site.scanner.questions) == 3


def test_the_next_hop_takes_and_refuses_recipients_one_by_one(site: Site) -> None:
    refusal = b"550-5.1.1 no such user,\r\n550 5.1.1 nor ever was\r\n"
    hop = site.smtp(answers={"RCPT 2": refusal, "RCPT 3": b"450 4.2.0 greylisted\r\n"})
    with spawn(site) as talk:
        talk.hello()
        replies = talk.envelope(recipients=[b"a@x", b"b@x", b"c@x", b"d@x"])
        assert replies[1:] == [
            b"250 2.1.5 recipient ok\r\n",
            refusal,
            b"450 4.2.0 greylisted\r\n",
            b"250 2.1.5 recipient ok\r\n",
        ]
        assert talk.data() == b"250 2.0.0 taken\r\n"
        talk.quit()
    assert len(hop.messages) == 1


def test_what_the_next_hop_says_no_to_is_refused_with_its_words(site: Site) -> None:
    site.smtp(answers={"dot": b"554 5.6.0 I do not like it\r\n"})
    with spawn(site) as talk:
        talk.hello()
        assert talk.send() == b"554 5.6.0 I do not like it\r\n"
        talk.quit()
    assert site.delivered == []


def test_a_sender_that_the_next_hop_refuses_is_refused(site: Site) -> None:
    hop = site.smtp(answers={"MAIL": b"553 5.1.8 no such domain\r\n"})
    with spawn(site) as talk:
        talk.hello()
        assert talk.envelope()[0] == b"553 5.1.8 no such domain\r\n"
        assert talk.ask(b"DATA").startswith(b"503 ")
        talk.quit()
    assert not any(command.startswith(b"DATA") for command in hop.commands)


def test_commands_in_one_piece_are_answered_in_their_order(site: Site) -> None:
    hop = site.smtp(answers={"RCPT 2": b"550 5.1.1 unknown\r\n"})
    with spawn(site) as talk:
        talk.hello()
        talk.say(b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nNOOP\r\nBOGUS\r\nRCPT TO:<c@x>\r\nDATA\r\n")
        codes = [talk.hear()[:3] for _ in range(6)]
        assert codes == [b"250", b"250", b"250", b"500", b"550", b"354"]
        talk.say(WIRE)
        assert talk.hear().startswith(b"250 2.0.0 ")
        talk.quit()
    # It has them before it has answered the first: pipelined there, too.
    assert "MAIL" in hop.early


def test_what_both_can_is_offered_and_nothing_else(site: Site) -> None:
    offers = (b"PIPELINING", b"SIZE 1000", b"8BITMIME", b"STARTTLS", b"AUTH PLAIN", b"CHUNKING")
    site.smtp(offers=(*offers, b"VRFY", b"ETRN", b"DSN", b"SMTPUTF8", b"XCLIENT NAME"))
    with spawn(site) as talk:
        offered = talk.hello().splitlines()[1:]
        assert [line[4:] for line in offered] == [
            *(b"PIPELINING", b"SIZE 1000", b"8BITMIME", b"SMTPUTF8", b"DSN"),
            b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
        ]
        for command in (b"STARTTLS", b"AUTH PLAIN AAA=", b"VRFY x", b"ETRN x", b"BDAT 5"):
            assert talk.ask(command).startswith(b"502 "), command
        assert talk.ask(b"XCLIENT NAME=x").startswith(b"550 5.7.0 ")
        talk.quit()


def test_parameters_are_passed_on_as_they_came(site: Site) -> None:
    hop = site.smtp()
    mail = b"MAIL FROM:<a@x> SIZE=30 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+2B1"
    rcpt = b"RCPT TO:<b@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@x"
    with spawn(site) as talk:
        talk.hello()
        assert talk.ask(mail).startswith(b"250 ")
        assert talk.ask(rcpt).startswith(b"250 ")
        assert talk.data().startswith(b"250 ")
        talk.quit()
    assert hop.commands[1:3] == [mail, rcpt]


def test_the_header_is_added_to_what_is_passed_on(site: Site) -> None:
    hop = site.smtp()
    with spawn(site, "-h", "mx.example") as talk:
        talk.hello()
        assert talk.send().startswith(b"250 ")
    line, _, rest = hop.messages[0].data.partition(b"\r\n")
    assert line.startswith(b"X-AV-Checked: ")
    assert rest == CONTENT


# Verdicts.


def test_an_infected_message_is_refused_and_never_reaches_the_next_hop(site: Site) -> None:
    site.clamd(says=lambda content: INFECTED if EICAR in content else b"OK")
    hop = site.smtp()
    with spawn(site, "--on", "infected=reject") as talk:
        talk.hello()
        refused = talk.send(EICAR + b"\r\n.\r\n")
        assert refused == b"550 5.7.1 message refused: infected: Eicar-Test-Signature\r\n"
        assert talk.send().startswith(b"250 ")
        talk.quit()
    hop.arrived("QUIT")
    verbs = [command.split()[0] for command in hop.commands]
    assert verbs == [
        *(b"EHLO", b"MAIL", b"RCPT", b"RSET"),
        *(b"MAIL", b"RCPT", b"DATA", b"QUIT"),
    ]
    assert site.delivered == [CONTENT]


def test_without_an_answer_of_the_scanner_the_client_keeps_the_message(site: Site) -> None:
    site.clamd(says=b"out of memory ERROR")
    with spawn(site) as talk:
        talk.hello()
        reply = talk.send()
        assert reply.startswith(b"451 4.4.2 clamd ")
        assert b"out of memory" in reply
        talk.quit()
    assert site.delivered == []


@pytest.mark.parametrize(
    ("action", "said"),
    [("handle", b"handler"), ("quarantine:{}/quarantine", b"quarantined as"), ("discard", b"")],
)
def test_what_is_dealt_with_is_taken_and_said(site: Site, action: str, said: bytes) -> None:
    site.clamd(says=INFECTED)
    hop = site.smtp()
    handler = site.handler()
    with spawn(site, "--on", "infected=" + action.format(site.directory)) as talk:
        talk.hello()
        reply = talk.send()
        assert reply.startswith(b"250 2.0.0 infected: Eicar-Test-Signature; ")
        assert said in reply
        talk.quit()
    hop.arrived("QUIT")
    assert hop.commands[-2:] == [b"RSET", b"QUIT"]
    assert site.delivered == []
    if action == "handle":
        assert handler.note("message") == CONTENT


def test_the_next_hop_knows_before_the_handler_begins(site: Site) -> None:
    site.clamd(says=INFECTED)
    hop = site.smtp()
    handler = site.handler(STOP + 'rm "$1"')
    with spawn(site) as talk:
        talk.hello()
        talk.envelope()
        talk.ask(b"DATA")
        talk.say(WIRE)
        handler.arrived()
        assert hop.commands[-1] == b"RSET"
        handler.release()
        assert talk.hear().startswith(b"250 2.0.0 infected")
    sendmail = handler.environment[b"SENDMAIL"].split()
    assert sendmail[0].endswith(b"/avcheck")
    assert sendmail[1:] == [b"-c", b"-S", site.hop[1].encode()]


def test_what_was_said_of_one_message_is_not_said_of_the_next(site: Site) -> None:
    site.clamd(says=lambda content: INFECTED if EICAR in content else b"OK")
    site.smtp()
    with spawn(site, "--on", "infected=discard") as talk:
        talk.hello()
        assert talk.send() == b"250 2.0.0 taken\r\n"
        assert talk.send(EICAR + b"\r\n.\r\n").endswith(b"; discarded\r\n")
        assert talk.send() == b"250 2.0.0 taken\r\n"


def test_a_handler_that_refuses_refuses(site: Site) -> None:
    site.clamd(says=INFECTED)
    site.handler('echo "5.7.1 go away"; exit 77')
    with spawn(site) as talk:
        talk.hello()
        assert talk.send() == b"550 5.7.1 go away\r\n"
        talk.quit()


def test_scanners_get_the_bytes_that_came(site: Site) -> None:
    content = b"Subject: x\r\n\r\na bare \n and a bare \r and \xff\0\r\n..\r\n"
    hop = site.smtp()
    with spawn(site) as talk:
        talk.hello()
        assert talk.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n").startswith(b"250 ")
        talk.quit()
    assert site.scanner.questions[0].content.endswith(content)
    assert hop.messages[0].data == content


@pytest.mark.parametrize("wire", [b"a\n.\nb", b"a\r.\rb", b"a\r\n.\nb", b"a\n.\r\nb", b"a\n.b"])
@pytest.mark.parametrize("action", ["reject", "deliver"])
def test_content_that_others_read_otherwise_is_not_clean(
    site: Site, wire: bytes, action: str
) -> None:
    with spawn(site, "--on", f"unscannable={action}") as talk:
        talk.hello()
        reply = talk.send(b"Subject: x\r\n\r\n" + wire + b"\r\n.\r\n")
        if action == "reject":
            assert reply.startswith(b"550 5.7.1 message refused: unscannable: Ambiguous.")
        talk.quit()
    assert bool(site.delivered) == (action == "deliver")


def test_an_infected_one_of_them_is_infected(site: Site) -> None:
    site.clamd(says=INFECTED)
    with spawn(site, "--on", "infected=reject", "--on", "unscannable=deliver") as talk:
        talk.hello()
        assert b"infected: Eicar" in talk.send(b"a\n.\nb\r\n.\r\n")


# A pause.


def test_while_paused_no_mail_is_taken(site: Site, tmp_path: Path) -> None:
    waitfile = tmp_path / "wait"
    with spawn(site, "-w", str(waitfile)) as talk:
        talk.hello()
        waitfile.touch()
        assert talk.ask(b"MAIL FROM:<a@x>").startswith(b"451 4.3.2 held back while ")
        waitfile.unlink()
        talk.envelope()
        waitfile.touch()
        assert talk.ask(b"DATA").startswith(b"451 4.3.2 held back while ")
        waitfile.unlink()
        assert talk.send().startswith(b"250 ")
        talk.quit()
    assert len(site.delivered) == 1


def test_a_message_in_flight_is_waited_for_and_an_idle_connection_is_not(site: Site) -> None:
    lock = os.open(site.spool, os.O_RDONLY)

    def is_free() -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(lock, fcntl.LOCK_UN)
        return True

    with spawn(site) as talk:
        talk.hello()
        talk.envelope()
        assert is_free()
        assert talk.ask(b"DATA").startswith(b"354 ")
        assert not is_free()
        talk.say(WIRE)
        assert talk.hear().startswith(b"250 ")
        until(is_free)
    os.close(lock)


# A second opinion.


class _Client(smtplib.SMTP):
    """Python's client, over a connection that is there."""

    def __init__(self, connected: object) -> None:
        self.connected = connected
        super().__init__("there")

    def _get_socket(self, host: str, port: int, timeout: float) -> object:
        return self.connected


def test_python_s_own_client_gets_along_with_it(site: Site) -> None:
    with spawn(site) as talk:
        client = _Client(talk.socket)
        for _ in range(2):
            assert client.sendmail("a@x", ["b@x", "c@x"], CONTENT) == {}
        client.rset()
        client.noop()
        client.quit()
    assert site.delivered == [CONTENT, CONTENT]


def test_what_xforward_has_told_ends_with_the_next_ehlo(site: Site) -> None:
    """At the next hop as here (XFORWARD_README)."""
    server = site.smtp(offers=(b"PIPELINING", b"XFORWARD NAME ADDR IDENT"))
    with spawn(site) as talk:
        talk.hello()
        talk.ask(b"XFORWARD NAME=mx.example ADDR=192.0.2.1 IDENT=4XYZ")
        assert talk.ask(b"EHLO client.example").startswith(b"250")
        assert talk.send().startswith(b"250 ")
        talk.quit()
    verbs = [line[:4] for line in server.commands]
    assert verbs[:4] == [b"EHLO", b"XFOR", b"RSET", b"MAIL"]


def test_rset_and_what_follows_it_in_one_packet(site: Site) -> None:
    """A recipient of nothing is refused, and that is all."""
    site.smtp(offers=(b"PIPELINING",), answers={"RCPT 1": b"503 5.5.1 Error: need MAIL\r\n"})
    with spawn(site) as talk:
        talk.hello()
        assert talk.ask(b"MAIL FROM:<a@example>").startswith(b"250 ")
        talk.say(b"RSET\r\nRCPT TO:<b@example>\r\n")
        assert talk.hear().startswith(b"250 ")
        assert talk.hear().startswith(b"503 ")
        talk.quit()


def test_a_program_gets_so_many_recipients_and_the_client_keeps_the_others(site: Site) -> None:
    sendmail = site.sendmail()
    with spawn(site) as talk:
        talk.hello()
        talk.ask(b"MAIL FROM:<a@example>")
        talk.say(b"".join(b"RCPT TO:<%d@example>\r\n" % number for number in range(1002)))
        replies = [talk.hear()[:9] for _ in range(1002)]
        assert replies == [b"250 2.1.5"] * 1000 + [b"452 4.5.3"] * 2
        assert talk.data().startswith(b"250 ")
        talk.quit()
    assert sum(b"@example" in word for word in sendmail.argv) == 1001
