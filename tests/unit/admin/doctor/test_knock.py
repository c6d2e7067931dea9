"""avcheckctl doctor: whether Postfix takes mail at its ways in."""

from __future__ import annotations

import socket
from dataclasses import replace
from time import monotonic

import pytest

from avcheck.admin import checks
from avcheck.admin.checks import knock
from avcheck.admin.look import ERROR, OK, WARNING, Look
from tests.support.doctor_site import Site, found, levels, text
from tests.support.fakes import FakeSmtp


def door(site: Site, port: int, *options: str) -> Look:
    """The site with its front door at that port of this host."""
    lines = "".join(f"    -o {each}\n" for each in options)
    smtp = "smtp      inet  n       -       y       -       -       smtpd\n"
    site.change(smtp, f"127.0.0.1:{port} inet n - y - - smtpd\n{lines}")
    return site.look()


@pytest.mark.parametrize(
    ("replies", "level", "said"),
    [
        ({}, OK, "at every way in"),
        ({"MAIL": b"451 4.7.1 Service unavailable\r\n"}, WARNING, "for now: 451 4.7.1 Service"),
        ({"MAIL": b"530 5.7.0 Must issue a STARTTLS command first\r\n"}, OK, "at every way in"),
        ({"RCPT 1": b"451 4.3.5 Server configuration error\r\n"}, WARNING, "now: 451 4.3.5"),
        ({"RCPT 1": b"450 4.2.0 Greylisted\r\n"}, OK, "at every way in"),
        ({"greeting": b"421 4.3.0 not now\r\n"}, ERROR, "421 4.3.0 not now"),
        ({"EHLO": b"500 what\r\n"}, ERROR, "500 what"),
    ],
)
def test_a_door_is_asked(site: Site, replies: dict[str, bytes], level: str, said: str) -> None:
    with FakeSmtp(answers=replies) as server:
        look = door(site, int(server.where.rpartition(":")[2]))
        assert levels("front_answers", look) == {level}
        assert said in text("front_answers", look)
        assert knock.knocked in [each[0] for each in checks.questions(look)]


def test_a_door_that_is_shut_or_busy(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        look = door(site, mute.getsockname()[1])
        (result,) = found("front_answers", replace(look, until=monotonic() + 0.2))
        assert (result.level, "or is busy" in result.text) == (ERROR, True)
    (result,) = found("front_answers", replace(look, said={}))
    assert result.level == ERROR
    assert result.remedy.endswith("/var/log/mail.log | tail")


def test_where_tls_comes_first(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        look = door(site, mute.getsockname()[1], "smtpd_tls_wrappermode=yes")
        assert levels("front_answers", look) == {OK}


def test_doors_that_are_not_asked(site: Site) -> None:
    look = door(site, 1, "smtpd_upstream_proxy_protocol=haproxy")
    assert levels("front_answers", look) == set()
    site.change("127.0.0.1:1 inet n - y", "smtpd pass - - y")
    assert levels("front_answers", site.look()) == set()


@pytest.mark.parametrize(
    ("interfaces", "host"),
    [("all", "127.0.0.1"), ("loopback-only", "127.0.0.1"), ("192.0.2.1, [::1]", "192.0.2.1")],
)
def test_where_a_door_is_asked(site: Site, interfaces: str, host: str) -> None:
    site.main["inet_interfaces"] = interfaces
    ((_, question),) = list(knock._asked(site.look()))
    assert question == (knock.knocked, host, "25", False)
