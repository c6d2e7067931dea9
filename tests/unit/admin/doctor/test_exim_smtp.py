"""avcheckctl doctor: an Exim that sends mail to avcheck-smtp, and its system filter."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from avcheck.admin import exim_instance, inetd, pages
from avcheck.admin.exim_options import SmtpTransport, options, smtp_transport_of
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look
from avcheck.admin.services import of_call
from avcheck.admin.units import Socket
from tests.support.doctor_site import SOMEBODY, expect, found, levels, text
from tests.support.exim_site import EximSite

ARGV = ("/x/avcheck-smtp", "-d", "/s", "-s", "clamd", "-S", "127.0.0.1:10026")
UNIT = Socket("avcheck-smtp.socket", "10025", ARGV, SOMEBODY, "", None, "avcheck-smtp.service")


class BySmtp(EximSite):
    """With the documented transport to avcheck-smtp."""

    def __init__(self) -> None:
        super().__init__()
        block = pages.blocks(pages.document("exim"))["transport-smtp"]
        lines = [line for line in block.splitlines() if not line.endswith(":")]
        self.transport = options("\n".join(lines))
        self.socket = UNIT

    @property
    def call(self) -> SmtpTransport:
        call = smtp_transport_of("avcheck", self.transport, [self.socket])
        assert call is not None
        return call

    def look(self) -> Look:
        return Look(of_call(self.call), exim=self.exim())


CHECKS = (
    "exim_router",
    "exim_routes",
    "exim_loop",
    "exim_private",
    "exim_account",
    "exim_message",
    "exim_keeps",
    "exim_command",
    "exim_takes",
    "exim_time_limit",
    "exim_bounce",
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_documented_transport_is_right(check: str) -> None:
    assert levels(check, BySmtp().look()) == {OK}


DEMANDS = {
    "protocol = lmtp": "speaks no LMTP, and all mail bounces",
    "protocol = smtps": "has no TLS, all mail waits",
    "hosts_require_tls = *": "wants TLS, which avcheck-smtp has not: all mail waits",
    "hosts_require_auth = 127.0.0.1": "wants AUTH",
    "hosts_require_dane = *": "all mail bounces",
}


@pytest.mark.parametrize("line", DEMANDS)
def test_what_avcheck_smtp_has_not(line: str) -> None:
    site = BySmtp()
    option, _, value = line.partition(" = ")
    site.transport[option] = value
    remedy = "protocol = smtp" if option == "protocol" else f"{option} ="
    expect(site.look(), "exim_keeps", ERROR, DEMANDS[line], remedy)
    site.transport |= {option: "", "protocol": "smtp", "hosts_require_tls": "192.0.2.1"}
    assert levels("exim_keeps", site.look()) == {OK}


def test_what_is_not_asked_of_a_transport_by_smtp() -> None:
    look = BySmtp().look()
    assert look.settings.deadline == 250
    for check in ("pipe_arguments", "pipe_user", "smtp_used"):
        assert levels(check, look) == set()


@pytest.mark.parametrize(
    ("option", "value", "level", "said", "remedy"),
    [
        ("fallback_hosts", "mx.example", ERROR, "fallback_hosts get it, unscanned", "fallback_h"),
        ("hosts", "127.0.0.1 : mx.example", ERROR, "goes to mx.example, too", "hosts = 127.0.0.1"),
        ("allow_localhost", "no", ERROR, "all of it waits", "  allow_localhost"),
        ("message_linelength_limit", "998", ERROR, "bounces", "_limit = 1000000000"),
    ],
)
def test_where_a_transport_sends_mail(
    option: str, value: str, level: str, said: str, remedy: str
) -> None:
    site = BySmtp()
    site.transport[option] = value
    expect(site.look(), "exim_keeps", level, said, remedy)


def test_the_defaults_of_a_transport_are_not_right() -> None:
    site = BySmtp()
    for option in ("allow_localhost", "message_linelength_limit"):
        del site.transport[option]
    assert len(found("exim_keeps", site.look())) == 2


def test_a_router_with_fallback_hosts() -> None:
    site = BySmtp()
    site.router["fallback_hosts"] = "mx.example"
    expect(site.look(), "exim_keeps", ERROR, "router avcheck: while", "remove fallback_hosts")
    del site.router["fallback_hosts"]
    site.before["other"] = {"transport": "onward", "fallback_hosts": "mx.example"}
    assert levels("exim_keeps", site.look()) == {OK}


@pytest.mark.parametrize(
    ("deadline", "timeout", "level", "remedy"),
    [
        ("250", "251s", OK, ""),
        ("250", "250s", ERROR, "final_timeout = 280s"),
        ("700", None, ERROR, "final_timeout = 730s"),
        ("0", "10m", ERROR, "deadline 300"),
        ("0", "0s", ERROR, ""),
    ],
)
def test_who_gives_up_first(deadline: str, timeout: str | None, level: str, remedy: str) -> None:
    site = BySmtp()
    site.socket = Socket("x", "10025", (*ARGV, "--deadline", deadline), SOMEBODY, "", 0, "x")
    site.transport.pop("final_timeout")
    if timeout:
        site.transport["final_timeout"] = timeout
    (result,) = found("exim_time_limit", site.look())
    assert result.level == level
    assert remedy in result.remedy


def test_the_account_is_that_of_the_unit() -> None:
    site = BySmtp()
    site.socket = Socket("x", "10025", ARGV, "root", "", None, "avcheck-smtp.service")
    expect(site.look(), "exim_account", ERROR, "runs as root", "systemctl edit avcheck-smtp.serv")


def test_it_is_asked_for_its_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    site = BySmtp()
    site.socket = Socket("x", port, ARGV, SOMEBODY, "", None, "avcheck-smtp.service")
    site.transport["port"] = port
    expect(site.look(), "smtp_answers", ERROR, "avcheck: nobody offers", "journalctl -u avcheck-s")
    site.socket = Socket("x", port, (*ARGV[:-1], "127.0.0.1:25"), SOMEBODY, "", None, "x")
    (result,) = found("smtp_answers", site.look())
    assert (result.level, result.remedy) == (SKIPPED, "see exim_loop")


def test_mail_that_comes_back_to_the_front_door() -> None:
    site = BySmtp()
    site.socket = Socket("x", "10025", (*ARGV[:-1], "127.0.0.1:25"), SOMEBODY, "", None, "x")
    expect(site.look(), "exim_loop", ERROR, "leads back", "-S 127.0.0.1:10026")


@pytest.mark.parametrize(
    ("driver", "hosts", "port"),
    [
        ("pipe", "127.0.0.1", "10025"),
        ("smtp", "mx.example", "10025"),
        ("smtp", "", "10025"),
        ("smtp", "127.0.0.1", "25"),
    ],
)
def test_what_is_no_transport_to_avcheck(driver: str, hosts: str, port: str) -> None:
    settings = {"driver": driver, "hosts": hosts, "port": port}
    assert smtp_transport_of("x", settings, [UNIT]) is None


def test_it_is_found_among_the_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inetd, "listeners", lambda program: (UNIT,))
    calls = exim_instance.calls_of({"avcheck": BySmtp().transport, "onward": {"driver": "smtp"}})
    assert [(call.name, call.program) for call in calls] == [("avcheck", "/x/avcheck-smtp")]


# The system filter.


@pytest.mark.parametrize(
    ("commands", "level", "said"),
    [
        ("if $h_subject: contains x then save /var/mail/x endif\n", WARNING, "may save mail"),
        ("pipe /bin/cat\n", WARNING, "may pipe mail"),
        ("# save nothing\nheaders add X-Y: z\n", OK, "to the routers"),
        (None, WARNING, "may save mail"),
    ],
)
def test_a_system_filter(tmp_path: Path, commands: str | None, level: str, said: str) -> None:
    site, file = EximSite(), tmp_path / "filter"
    assert levels("exim_system_filter", site.look()) == set()
    if commands is not None:
        file.write_text(commands)
    site.main["system_filter"] = str(file)
    assert levels("exim_system_filter", site.look()) == {OK}  # it could only fail to
    site.main["system_filter_pipe_transport"] = "address_pipe"
    assert levels("exim_system_filter", site.look()) == {level}
    assert said in text("exim_system_filter", site.look())
