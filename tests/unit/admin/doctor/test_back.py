"""avcheckctl doctor: how the way back is told to take mail, by each mail system."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from avcheck.admin.checks import back
from avcheck.admin.look import ERROR, WARNING, Look
from tests.support.doctor_site import US, Site, found
from tests.support.exim_site import EximSite
from tests.support.fakes import FakeSmtp
from tests.support.sendmail_site import SendmailSite

BACK = "127.0.0.1:10026"


def by_postfix(site: Site, where: str) -> Look:
    return site.change(BACK, where).own(f"-S {where}")


def by_a_door_of_others(site: Site, where: str) -> Look:
    """A service that was not made for it."""
    restrictions = "    -o smtpd_recipient_restrictions=permit_mynetworks,reject\n"
    return by_postfix(site.change(restrictions, ""), where)


def by_exim(site: Site, where: str) -> Look:
    exim = EximSite().command(BACK, where).command("/var/spool/avcheck", str(site.spool))
    exim.transport |= {"user": US, "group": ""}
    return exim.look()


def by_sendmail(site: Site, where: str) -> Look:
    sendmail = SendmailSite().words(BACK, where).words("/var/spool/avcheck", str(site.spool))
    sendmail.user = US
    return sendmail.look()


def elsewhere(site: Site, where: str) -> Look:
    return site.own(f"-S {where}")


@pytest.mark.parametrize(
    ("reply", "options"),
    [
        (b"530 5.7.0 Must issue a STARTTLS command first", ["smtpd_tls_security_level=none"]),
        (b"451 4.7.1 Service unavailable", ["smtpd_milters="]),
        (b"550 5.7.1 no", ["mynetworks=127.0.0.0/8", "smtpd_client_restrictions="]),
    ],
)
def test_the_remedy_is_for_what_was_said(site: Site, reply: bytes, options: list[str]) -> None:
    site.main["smtpd_milters"] = "inet:127.0.0.1:8891"
    with FakeSmtp(answers={"MAIL": reply + b"\r\n"}) as server:
        (result,) = found("reinjection_answers", by_postfix(site, server.where))
    first, *lines = result.remedy.splitlines()
    assert first == f"{server.where} inet ... smtpd"
    assert [line.strip().removeprefix("-o ") for line in lines][: len(options)] == options


def test_a_way_back_by_the_other_protocol(site: Site) -> None:
    line = site.change("127.0.0.1:10026 inet", "[::1]:10026 inet").postfix()
    look = Look(site.own("-S [::1]:10026").service, line, str(site.conf))
    assert "mynetworks=127.0.0.0/8,[::1]/128" in back._open(look, "RCPT TO:<x>: 554 no")


# What is looked at; words of the remedy if it refuses mail, and if it takes small mail only.
Case = tuple[Callable[[Site, str], Look], str, str]
CASES: dict[str, Case] = {
    "Postfix": (by_postfix, " inet ... smtpd\n    -o mynetworks=", "-o message_size_limit=0"),
    "a door of others": (by_a_door_of_others, "the second service", "raise the limit"),
    "elsewhere": (elsewhere, "the second service", "raise the limit"),
    "Exim": (by_exim, "acl_avcheck in `avcheckctl setup exim`", "{0}{50M}}"),
    "sendmail": (by_sendmail, "`avcheckctl setup sendmail`", "`confMAX_MESSAGE_SIZE', `0'"),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
@pytest.mark.parametrize("case", CASES)
def test_a_way_back_that_refuses(site: Site, case: str) -> None:
    make, remedy, _ = CASES[case]
    with FakeSmtp(answers={"RCPT 1": b"554 5.7.1 no\r\n"}) as smtp:
        results = found("reinjection_answers", make(site, smtp.where))
    (error,) = [each for each in results if each.level == ERROR]
    assert "takes no mail" in error.text
    assert remedy in error.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
@pytest.mark.parametrize("case", CASES)
def test_a_way_back_for_small_mail(site: Site, case: str) -> None:
    make, _, remedy = CASES[case]
    with FakeSmtp(offers=(b"SIZE 1000000", b"8BITMIME")) as smtp:
        results = found("reinjection_answers", make(site, smtp.where))
    # What the recipe of sendmail has refused there bounces (--refused bounce).
    level, then = (ERROR, "bounces") if case == "sendmail" else (WARNING, "waits")
    (result,) = [each for each in results if each.level == level]
    assert f"976.6K at most, and what is larger {then}" in result.text
    assert remedy in result.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_sendmail_is_not_asked_about_the_domain_of_a_sender(site: Site) -> None:
    """It would ask the DNS, whose answer says nothing about the set-up."""
    smtp = FakeSmtp()
    with smtp:
        found("reinjection_answers", by_sendmail(site, smtp.where))
        found("reinjection_answers", by_exim(site, smtp.where))
    senders = [command for command in smtp.commands if command.startswith(b"MAIL")]
    assert senders == [b"MAIL FROM:<>", b"MAIL FROM:<sender@example.org>"]
