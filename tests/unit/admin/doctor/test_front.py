"""avcheckctl doctor: the ways in and the way back, and that no remedy opens one."""

from __future__ import annotations

import pytest

from avcheck.admin.look import ERROR, OK, WARNING
from tests.support.doctor_site import SENDMAIL, Site, found, levels, text

SMTP = "-       smtpd\n"
EMPTY = "    -o content_filter=\n"
OTHER = "dspam unix - n n - 10 pipe\n    user=nobody argv=/bin/cat\n"


@pytest.mark.parametrize(
    "door",
    [
        "submission inet n - y - - smtpd",
        "smtps inet n - y - - smtpd",
        "192.0.2.1:2525 inet n - y - - smtpd",
        "127.0.0.1:2526 inet n - y - - smtpd",
        "smtpd pass - - y - - smtpd",
        "628 inet n - y - - qmqpd",
    ],
)
def test_a_door_that_goes_round_the_filter(site: Site, door: str) -> None:
    site.master += f"{door}\n"
    assert levels("front_doors", site.look()) == {OK}
    site.master += EMPTY
    assert levels("front_doors", site.look()) == {ERROR}
    (result,) = found("front_doors", site.look())
    assert result.remedy.endswith("\n    -o content_filter=avcheck:dummy")
    assert result.remedy.startswith(" ".join(door.split()[:2]))
    assert levels("filter_used", site.look()) == {OK}  # one door that filters is not enough


def test_postscreen_passes_mail_to_a_door(site: Site) -> None:
    site.change("-       smtpd\n", "1       postscreen\nsmtpd pass - - y - - smtpd\n")
    assert levels("front_doors", site.look()) == {OK}
    site.change("pass - - y - - smtpd\n", f"pass - - y - - smtpd\n{EMPTY}")
    assert levels("front_doors", site.look()) == {ERROR}


@pytest.mark.parametrize("value", ["", "avchek:dummy"])
def test_a_content_filter_that_is_empty_or_not_there(site: Site, value: str) -> None:
    site.main["content_filter"] = value
    assert levels("filter_used", site.look()) == {ERROR}
    results = [*found("front_doors", site.look()), *found("filter_used", site.look())]
    assert ERROR in {each.level for each in results}
    doors = [each for each in results if "this host" not in each.text]
    assert {each.remedy for each in doors if "pickup" not in each.text} == {
        "content_filter = avcheck:dummy"
    }


def test_a_remedy_for_all_doors_does_not_send_the_way_back_round(site: Site) -> None:
    """The way back without a filter of its own goes on without one, so each door gets a line."""
    site.main["content_filter"] = ""
    site.change("    -o content_filter=\n", "")
    (result,) = found("filter_used", site.look())
    assert result.remedy == "smtp inet ... smtpd\n    -o content_filter=avcheck:dummy"


def test_other_filters_are_not_errors(site: Site) -> None:
    site.master += OTHER
    site.change(SMTP, f"{SMTP}    -o content_filter=dspam:\n")
    assert levels("front_doors", site.look()) == {WARNING}
    assert "goes to dspam, and not to avcheck" in text("front_doors", site.look())
    site.master += f"127.0.0.1:10025 inet n - n - - smtpd\n{EMPTY}"
    results = found("front_doors", site.look())
    assert {each.level for each in results} == {WARNING}
    site.change("content_filter=dspam:", "smtpd_proxy_filter=127.0.0.1:10024")
    site.main["content_filter"] = ""
    proxied = [each for each in found("front_doors", site.look()) if "proxy" in each.text]
    assert {(each.level, each.remedy) for each in proxied} == {
        (WARNING, "avcheckctl setup postfix")
    }


def test_transports_in_place_of_a_filter(site: Site) -> None:
    site.main |= {"content_filter": "", "default_transport": "avcheck:dummy"}
    assert levels("front_doors", site.look()) == {ERROR}
    (result,) = found("front_doors", site.look())
    assert "mail for mydestination goes to local:" in result.text
    assert result.remedy == "local_transport = avcheck:dummy"
    site.main["mydestination"] = ""
    site.main["virtual_mailbox_domains"] = "example.net"
    assert "(virtual_transport), round avcheck" in text("front_doors", site.look())
    site.main["virtual_transport"] = "avcheck:dummy"
    assert levels("front_doors", site.look()) == {OK}
    assert levels("filter_used", site.look()) == {WARNING}


def test_a_transport_is_for_what_comes_back_as_well(site: Site) -> None:
    """So there have to be two instances."""
    site.main["default_transport"] = "avcheck:dummy"
    (result,) = found("reinjection_loop", site.look())
    assert "default_transport sends what comes back" in result.text
    assert result.level == ERROR
    assert result.remedy == "content_filter = avcheck:dummy\ndefault_transport = smtp"
    site.change("-S 127.0.0.1:10026", "-S 127.0.0.1:10027")
    assert levels("reinjection_loop", site.look()) == {WARNING}  # of the other instance


@pytest.mark.parametrize(("where", "level"), [("avcheck:dummy", OK), ("smtp:", ERROR)])
def test_a_transport_map_for_everybody_else(site: Site, where: str, level: str) -> None:
    table = site.directory / "transport"
    table.write_text(f"* {where}\n")
    site.main |= {"content_filter": "", "default_transport": "avcheck:dummy"}
    site.main["transport_maps"] = f"texthash:/nowhere, texthash:{table}"
    assert levels("front_doors", site.look()) == {level}
    if level == OK:
        (result,) = found("reinjection_loop", site.look())
        assert result.remedy.startswith(
            "content_filter = avcheck:dummy\n# and take the line with *"
        )


def test_a_proxy_in_the_place_of_a_filter(site: Site) -> None:
    """What is handed to a proxy has no content_filter, whatever main.cf says."""
    site.master += "submission inet n - y - - smtpd\n    -o smtpd_proxy_filter=10024\n"
    assert levels("front_doors", site.look()) == {WARNING}
    site.change("filter=10024", "filter=inet:localhost:10026")
    assert levels("front_doors", site.look()) == {ERROR}
    (result,) = found("front_doors", site.look())
    assert "where checked mail comes back" in result.text
    assert result.remedy == (
        "submission inet ... smtpd\n    -o content_filter=avcheck:dummy\n    -o smtpd_proxy_filter="
    )


def test_a_proxy_whose_mail_comes_back_to_a_filter(site: Site) -> None:
    site.master += "submission inet n - y - - smtpd\n    -o smtpd_proxy_filter=127.0.0.1:10024\n"
    site.master += "127.0.0.1:10023 inet n - n - - smtpd\n"
    assert levels("front_doors", site.look()) == {OK}
    site.master += EMPTY
    assert levels("front_doors", site.look()) == {WARNING}
    site.main["content_filter"] = ""
    (result,) = found("filter_used", site.look())
    assert "submission" not in result.remedy  # a proxy is left alone


def test_a_way_back_that_s_does_not_name(site: Site) -> None:
    """It is not told to filter: it is -S that is wrong."""
    site.change("-S 127.0.0.1:10026", "-S 127.0.0.1:10027")
    assert levels("front_doors", site.look()) == {WARNING}
    (result,) = found("front_doors", site.look())
    assert result.remedy == "-S 127.0.0.1:10026"
    assert "-S is no service of this Postfix" in result.text
    site.change("127.0.0.1:10026 inet", "10026 inet")
    assert levels("front_doors", site.look()) == {ERROR}  # others reach it


def test_mail_of_this_host(site: Site) -> None:
    site.change("1       pickup\n", f"1       pickup\n{EMPTY}")
    assert levels("front_doors", site.look()) == {WARNING}
    assert "mail of this host" in text("front_doors", site.look())
    site.change("    -o content_filter=\ncleanup", "    -o content_filter=x:\ncleanup")
    assert levels("front_doors", site.look()) == {ERROR}
    site.change(*SENDMAIL)
    assert levels("front_doors", site.look()) == {ERROR}  # the listener is a door now


def test_a_second_avcheck_is_used_by_some(site: Site) -> None:
    again = site.master[site.master.index("avcheck   unix") : site.master.index("127.0.0.1:10026")]
    site.master += again.replace("avcheck   unix", "avcheck-own unix")
    site.main["avcheck-own_time_limit"] = "600s"
    instance = site.look().postfix
    assert instance is not None
    assert len(instance.pipes) == 2
    site.main["content_filter"] = "avcheck-own:dummy"
    assert levels("front_doors", site.look()) == {OK}
    assert levels("filter_used", site.look()) == {WARNING}


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ([("-S 127.0.0.1:10026", "-S 127.0.0.1:25")], "-S 127.0.0.1:10026"),
        ([("-S 127.0.0.1:10026", "")], "-S 127.0.0.1:10026"),
        ([SENDMAIL], "-S 127.0.0.1:10026"),
        (
            [("    -o content_filter=\n", "")],
            "127.0.0.1:10026 inet ... smtpd\n    -o content_filter=",
        ),
        ([("    -o content_filter=\n", ""), ("127.0.0.1:10026 inet", "10026 inet")], "-S "),
    ],
)
def test_no_remedy_of_a_loop_takes_the_filter_away(
    site: Site, changes: list[tuple[str, str]], remedy: str
) -> None:
    for old, new in changes:
        site.change(old, new)
    (result,) = found("reinjection_loop", site.look())
    assert result.level == ERROR
    assert result.remedy.startswith(remedy)
    assert ("content_filter" in result.remedy) == ("content_filter" in remedy)
