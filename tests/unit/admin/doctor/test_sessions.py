"""avcheckctl doctor: the checks of avcheck-smtp, after the queue and before it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from avcheck.admin import sites, spawned, units
from avcheck.admin.look import ERROR, OK, WARNING, Look
from tests.support.doctor_sessions import Sessions
from tests.support.doctor_site import US, Site, found, levels, text
from tests.support.tree import ROOT


@pytest.mark.parametrize(
    "check",
    ["smtp_used", "smtp_loop", "smtp_xforward", "smtp_times", "smtp_processes", "clamd_threads"],
)
def test_what_the_page_says_is_right(either: Sessions, check: str) -> None:
    assert levels(check, either.look()) == {OK}


def test_what_is_not_asked_of_a_session(either: Sessions) -> None:
    look = either.look()
    for check in ("pipe_arguments", "pipe_flags", "reinjection_loop", "filter_used"):
        assert levels(check, look) == set()


def test_what_is_not_asked_of_a_pipe(site: Site) -> None:
    for check in ("smtp_used", "smtp_loop", "smtp_xforward", "smtp_times", "smtp_refuses"):
        assert levels(check, site.look()) == set()
    assert levels("smtp_processes", site.look()) == set()


def test_it_is_found_among_the_services(either: Sessions) -> None:
    either.look()
    (service,) = sites._of_postfix(str(either.site.config)).services
    assert service.name == "127.0.0.1:10025"
    assert service.settings
    assert service.settings.recipients == (b"recipient@example.org",)
    assert service.program == str(either.site.bin / "avcheck-smtp")


def test_one_that_cannot_run(either: Sessions) -> None:
    either.options += "nonesuch\n"
    with pytest.raises(AssertionError, match="no such option: nonesuch"):
        either.look()


def test_what_is_no_session(site: Site) -> None:
    other = "x unix - n n - 10 spawn user=nobody argv=/bin/cat\ny unix - n n - 0 spawn\n"
    site.master += other
    assert spawned.found(site.postfix()) == ()


def test_one_that_nobody_uses(before: Sessions) -> None:
    look = before.look(("smtpd_proxy_filter=127.0.0.1:10025", "smtpd_proxy_filter="))
    assert levels("smtp_used", look) == {ERROR}
    assert "no mail comes to 127.0.0.1:10025" in text("smtp_used", look)


@pytest.mark.parametrize(
    ("proxy", "remedy"),
    [
        ("127.0.0.1:10024", "smtp inet ... smtpd\n    -o smtpd_proxy_filter=127.0.0.1:10025"),
        ("", "avcheckctl setup postfix --way smtp"),
    ],
)
def test_how_mail_comes_there_before_the_queue(before: Sessions, proxy: str, remedy: str) -> None:
    look = before.look(("smtpd_proxy_filter=127.0.0.1:10025", f"smtpd_proxy_filter={proxy}"))
    (result,) = found("smtp_used", look)
    assert (result.level, result.remedy) == (ERROR, remedy)


def test_how_mail_comes_there_after_the_queue(after: Sessions) -> None:
    after.site.main["content_filter"] = ""
    (result,) = found("smtp_used", after.look())
    assert result.remedy == "content_filter = scan:[127.0.0.1]:10025"


def test_one_whose_client_is_missing(after: Sessions) -> None:
    after.site.main["content_filter"] = "scam:[127.0.0.1]:10025"
    look = after.look()
    assert levels("smtp_used", look) == {ERROR}
    assert "names scam, which is not in master.cf" in text("smtp_used", look)


def test_one_before_the_queue_and_after_it(before: Sessions) -> None:
    before.site.main["content_filter"] = "smtp:[127.0.0.1]:10025"
    before.site.master += "smtp unix - - n - - smtp\n"
    """smtpd(8) asks no content_filter about what it hands to a proxy: nothing is scanned twice."""
    assert levels("smtp_used", before.look()) == {OK}
    assert "mail from pickup, smtp goes" in text("smtp_used", before.look())


@pytest.mark.parametrize(
    "hop",
    ["[127.0.0.1]:10025", "127.0.0.1:10025", "[localhost]:10025", "inet:127.0.0.1:10025", "10025"],
)
def test_how_a_next_hop_is_written(hop: str) -> None:
    assert spawned.endpoint(hop)[1] == "10025"


@pytest.mark.parametrize("hop", ["", "dummy", "unix:/run/x", "[mx.example]"])
def test_what_is_no_port(hop: str) -> None:
    assert spawned.endpoint(hop) == ("", "")


# Loops.


def test_a_next_hop_that_is_itself(either: Sessions) -> None:
    look = either.look(("sendmail 127.0.0.1:10026", "sendmail 127.0.0.1:10025"))
    assert levels("smtp_loop", look) == {ERROR}
    assert "avcheck-smtp itself" in text("smtp_loop", look)


def test_a_next_hop_that_filters_again(after: Sessions) -> None:
    look = after.look(("    -o content_filter=\n", ""))
    assert levels("smtp_loop", look) == {ERROR}
    assert "content_filter of 127.0.0.1:10026 leads back" in text("smtp_loop", look)


def test_a_next_hop_that_asks_again(before: Sessions) -> None:
    before.site.main["smtpd_proxy_filter"] = "127.0.0.1:10025"
    look = before.look(("    -o smtpd_proxy_filter=\n", ""))
    assert levels("smtp_loop", look) == {ERROR}
    assert "smtpd_proxy_filter of 127.0.0.1:10026 leads back" in text("smtp_loop", look)


@pytest.mark.parametrize("port", ["10025", "10099"])
def test_a_next_hop_elsewhere(either: Sessions, port: str) -> None:
    look = either.look(("sendmail 127.0.0.1:10026", f"sendmail 192.0.2.1:{port}"))
    assert levels("smtp_loop", look) == {WARNING}


def test_the_remedy_of_a_loop_takes_no_filter_away(after: Sessions) -> None:
    """A service that others reach keeps its filter."""
    own = "    -o content_filter=\n"
    (result,) = found("smtp_loop", after.look((own, "")))
    assert result.remedy == "127.0.0.1:10026 inet ... smtpd\n    -o content_filter="
    (result,) = found("smtp_loop", after.look(("127.0.0.1:10026 inet", "10026 inet")))
    assert result.remedy == "sendmail 127.0.0.1:10026"


def test_a_program_that_leads_back(after: Sessions, tmp_path: Path) -> None:
    look = after.look(("sendmail 127.0.0.1:10026", "sendmail @bin/sendmail\nsendmail -i"))
    assert levels("smtp_loop", look) == {ERROR}  # pickup has the content_filter, too
    look = after.look(("@bin/sendmail", str(tmp_path / "other")))
    assert levels("smtp_loop", look) == set()


# What is told.


def test_a_client_that_tells_nothing(after: Sessions) -> None:
    look = after.look(("    -o smtp_send_xforward_command=yes\n", ""))
    assert levels("smtp_xforward", look) == {WARNING}


def test_a_next_hop_that_wants_to_hear_nothing(either: Sessions) -> None:
    look = either.look(("    -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n", ""))
    assert levels("smtp_xforward", look) == {WARNING}


# Times.


@pytest.mark.parametrize(
    ("old", "new", "level", "said"),
    [
        ("deadline 90", "deadline 110", ERROR, "smtpd_proxy_timeout"),
        ("smtpd_proxy_timeout=100s", "smtpd_proxy_timeout=1m", ERROR, "waits 60 s"),
        ("smtpd_timeout=300s", "smtpd_timeout=80s", WARNING, "in vain"),
        ("deadline 90", "deadline 90\nsession 800", ERROR, "spawn(8) kills it after 1000 s"),
        ("deadline 90", "deadline 90\nsession 0", ERROR, "spawn(8) kills it"),
    ],
)
def test_times_before_the_queue(
    before: Sessions, old: str, new: str, level: str, said: str
) -> None:
    look = before.look((old, new))
    assert levels("smtp_times", look) == {level}
    assert said in text("smtp_times", look)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("deadline 90", "deadline 100", "smtpd_proxy_timeout"),
        ("smtpd_timeout=300s", "smtpd_timeout=90s", "in vain"),
    ],
)
def test_who_gives_up_at_the_same_time(before: Sessions, old: str, new: str, said: str) -> None:
    assert said in text("smtp_times", before.look((old, new)))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        # What is left for a session, in whole tens, or a longer limit.
        ("session 700\ndeadline 250\n", "session 620"),
        ("session 700\ndeadline 890\n", "command_time_limit = 1741s"),
        ("session 0\ndeadline 890\n", "command_time_limit = 3600s"),
        ("session 630\ndeadline 250\n", "session 620"),
    ],
)
def test_what_is_left_for_a_session(after: Sessions, words: str, remedy: str) -> None:
    after.options += words
    after.site.main["command_time_limit"] = "1000s"
    after.site.main["smtp_data_done_timeout"] = "1000s"
    errors = [each for each in found("smtp_times", after.look()) if "spawn(8)" in each.text]
    assert [each.remedy for each in errors] == [remedy]


def test_a_limit_of_the_service_alone(after: Sessions) -> None:
    after.site.main["127.0.0.1:10025_time_limit"] = "500s"
    said = text("smtp_times", after.look())
    assert "after 500 s (127.0.0.1:10025_time_limit)" in said


def test_a_time_that_is_none_is_the_usual_one(after: Sessions) -> None:
    after.options += "deadline 599\n"
    after.site.main["command_time_limit"] = "2000s"
    after.site.main["smtp_data_done_timeout"] = "some time"
    assert "smtp_data_done_timeout" not in text("smtp_times", after.look())


def test_times_after_the_queue(after: Sessions) -> None:
    after.options += "deadline 290\nsession 500\n"
    assert levels("smtp_times", after.look()) == {OK}
    after.site.main["smtp_data_done_timeout"] = "280s"
    assert "smtp_data_done_timeout" in text("smtp_times", after.look())
    after.site.main["command_time_limit"] = "600s"
    assert levels("smtp_times", after.look()) == {ERROR}
    assert "after 600 s" in text("smtp_times", after.look())


# Numbers, and what is taken.


def test_more_at_a_time_than_others_take(either: Sessions) -> None:
    look = either.look(("20      smtpd\n    -o content_filter", "5 smtpd\n    -o content_filter"))
    assert levels("smtp_processes", look) == {ERROR}
    look = either.look(("10      spawn", "13      spawn"))
    assert levels("clamd_threads", look) == {WARNING}
    look = either.look(("13      spawn", "0       spawn"))
    assert levels("smtp_processes", look) == {WARNING}


@pytest.mark.parametrize(
    ("most", "level", "said"),
    [
        ("20", OK, "20 connections are served at a time"),
        ("21", ERROR, "127.0.0.1:10026 takes 20 connections, and 21 come"),
        ("100", ERROR, "takes 20 connections, and 100 come"),
        ("101", WARNING, "101 messages may be checked at a time"),
        ("0", WARNING, "any number of messages may be checked at a time"),
    ],
)
def test_how_many_at_a_time(either: Sessions, most: str, level: str, said: str) -> None:
    look = either.look(("10      spawn", f"{most}      spawn"))
    (result,) = found("smtp_processes", look)
    assert (result.level, result.text.endswith(said)) == (level, True), result.text
    if level == WARNING:
        assert result.remedy == "127.0.0.1:10025 inet n  n  n  -  10  spawn"


def test_what_could_be_refused_before_the_queue(before: Sessions) -> None:
    assert levels("smtp_refuses", before.look()) == {OK}
    look = before.look(("on infected=reject\n", ""), ("on encrypted=reject", "on encrypted=defer"))
    assert levels("smtp_refuses", look) == {WARNING}
    assert "infected mail could be refused" in text("smtp_refuses", look)


def test_after_the_queue_nobody_is_there_to_be_told(after: Sessions) -> None:
    assert levels("smtp_refuses", after.look()) == set()


def test_the_program_of_a_session_is_run(either: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Look, "accounts", lambda self: (3999999998, None))
    monkeypatch.setattr(Look, "acting", lambda self: nullcontext())
    assert levels("program", either.look((either.site.user, US))) == {OK}


# Started by systemd.

UNITS = {"itself": ("avcheck-smtp", ""), "each": ("avcheck-smtp-each", "@")}


@pytest.fixture(params=sorted(UNITS))
def by_systemd(
    request: pytest.FixtureRequest, either: Sessions, monkeypatch: pytest.MonkeyPatch
) -> Sessions:
    """The unit of contrib/ in place of the spawn(8) service."""
    place = either.site.directory / "units"
    place.mkdir()
    stem, at = UNITS[request.param]
    for name in (f"{stem}.socket", f"{stem}{at}.service"):
        unit = (ROOT / "contrib" / "systemd" / name).read_text()
        unit = unit.replace("/opt/avcheck/bin", str(either.site.bin))
        unit = unit.replace("/etc/avcheck/smtp.conf", str(either.file))
        (place / name).write_text(unit.replace("avclient", either.site.user))
    monkeypatch.setattr(units, "PLACES", (str(place),))
    lines = either.site.master.splitlines(keepends=True)
    (at_line,) = [number for number, line in enumerate(lines) if line.rstrip().endswith("spawn")]
    either.site.master = "".join([*lines[:at_line], *lines[at_line + 3 :]])
    return either


@pytest.mark.parametrize(
    "check",
    ["smtp_used", "smtp_loop", "smtp_xforward", "smtp_times", "smtp_processes", "clamd_threads"],
)
def test_a_unit_is_right_as_well(by_systemd: Sessions, check: str) -> None:
    look = by_systemd.look()
    assert look.service.name.endswith(".socket")
    assert levels(check, look) == {OK}


def test_a_unit_lets_in_more_than_clamd_scans(by_systemd: Sessions) -> None:
    by_systemd.site.conf.write_text("MaxThreads 9\n")
    assert levels("clamd_threads", by_systemd.look()) == {WARNING}


def test_a_unit_that_lets_in_too_many(by_systemd: Sessions) -> None:
    for file in (by_systemd.site.directory / "units").iterdir():
        unit = file.read_text().replace("--processes 10", "--processes 500")
        file.write_text(unit.replace("MaxConnections=10", "MaxConnections=500"))
    (result,) = found("smtp_processes", by_systemd.look())
    each = by_systemd.look().service.name == "avcheck-smtp-each.socket"
    remedy = "MaxConnections=10" if each else "processes 10"
    assert (result.level, result.remedy) == (WARNING, remedy)


def test_a_unit_that_leads_back_to_itself(by_systemd: Sessions) -> None:
    look = by_systemd.look(("sendmail 127.0.0.1:10026", "sendmail 127.0.0.1:10025"))
    assert levels("smtp_loop", look) == {ERROR}


def test_a_session_of_a_unit_has_no_end(by_systemd: Sessions) -> None:
    by_systemd.options += "session 0\n"
    assert levels("smtp_times", by_systemd.look()) == {OK}


def test_a_unit_that_no_mail_goes_to_is_not_looked_at(by_systemd: Sessions) -> None:
    by_systemd.site.main.pop("content_filter", None)
    by_systemd.site.master = by_systemd.site.master.replace(
        "smtpd_proxy_filter=127.0.0.1:10025", "smtpd_proxy_filter="
    )
    assert spawned.found(by_systemd.site.postfix()) == ()
