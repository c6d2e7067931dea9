"""avcheckctl doctor: FILTER in the tables of Postfix, and how long mail waits in its queue."""

from __future__ import annotations

import os
from typing import Any

import pytest

from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.doctor_sessions import Sessions
from tests.support.doctor_site import Site, expect, found, levels, text

OTHERS = "relay unix - - y - - smtp\ndspam unix - n n - 10 pipe\n    user=nobody argv=/bin/cat\n"


def table(site: Site, action: str, kind: str = "texthash") -> str:
    """A table with that action, as a parameter names it."""
    file = site.directory / "table"
    file.write_text(f"# board@example.net FILTER smtp:\nboard@example.net {action}\n")
    return f"{kind}:{file}"


@pytest.fixture
def others(site: Site) -> Site:
    site.master += OTHERS
    return site


@pytest.mark.parametrize(
    ("action", "level", "said"),
    [
        ("FILTER avcheck:dummy", OK, ""),
        ("DUNNO", OK, ""),
        ("REJECT this is no FILTER", OK, ""),
        ("FILTER relay:[mx.example]", ERROR, "goes round avcheck, unscanned"),
        ("filter relay:", ERROR, "goes round avcheck, unscanned"),
        ("FILTER relay:[127.0.0.1]:10024", ERROR, "goes round avcheck, unscanned"),
        ("FILTER dspam:dummy", WARNING, "see that such mail comes there"),
        ("FILTER avchek:dummy", ERROR, "avchek is not in master.cf"),
    ],
)
@pytest.mark.parametrize(
    "parameter", ["smtpd_recipient_restrictions", "header_checks", "smtpd_data_restrictions"]
)
def test_a_filter_in_a_table(
    others: Site, parameter: str, action: str, level: str, said: str
) -> None:
    others.main[parameter] = f"check_recipient_access {table(others, action)}, reject"
    if action == "REJECT this is no FILTER":
        others.main[parameter] = "permit_mynetworks, reject"
    assert levels("filter_tables", others.look()) == {level}
    assert said in text("filter_tables", others.look())


def test_a_filter_that_may_bring_mail_back(others: Site) -> None:
    """By a door of this host, which goes through avcheck, or is looked at itself."""
    where = table(others, "FILTER relay:[127.0.0.1]:10024")
    others.main["header_checks"] = where
    others.master += "127.0.0.1:10025 inet n - n - - smtpd\n"
    assert levels("filter_tables", others.look()) == {WARNING}


def test_each_place_where_a_table_may_be_named(others: Site) -> None:
    where = table(others, "FILTER relay:", "hash")
    others.change("-       smtpd\n", f"-       smtpd\n    -o smtpd_sender_restrictions={where}\n")
    expect(others.look(), "filter_tables", ERROR, "FILTER relay:", f"&& postmap {where}")
    others.change(f"smtpd_sender_restrictions={where}", "smtpd_sender_restrictions=x")
    assert levels("filter_tables", others.look()) == {OK}
    others.main["smtpd_client_restrictions"] = "check_client_access static:{FILTER relay:}"
    assert "smtpd_client_restrictions has FILTER relay:" in text("filter_tables", others.look())
    for closed in ("hash:/nowhere/at/all", "mysql:/etc/x.cf", "proxy:ldap:/etc/y.cf"):
        others.main["smtpd_client_restrictions"] = f"check_client_access {closed}, reject"
        assert levels("filter_tables", others.look()) == {SKIPPED}
    others.main["smtpd_client_restrictions"] = ""
    others.main["smtp_header_checks"] = where  # of smtp(8), which knows no FILTER
    assert levels("filter_tables", others.look()) == {OK}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("header_checks", "regexp:{{/^Subject:/ FILTER relay:[mx.example]:25}}"),
        ("smtpd_sender_restrictions", "check_x inline:{{x=FILTER relay:[mx.example]:25}}"),
        ("body_checks", "pcre:{{/x/ FILTER relay:[mx.example]:25}}"),
        ("smtpd_end_of_data_restrictions", "check_x cidr:{{::/0 filter relay:[mx.example]:25}}"),
        ("nofilter", "check_sender_access static:{FILTER relay:[mx.example]:25}"),
    ],
)
def test_a_filter_in_the_parameter_itself(others: Site, parameter: str, value: str) -> None:
    others.main["smtpd_restriction_classes"] = "other, nofilter"
    others.main[parameter] = value
    (result,) = found("filter_tables", others.look())
    assert (result.level, parameter in result.text) == (ERROR, True)
    assert result.remedy == f"in {parameter}: FILTER avcheck:dummy"


def test_a_filter_for_everybody_is_one(site: Site) -> None:
    """Whoever comes first, or in its own list."""
    every = "check_client_access static:{FILTER avcheck:dummy}, permit_mynetworks"
    site.main["content_filter"] = ""
    site.main["smtpd_client_restrictions"] = every
    pickup = [each for each in found("front_doors", site.look()) if "this host" not in each.text]
    assert pickup == []
    assert levels("filter_used", site.look()) == {OK}
    site.main["smtpd_client_restrictions"] = f"permit_mynetworks, {every}"
    assert ERROR in levels("front_doors", site.look())
    site.main["smtpd_client_restrictions"] = every
    site.main["smtpd_data_restrictions"] = every.replace("avcheck:dummy", "nosuch:")
    assert "content_filter of smtp names nosuch" in text("front_doors", site.look())


def test_a_table_that_we_may_not_read(others: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    where = table(others, "FILTER relay:")
    others.main["header_checks"] = where
    look, real = others.look(), os.open

    def refuse(path: Any, *words: Any, **named: Any) -> int:
        if str(path).endswith("/table"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *words, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert levels("filter_tables", look) == {SKIPPED}


def test_a_filter_by_smtp(site: Site) -> None:
    after = Sessions(site, before=False)
    site.main["header_checks"] = table(site, "FILTER scan:[127.0.0.1]:10025")
    assert levels("filter_tables", after.look()) == {OK}
    site.main["header_checks"] = table(site, "FILTER scan:[127.0.0.1]:10026")
    assert levels("filter_tables", after.look()) == {ERROR}


# The queue.


@pytest.mark.parametrize(
    ("name", "value", "level", "said"),
    [
        ("maximal_queue_lifetime", "5d", OK, "a day or longer"),
        ("maximal_queue_lifetime", "1", OK, "a day or longer"),
        ("maximal_queue_lifetime", "4h", WARNING, "waits for the scanner bounces after 4 h"),
        ("maximal_queue_lifetime", "0", ERROR, "waits for the scanner bounces at once"),
        ("bounce_queue_lifetime", "4h", WARNING, "is lost after 4 h"),
    ],
)
def test_how_long_mail_waits(site: Site, name: str, value: str, level: str, said: str) -> None:
    site.main[name] = value
    assert levels("queue_lifetime", site.look()) == {level}
    assert said in text("queue_lifetime", site.look())
    if level != OK:
        assert found("queue_lifetime", site.look())[0].remedy == f"{name} = 5d"


def test_a_time_of_the_queue_manager_itself(site: Site) -> None:
    site.master += "qmgr unix n - n 300 1 qmgr\n    -o maximal_queue_lifetime=0\n"
    (result,) = found("queue_lifetime", site.look())
    assert result.level == ERROR
    assert result.remedy == "qmgr unix ... qmgr\n    -o maximal_queue_lifetime=5d"


def test_mail_does_not_wait_before_the_queue(site: Site) -> None:
    site.main["maximal_queue_lifetime"] = "1h"
    assert levels("queue_lifetime", Sessions(site, before=True).look()) == set()


@pytest.mark.parametrize(
    ("name", "value", "level", "remedy"),
    [
        ("defer_transports", "smtp, local", OK, ""),
        ("defer_transports", "avcheck smtp", ERROR, "defer_transports = smtp"),
        ("defer_transports", "avcheck", ERROR, "defer_transports ="),
        ("master_service_disable", "qmqp/inet", OK, ""),
        ("master_service_disable", "avcheck/unix", ERROR, "master_service_disable ="),
        ("master_service_disable", "x/inet, inet", ERROR, "master_service_disable = x/inet"),
        ("master_service_disable", "!127.0.0.1:10026/inet, inet", OK, ""),
        ("master_service_disable", "127.0.0.1:10026.inet", ERROR, "master_service_disable ="),
    ],
)
def test_what_is_switched_off(site: Site, name: str, value: str, level: str, remedy: str) -> None:
    site.main[name] = value
    assert levels("queue_runs", site.look()) == {level}
    assert found("queue_runs", site.look())[0].remedy == remedy


@pytest.mark.parametrize(
    ("parameter", "level", "said"),
    [
        ("avcheck_transport_rate_delay", WARNING, "one message in 30 s is checked"),
        ("avcheck_destination_rate_delay", WARNING, "one message in 30 s is checked"),
        ("smtp_destination_rate_delay", OK, ""),
    ],
)
def test_what_is_slowed_down(site: Site, parameter: str, level: str, said: str) -> None:
    site.main[parameter] = "30s"
    assert levels("queue_runs", site.look()) == {level}
    assert said in text("queue_runs", site.look())


@pytest.mark.parametrize(
    ("exceptions", "limit", "level"),
    [
        ("", "1", WARNING),
        ("192.0.2.0/24", "1", WARNING),
        ("192.0.2.0/24, 127.0.0.0/8", "1", OK),
        ("", "0", OK),
    ],
)
def test_limits_for_a_client(site: Site, exceptions: str, limit: str, level: str) -> None:
    site.main["smtpd_client_event_limit_exceptions"] = exceptions
    site.main["smtpd_client_message_rate_limit"] = limit
    assert levels("queue_runs", site.look()) == {level}
    if level == WARNING:
        assert "smtpd_client_message_rate_limit holds" in text("queue_runs", site.look())


@pytest.mark.parametrize(
    ("words", "soft", "level"),
    [
        ("--on infected=reject", "yes", {WARNING}),
        ("--refused bounce", "yes", {WARNING}),
        ("--on infected=reject", "no", {OK}),
        ("--deadline 450", "yes", set()),
    ],
)
def test_what_is_refused_waits(site: Site, words: str, soft: str, level: set[str]) -> None:
    site.main["soft_bounce"] = soft
    site.change("--deadline 450", f"{words} --deadline 450")
    assert levels("soft_bounce", site.look()) == level


def test_what_is_switched_off_around_a_session(site: Site) -> None:
    after = Sessions(site, before=False)
    for value in ("scan/unix", "127.0.0.1:10025/inet", "127.0.0.1:10026/inet"):
        site.main["master_service_disable"] = value
        assert levels("queue_runs", after.look()) == {ERROR}, value
    site.main["master_service_disable"] = ""
    site.main["defer_transports"] = "scan"
    assert levels("queue_runs", after.look()) == {ERROR}
