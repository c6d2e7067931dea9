"""avcheckctl doctor: FILTER in the tables of Postfix, and how long mail waits in its queue."""

from __future__ import annotations

import builtins
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
        ("FILTER relay:[127.0.0.1]:10024", WARNING, "see that such mail comes there"),
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


def test_each_place_where_a_table_may_be_named(others: Site) -> None:
    where = table(others, "FILTER relay:", "hash")
    others.change("-       smtpd\n", f"-       smtpd\n    -o smtpd_sender_restrictions={where}\n")
    expect(others.look(), "filter_tables", ERROR, "FILTER relay:", f"&& postmap {where}")
    others.change(f"smtpd_sender_restrictions={where}", "smtpd_sender_restrictions=x")
    assert levels("filter_tables", others.look()) == {OK}
    others.main["smtpd_client_restrictions"] = "check_client_access static:{FILTER relay:}"
    assert "smtpd_client_restrictions has FILTER relay:" in text("filter_tables", others.look())
    others.main["smtpd_client_restrictions"] = "check_client_access hash:/nowhere/at/all"
    assert levels("filter_tables", others.look()) == {OK}
    others.main["smtp_header_checks"] = where  # of smtp(8), which knows no FILTER
    assert levels("filter_tables", others.look()) == {OK}


def test_a_table_that_we_may_not_read(others: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    where = table(others, "FILTER relay:")
    others.main["header_checks"] = where
    look, real = others.look(), builtins.open

    def refuse(path: Any, *words: Any, **named: Any) -> Any:
        if str(path).endswith("/table"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *words, **named)

    monkeypatch.setattr(builtins, "open", refuse)
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


def test_what_is_switched_off_around_a_session(site: Site) -> None:
    after = Sessions(site, before=False)
    for value in ("scan/unix", "127.0.0.1:10025/inet", "127.0.0.1:10026/inet"):
        site.main["master_service_disable"] = value
        assert levels("queue_runs", after.look()) == {ERROR}, value
    site.main["master_service_disable"] = ""
    site.main["defer_transports"] = "scan"
    assert levels("queue_runs", after.look()) == {ERROR}
