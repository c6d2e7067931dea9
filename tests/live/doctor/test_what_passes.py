"""avcheckctl doctor on a real Postfix and clamd with one fault at a time: mail that passes.

Each is found, with a remedy that is then followed to the letter: no virus may arrive after
that.  test_what_waits.py has the faults for which mail waits or bounces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import time

import pytest

from tests.live.doctor.seeded import Seeded, by_tcp
from tests.support.letters import letter


def own_filter(site: Seeded, value: str) -> None:
    site.postconf("-P", f"127.0.0.1:{site.door}/inet/content_filter={value}")


def proxy_past_avcheck(site: Seeded) -> None:
    site.postconf("-P", f"127.0.0.1:{site.door}/inet/smtpd_proxy_filter=127.0.0.1:{site.back}")


def back_to_the_front(site: Seeded) -> None:
    site.change(f"-S 127.0.0.1:{site.back}", f"-S 127.0.0.1:{site.postfix.port}")


def back_by_sendmail(site: Seeded) -> None:
    site.change(f"-S 127.0.0.1:{site.back}", "-S /usr/sbin/sendmail -S -G -S -i")


# Fault: the ways in by which a virus passes then; check, level, words; the remedy.
Fault = tuple[Callable[[Seeded], None], list[str], str, str, str, str]
FAULTS: dict[str, Fault] = {
    "a door with an empty filter": (
        lambda site: own_filter(site, ""), ["door"],
        "front_doors", "error", "goes round avcheck", "-o content_filter=avcheck:dummy",
    ),
    "a door with a filter that is not there": (
        lambda site: own_filter(site, "avchek:dummy"), [],
        "front_doors", "error", "not in master.cf", "-o content_filter=avcheck:dummy",
    ),
    "a proxy, which leaves no room for a filter": (
        proxy_past_avcheck, ["door"],
        "front_doors", "error", "where checked mail comes back", "-o smtpd_proxy_filter=",
    ),
    "mail of this host past the filter": (
        lambda site: site.postconf("-P", "pickup/unix/content_filter="), ["sendmail"],
        "front_doors", "warning", "mail of this host", "pickup unix ... pickup",
    ),
    "an empty filter": (
        lambda site: site.set(content_filter=""), ["front", "door", "sendmail"],
        "filter_used", "error", "no mail goes through", "content_filter = avcheck:dummy",
    ),
    "a filter that is not there": (
        lambda site: site.set(content_filter="avchek:dummy"), [],
        "front_doors", "error", "not in master.cf", "content_filter = avcheck:dummy",
    ),
    "-S to the front door": (
        back_to_the_front, [],
        "reinjection_loop", "error", "goes round", "-S 127.0.0.1:",
    ),
    "-S to nowhere": (
        lambda site: site.change(f"-S 127.0.0.1:{site.back}", "-S 127.0.0.1:1"), [],
        "front_doors", "warning", "-S is no service of this Postfix", "-S 127.0.0.1:",
    ),
    "-S to sendmail, which is filtered": (
        back_by_sendmail, [],
        "reinjection_loop", "error", "goes round", "-S 127.0.0.1:",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_way_round_the_filter_is_found_and_closed(site: Seeded, fault: str) -> None:
    seed, ways, check, level, said, remedy = FAULTS[fault]
    seed(site)
    site.reload()
    found = site.finding(check, level, said)
    assert remedy in found.remedy
    assert site.virus_passes() == ways
    site.clear()
    site.follow(found.remedy)
    assert site.virus_passes() == []
    assert site.clean_arrives()
    assert check not in {each.check for each in site.doctor() if each.level == level}


def test_a_table_that_names_another_filter(site: Seeded) -> None:
    table = site.postfix.config / "recipients"
    table.write_text("bert@example.net FILTER smtp:\n")
    site.set(smtpd_recipient_restrictions=f"check_recipient_access texthash:{table}")
    site.set(default_filter_nexthop=site.system.sink.address)
    site.reload()
    found = site.finding("filter_tables", "error", "goes round avcheck")
    assert site.virus_passes() == ["front", "door"]
    site.clear()
    site.follow(found.remedy)
    assert site.virus_passes() == []
    assert site.clean_arrives()


def test_parameters_that_name_another_filter(site: Seeded) -> None:
    """Each of them for itself; the virus passes, for the last one counts."""
    site.set(
        header_checks="regexp:{{/^Subject:/ FILTER smtp:}}",
        smtpd_end_of_data_restrictions="check_client_access cidr:{{127.0.0.0/8 FILTER smtp:}}",
        smtpd_restriction_classes="nofilter",
        nofilter="check_sender_access static:{FILTER smtp:}",
        smtpd_data_restrictions="check_client_access mysql:/nowhere.cf",
        default_filter_nexthop=site.system.sink.address,
    )
    found = [each for each in site.doctor() if each.check == "filter_tables"]
    errors = [each.text.partition(" ")[0] for each in found if each.level == "error"]
    assert sorted(errors) == ["header_checks", "nofilter", "smtpd_end_of_data_restrictions"]
    assert ["mysql" in each.text for each in found if each.level == "skipped"] == [True]
    site.set(smtpd_data_restrictions="")
    site.reload()
    assert set(site.virus_passes()) >= {"front", "door"}


def test_a_filter_for_everybody_is_as_good(site: Seeded) -> None:
    every = "check_client_access static:{FILTER avcheck:dummy}"
    site.set(content_filter="", smtpd_client_restrictions=every)
    site.postconf("-P", "pickup/unix/content_filter=avcheck:dummy")
    site.reload()
    bad = {each.check for each in site.doctor() if each.level == "error"}
    assert bad == set()
    assert site.virus_passes() == []
    assert site.clean_arrives()


def test_what_goes_round_waits_and_does_not_bounce(site: Seeded) -> None:
    back_to_the_front(site)
    site.reload()
    assert site.finding("reinjection_loop", "error").text.endswith("goes round, and then waits")
    message = letter()
    site.send(message)
    site.settle()
    (queued,) = site.postfix.queue()
    assert "too many hops" in queued.reasons[0]
    assert "status=bounced" not in site.postfix.log.rpartition("client=")[2]


def test_the_set_up_has_nothing_to_find(site: Seeded) -> None:
    found = site.doctor(command=True)
    bad = {each.check: each for each in found if each.level not in ("ok", "skipped")}
    # Few threads, signatures of our own, and a net that is in a private place.
    assert set(bad) <= {"clamd_threads", "scanner_signatures", "clamd_room"}, bad


SMALL = {"MaxFileSize": "1M", "MaxScanSize": "1M"}


@pytest.mark.parametrize(
    ("settings", "check", "said"),
    [
        ({**SMALL, "AlertExceedsMax": "no"}, "scanner_largest", "is clean"),
        ({**SMALL, "AlertExceedsMax": "no"}, "clamd_alerts", "too large"),
        (SMALL, "clamd_limits", "MaxFileSize is 1M"),
        (SMALL, "scanner_largest", "clean or not"),
        ({"StreamMaxLength": "1M"}, "clamd_limits", "StreamMaxLength is 1M"),
        ({"MaxThreads": "2"}, "clamd_threads", "clamd scans 2"),
        ({"MaxFiles": "2"}, "scanner_largest", "Exceeded.MaxFiles"),
        ({"ScanMail": "no"}, "clamd_looks_inside", "ScanMail is off"),
        ({"AlertEncrypted": "no"}, "scanner_encrypted", "password is clean"),
    ],
)
def test_clamd_by_tcp_on_this_host(
    site: Seeded, settings: dict[str, str], check: str, said: str
) -> None:
    with by_tcp(site, **settings):
        found = [each for each in site.doctor() if each.check == check and said in each.text]
        assert found, (check, said)
        assert found[0].level in ("warning", "error")
        site.follow(found[0].remedy)
        again = [each for each in site.doctor() if each.check == check and said in each.text]
        assert [each for each in again if each.level != "ok"] == []
        assert site.only_clean_arrives()


def test_a_clamd_that_was_not_restarted_after_a_correction(site: Seeded) -> None:
    with by_tcp(site, AlertEncrypted="no") as daemon:
        conf = daemon.directory / "clamd.conf"
        daemon.settings["AlertEncrypted"] = "yes"
        conf.write_text(conf.read_text().replace("AlertEncrypted no", "AlertEncrypted yes"))
        os.utime(conf, (time() + 2, time() + 2))  # not in the second in which clamd was started
        found = site.finding("clamd_restarted", "error")
        assert site.finding("scanner_encrypted", "warning")  # what it really does
        site.follow(found.remedy)
        said = {each.check: each.level for each in site.doctor()}
        assert (said["clamd_restarted"], said["scanner_encrypted"]) == ("ok", "ok")
        assert site.only_clean_arrives()


def test_where_clamd_unpacks_is_full(site: Seeded, tmp_path: Path) -> None:
    with by_tcp(site) as daemon:
        scratch = daemon.directory / "scratch"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "x", scratch], check=True
        )
        try:
            (scratch / "full").write_bytes(b"x" * 61440)
            found = site.doctor()
        finally:
            subprocess.run(["umount", scratch], check=True)
    errors = {each.check: each for each in found if each.level == "error"}
    assert str(scratch) in errors["clamd_room"].text
    assert "full" in errors["clamd_room"].text
    assert errors["clamd_room"].remedy == f"df -h {scratch}"
    if "scanner_knows_virus" in errors:
        assert str(scratch) in errors["scanner_knows_virus"].text
