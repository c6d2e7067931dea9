"""avcheck-smtp and its next hop: one that is not there, goes, keeps silent, or is a program."""

from __future__ import annotations

import pytest

from tests.support.fakes import HANG_UP
from tests.support.mta import MAIL, SENDER, Site
from tests.support.smtp_client import spawn


def test_a_next_hop_that_is_not_there_is_told_to_the_client(site: Site) -> None:
    site.hop = ("-S", f"unix:{site.directory}/none")
    with spawn(site) as talk:
        reply = talk.hello()
        assert reply.startswith(b"421 4.4.1 ")
        assert b"is the daemon running?" in reply
        talk.hung_up()


def test_a_next_hop_that_wants_no_mail_is_quoted(site: Site) -> None:
    site.smtp(answers={"greeting": b"554 5.3.2 no mail today\r\n"})
    with spawn(site) as talk:
        reply = talk.hello()
        assert reply.startswith(b"421 4.3.2 ")
        assert b"no mail today" in reply
        talk.hung_up()


def test_a_next_hop_that_has_hung_up_meanwhile_is_called_again(site: Site) -> None:
    hop = site.smtp(quits="dot")
    with spawn(site) as talk:
        talk.hello()
        for _ in range(3):
            assert talk.send().startswith(b"250 ")
        talk.quit()
    assert len(hop.messages) == 3
    assert sum(command.startswith(b"EHLO") for command in hop.commands) == 3


def test_one_that_hangs_up_in_the_envelope_ends_the_session(site: Site) -> None:
    hop = site.smtp(answers={"RCPT 2": HANG_UP})
    with spawn(site) as talk:
        talk.hello()
        replies = talk.envelope(recipients=[b"a@x"])
        assert replies[1].startswith(b"250 ")
        assert talk.ask(b"RCPT TO:<b@x>").startswith(b"421 4.4.2 ")
        talk.hung_up()
    assert hop.messages == []


@pytest.mark.parametrize("step", ["greeting", "MAIL", "DATA", "dot"])
def test_one_that_keeps_silent_is_not_waited_for_for_ever(site: Site, step: str) -> None:
    hop = site.smtp(hold=step)
    with spawn(site, "--deadline", "0.3") as talk:
        assert talk.hear().startswith(b"220 ")
        reply = talk.ask(b"EHLO client.example")
        if step != "greeting":
            reply = talk.ask(b"MAIL FROM:<a@x>")
        if step in ("DATA", "dot"):
            assert talk.ask(b"RCPT TO:<b@x>").startswith(b"250 ")
            reply = talk.data()
        code = b"421" if step in ("greeting", "MAIL") else b"451"
        assert reply.startswith(code + b" 4.4.7 ")
        assert (b"possible duplicate" in reply) == (step == "dot")
        hop.release()


def test_xclient_is_passed_on_if_that_is_allowed(site: Site) -> None:
    offers = (b"PIPELINING", b"XCLIENT NAME ADDR")
    hop = site.smtp(offers=offers, answers={"XCLI": b"220 again\r\n"})
    with spawn(site, "--xclient") as talk:
        assert b"XCLIENT NAME ADDR" in talk.hello()
        assert talk.ask(b"XCLIENT ADDR=192.0.2.1") == b"220 again\r\n"
        assert talk.ask(b"MAIL FROM:<a@x>").startswith(b"503 ")
        talk.ask(b"EHLO client.example")
        assert talk.send().startswith(b"250 ")
        talk.quit()
    assert hop.commands[1] == b"XCLIENT ADDR=192.0.2.1"


def test_one_that_hangs_up_after_the_dot_may_have_the_message(site: Site) -> None:
    site.smtp(answers={"dot": HANG_UP})
    with spawn(site) as talk:
        talk.hello()
        reply = talk.send()
        assert reply.startswith(b"451 4.4.2 ")
        assert b"possible duplicate: after the final dot" in reply
        talk.quit()


def test_a_program_gets_all_recipients_at_once_and_lines_of_its_own(site: Site) -> None:
    program = site.sendmail()
    with spawn(site) as talk:
        offered = talk.hello()
        assert b"DSN" not in offered
        assert talk.ask(b"MAIL FROM:<a@x> AUTH=<>").startswith(b"555 ")
        reply = talk.send(recipients=[b"a@x", b"b@x"])
        assert reply.startswith(b"250 2.0.0 clean: ")
        talk.quit()
    assert program.stdin == MAIL
    assert program.argv[-5:] == [b"-f", SENDER, b"--", b"a@x", b"b@x"]
