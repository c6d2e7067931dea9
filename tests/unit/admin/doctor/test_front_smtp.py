"""avcheckctl doctor: the ways in where avcheck-smtp scans, alone or beside a pipe."""

from __future__ import annotations

import pytest

from avcheck.admin import spawned
from avcheck.admin.look import ERROR, OK, WARNING, Look
from avcheck.admin.services import of_call
from tests.support.doctor_sessions import Sessions
from tests.support.doctor_site import Site, found, levels, text

PAST = "submission inet n - y - - smtpd\n    -o content_filter=\n    -o smtpd_proxy_filter=\n"


def test_a_door_that_goes_round_a_filter_by_smtp(after: Sessions) -> None:
    assert levels("front_doors", after.look()) == {OK}
    after.site.master += PAST
    assert levels("front_doors", after.look()) == {ERROR}
    (result,) = found("front_doors", after.look())
    assert result.remedy == (
        "submission inet ... smtpd\n    -o content_filter=scan:[127.0.0.1]:10025"
    )
    after.site.master = after.site.master.removesuffix(PAST)
    after.site.main["content_filter"] = ""
    doors = [each for each in found("front_doors", after.look()) if "this host" not in each.text]
    assert [(each.level, each.remedy) for each in doors] == [
        (ERROR, "content_filter = scan:[127.0.0.1]:10025")
    ]


def test_a_door_beside_the_one_with_a_proxy(before: Sessions) -> None:
    """Mail of this host is not scanned before the queue, as the page says, and doctor, too."""
    assert levels("front_doors", before.look()) == {WARNING}
    (result,) = found("front_doors", before.look())
    assert "mail of this host" in result.text
    assert result.remedy == "avcheckctl setup postfix --way pipe"
    before.site.master += PAST
    *_, door = sorted(found("front_doors", before.look()), key=lambda each: each.level == ERROR)
    assert door.level == ERROR
    assert door.remedy == "submission inet ... smtpd\n    -o smtpd_proxy_filter=127.0.0.1:10025"


def test_a_filter_on_another_host_is_not_ours(after: Sessions) -> None:
    after.site.main["content_filter"] = "scan:[192.0.2.1]:10025"
    assert "no mail comes to" in text("smtp_used", after.look())
    assert WARNING in levels("front_doors", after.look())
    after.site.main |= {"content_filter": "scan:[mail.example.com]:10025"}
    after.site.main["myhostname"] = "Mail.example.com"
    assert levels("front_doors", after.look()) == {OK}


def test_a_service_that_is_no_port_is_no_next_hop_of_everybody(after: Sessions) -> None:
    after.site.main["content_filter"] = "scan:unix:private/avscan"
    look = after.look(("127.0.0.1:10025 inet", "avscan unix"))
    assert levels("smtp_used", look) == {OK}
    after.site.main["content_filter"] = "scan:unix:private/other"
    assert levels("smtp_used", after.look()) == {ERROR}


@pytest.fixture
def mixed(site: Site) -> Sessions:
    """Before the queue for port 25, and the pipe for the rest."""
    pipe = site.master[
        site.master.index("avcheck   unix") : site.master.index("127.0.0.1:10026 inet")
    ]
    before = Sessions(site, before=True)
    site.master += pipe
    site.main["content_filter"] = "avcheck:dummy"
    return before


def of_pipe(mixed: Sessions) -> Look:
    mixed.look()
    instance = mixed.site.postfix()
    return Look(of_call(instance.pipes[0]), instance, str(mixed.site.conf))


def test_both_ways_in_one_postfix(mixed: Sessions) -> None:
    pipe = of_pipe(mixed)
    assert pipe.postfix
    assert [each.name for each in spawned.avchecks(pipe.postfix)] == ["avcheck", "127.0.0.1:10025"]
    assert levels("front_doors", pipe) == {OK}
    assert levels("front_doors", mixed.look()) == set()  # said once
    assert levels("filter_used", pipe) == {OK}
    mixed.site.master += PAST
    assert levels("front_doors", of_pipe(mixed)) == {ERROR}
    assert "content_filter=avcheck:dummy" in found("front_doors", of_pipe(mixed))[0].remedy


def test_a_pipe_that_is_left_over(mixed: Sessions) -> None:
    mixed.site.main["content_filter"] = ""
    assert levels("filter_used", of_pipe(mixed)) == {WARNING}


def test_a_way_back_that_is_there_twice_is_no_door(before: Sessions) -> None:
    """With a filter, as a door has it, mail would go round for ever."""
    (back,) = [
        line for line in before.site.master.splitlines() if line.startswith("127.0.0.1:10026 ")
    ]
    before.site.master += f"{back}\n"
    assert "goes round" not in " ".join(
        each.text for each in found("front_doors", before.look()) if each.level == ERROR
    )


def test_the_port_of_the_way_back_at_another_address_is_a_door(before: Sessions) -> None:
    before.site.master += "192.0.2.1:10026 inet n - n - 10 smtpd\n    -o smtpd_proxy_filter=\n"
    assert ERROR in levels("front_doors", before.look())
