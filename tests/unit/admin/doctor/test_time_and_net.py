"""avcheckctl doctor: who gives up first, and what Postfix would bounce."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from avcheck.admin.checks import limits
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.doctor_site import SENDMAIL, SOMEBODY, Site, found, levels, text
from tests.support.fakes import FakeSmtp

PIPE = "10      pipe\n"


@pytest.mark.parametrize(
    ("words", "main", "own", "remedy"),
    [
        ("--deadline 590", "600s", "", "--deadline 450"),
        ("--deadline 590", "10m", "", "--deadline 450"),
        ("--deadline 450", "600s", "5m", "--deadline 150"),
        ("--deadline 450", "40", "", "avcheck_time_limit = 600s"),
        ("--deadline 450", "600s", "40s", "avcheck unix ... pipe\n    -o avcheck_time_limit=600s"),
        ("--deadline 450", "soon", "", "avcheck_time_limit = 600s"),
        ("-t 500 --deadline 0", "600s", "", "--deadline 450 -t 300"),
        ("--deadline 0", "1h", "", "--deadline 3450"),
    ],
)
def test_time_limits(site: Site, words: str, main: str, own: str, remedy: str) -> None:
    """From main.cf and from master.cf, in every unit; the remedy ends it."""
    site.change("--deadline 450", words)
    site.main["avcheck_time_limit"] = main
    if own:
        site.change(PIPE, f"{PIPE}    -o avcheck_time_limit={own}\n")
    (result,) = found("pipe_time_limit", site.look())
    assert (result.level, result.remedy) == (ERROR, remedy)
    assert "inf" not in result.text
    if remedy.startswith("--deadline"):
        site.change(words, remedy)
        assert levels("pipe_time_limit", site.look()) == {OK}
        assert levels("deadline", site.look()) == {OK}


@pytest.mark.parametrize(
    ("main", "own", "said"),
    [
        ("", "command_time_limit=100s", "after 100s (command_time_limit)"),
        ("$command_time_limit", "command_time_limit=100s", "after 100s (command_time_limit)"),
        ("600s", "command_time_limit=100s", "before it would be killed"),
        ("", "avcheck_time_limit=100s", "after 100s (avcheck_time_limit)"),
        ("$x", "command_time_limit=600s", "after 90s (avcheck_time_limit)"),
    ],
)
def test_a_limit_of_the_service_itself(site: Site, main: str, own: str, said: str) -> None:
    site.main |= {"avcheck_time_limit": main, "x": "90s"}
    if not main:
        del site.main["avcheck_time_limit"]
    site.change("10      pipe\n", f"10      pipe\n    -o {own}\n")
    assert said in text("pipe_time_limit", site.look())


def test_the_room_between_the_two_is_named(site: Site) -> None:
    site.change("--deadline 450", "--deadline 590")
    assert "there have to be 30 s between the two" in text("pipe_time_limit", site.look())
    site.change("--deadline 590", "--deadline 570")
    assert levels("pipe_time_limit", site.look()) == {OK}


def test_a_time_for_the_scanners_that_is_never_reached(site: Site) -> None:
    """The remedy does not send avcheck beyond Postfix's limit."""
    site.change("--deadline 450", "-t 500 --deadline 450")
    (result,) = found("deadline", site.look())
    assert (result.level, result.remedy) == (WARNING, "-t 300")
    assert levels("deadline", site.own("--deadline 0")) == {WARNING}
    assert "inf" not in text("deadline", site.own("--deadline 0"))
    assert limits.seconds("never") == 0.0


@pytest.mark.parametrize("fault", ["missing", "empty", "half", "broken"])
def test_a_net_with_a_hole(site: Site, fault: str) -> None:
    """And the remedy, followed, mends it."""
    assert levels("safety_net", site.look()) == {OK}
    if fault == "missing":
        site.net.unlink()
    else:
        half = site.net.read_text().replace("|time limit exceeded", "")
        site.net.write_text({"empty": "", "half": half, "broken": "/^5(\n"}[fault])
    (result,) = found("safety_net", site.look())
    assert result.level == ERROR
    assert result.remedy == f"avcheckctl setup postfix --file avcheck_dsn >>{site.net}"
    if fault == "broken":
        return  # Postfix leaves such a line out, and says so
    python = shlex.quote(sys.executable)
    ctl = f"{python} -c 'from avcheck.admin import main; main()'"
    subprocess.run(["sh", "-euc", result.remedy.replace("avcheckctl", ctl, 1)], check=True)
    assert levels("safety_net", site.look()) == {OK}


def mended(site: Site) -> set[str]:
    """What doctor says of the net after its remedy was followed."""
    (result,) = found("safety_net", site.look())
    python = shlex.quote(sys.executable)
    ctl = f"{python} -c 'from avcheck.admin import main; main()'"
    subprocess.run(["sh", "-euc", result.remedy.replace("avcheckctl", ctl, 1)], check=True)
    return levels("safety_net", site.look())


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("/^4(\\.[^ ]+ .*)/ 5$1", "'4.3.2 avcheck: held back while"),
        ("/^4\\.4(.*)/ 2.4$1", "'4.4.1 avcheck: clamd"),
        ("/^2(.*)/ 4$1", "'2.0.0 delivered via avcheck"),
    ],
)
def test_a_net_that_catches_too_much(site: Site, rule: str, said: str) -> None:
    site.net.write_text(f"{site.net.read_text()}{rule}\n")
    assert levels("safety_net", site.look()) == {ERROR}
    assert said in text("safety_net", site.look())
    assert mended(site) == {OK}
    assert rule in site.net.with_name(f"{site.net.name}.before").read_text()


def test_a_net_in_main_cf_itself(site: Site) -> None:
    net = "/^5(\\.3\\.0 Command (died with status|time limit exceeded).*)/ 4$$1"
    site.main["pipe_delivery_status_filter"] = f"regexp:{{{{{net}}}}}"
    assert levels("safety_net", site.look()) == {OK}
    site.main["pipe_delivery_status_filter"] = "regexp:{{/^[45](.*)/ 4$$1}}"
    assert levels("safety_net", site.look()) == {OK}
    site.main["pipe_delivery_status_filter"] = "regexp:{{/^9(.*)/ 4$$1}}"
    (result,) = found("safety_net", site.look())
    place = f"{site.config}/avcheck_dsn"
    assert result.remedy == (
        f"avcheckctl setup postfix --file avcheck_dsn >{place} &&"
        f" postconf -c {site.config} -e pipe_delivery_status_filter=regexp:{place}"
    )


def test_what_postmap_warns_of_is_no_answer(site: Site) -> None:
    look = site.look()
    with (site.config / "main.cf").open("a") as main:
        main.write("message_size_limit = 1\nmessage_size_limit = 10240000\n")
    assert levels("safety_net", look) == {OK}
    site.net.write_text("")
    assert "does not catch" in text("safety_net", look)


def test_nets_that_are_not_asked(site: Site) -> None:
    site.main["pipe_delivery_status_filter"] = "hash:/etc/aliases"
    assert levels("safety_net", site.look()) == {SKIPPED}
    site.main["pipe_delivery_status_filter"] = f"regexp:{site.net}"
    if os.geteuid() == 0:
        import pwd

        os.chown(site.net, pwd.getpwnam(SOMEBODY).pw_uid, -1)
        assert levels("safety_net", site.look()) == {ERROR}


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("", ""), "waits"),
        (("--deadline", "--refused bounce --deadline"), "bounces"),
        (SENDMAIL, "bounces"),
    ],
)
def test_what_becomes_of_mail_that_goes_round(site: Site, words: tuple[str, str], end: str) -> None:
    """A server refuses it after too many hops, and avcheck waits then; a program takes it."""
    site.change(*words).change("    -o content_filter=\n", "")
    (result,) = found("reinjection_loop", site.look())
    assert result.level == ERROR
    assert result.text.endswith(f"mail goes round, and then {end}")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("127.0.0.1:10026", "-S 127.0.0.1:10026"),
        ("[::1]:10027", "-S [::1]:10027"),
        ("10027", "-S 127.0.0.1:10027"),
    ],
)
def test_mail_is_told_to_go_back_where_somebody_listens(site: Site, name: str, remedy: str) -> None:
    site.main["inet_interfaces"] = "loopback-only"
    site.change("-S 127.0.0.1:10026", "-S 127.0.0.1:25")
    site.change("127.0.0.1:10026 inet", f"{name} inet")
    (result,) = found("reinjection_loop", site.look())
    assert (result.level, result.remedy) == (ERROR, remedy)
    site.change("    -o content_filter=\n", "")  # that one leads to avcheck, too
    (result,) = found("reinjection_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10026"


def test_aliases_on_the_way_back(site: Site) -> None:
    assert levels("reinjection_mappings", site.look()) == {OK}
    line = re.search(r"    -o receive_override_options=.*\n", site.master)
    assert line
    site.change(line[0], "")
    (result,) = found("reinjection_mappings", site.look())
    assert result.level == ERROR
    assert "-o receive_override_options=" in result.remedy
    assert "no_address_mappings" not in result.remedy
    assert levels("reinjection_mappings", site.own()) == set()
    site.change(*SENDMAIL).main["content_filter"] = ""
    assert levels("reinjection_mappings", site.look()) == {ERROR}


@pytest.mark.parametrize(("size", "level"), [(b"0", OK), (b"10240000", WARNING), (b"", OK)])
def test_the_size_that_the_way_back_names(site: Site, size: bytes, level: str) -> None:
    with FakeSmtp(offers=(b"SIZE " + size, b"8BITMIME")) as smtp:
        look = site.own(f"-S {smtp.where}")
        assert levels("reinjection_answers", look) == {OK} | {level}
        assert b"RSET" in b" ".join(smtp.commands) if hasattr(smtp, "commands") else True


def test_a_sender_after_the_long_option(site: Site) -> None:
    site.change("-f ${sender}", "--from=${sender}")
    assert levels("pipe_arguments", site.look()) == {OK}
    site.change("--from=${sender}", "--from=x${sender}")
    assert levels("pipe_arguments", site.look()) == {ERROR}
