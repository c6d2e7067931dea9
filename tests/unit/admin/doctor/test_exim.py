"""avcheckctl doctor: checks of an Exim, from what it says of itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avcheck.admin import exim, peer
from avcheck.admin.exim_doors import Door, doors_of, seconds, size_of
from avcheck.admin.exim_instance import LOCAL, Hop
from avcheck.admin.exim_options import blocks, listed, options, transport_of, words_of
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.doctor_site import expect, found, levels, text
from tests.support.exim_site import BACK, EximSite

AVCHECK = (Hop("avcheck", "avcheck"),)
ONWARD = (Hop("onward", "onward"),)

CHECKS = (
    "exim_router",
    "exim_routes",
    "exim_loop",
    "exim_private",
    "exim_takes",
    "exim_command",
    "exim_delivers",
    "exim_reserve",
    "exim_account",
    "exim_message",
    "exim_keeps",
    "exim_time_limit",
    "exim_retry",
    "exim_bounce",
    "pipe_arguments",
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_documented_lines_are_right(check: str) -> None:
    assert levels(check, EximSite().look()) == {OK}


def change(site: EximSite, part: str, **values: Any) -> None:
    getattr(site, part).update(values)


# What is changed; the check, how bad it is, words of it, and words of its remedy.
Fault = tuple[Callable[[EximSite], object], str, str, str, str]
FAULTS: dict[str, Fault] = {
    "early": (
        lambda site: site.before.update(early={"driver": "accept", "transport": "local"}),
        "exim_router", ERROR, "early comes before avcheck", "begin routers, the first",
    ),
    "none": (
        lambda site: change(site, "router", transport="onward"),
        "exim_router", ERROR, "no router has", "transport = avcheck",
    ),
    "narrow": (
        lambda site: change(site, "router", senders="*@example.org"),
        "exim_router", ERROR, "senders = *@example.org", "driver = accept",
    ),
    "verify": (
        lambda site: change(site, "router", verify_recipient="yes"),
        "exim_router", WARNING, "every address exists", "no_verify",
    ),
    "front": (
        lambda site: change(site, "hops", **{"25": ONWARD}),
        "exim_routes", ERROR, "port 25 goes to router onward", "{10026}}",
    ),
    "nowhere": (
        lambda site: change(site, "hops", **{"25": ()}),
        "exim_routes", ERROR, "port 25 goes nowhere", "{10026}}",
    ),
    "local": (
        lambda site: change(site, "hops", **{LOCAL: ONWARD}),
        "exim_routes", WARNING, "mail of this host", "{10026}}",
    ),
    "loop": (
        lambda site: change(site, "hops", **{BACK: AVCHECK}),
        "exim_loop", ERROR, "leads back to avcheck", "{10026}}",
    ),
    "to the front": (
        lambda site: site.command("127.0.0.1:10026", "127.0.0.1:25"),
        "exim_loop", ERROR, "leads back to avcheck", "-S 127.0.0.1:10026",
    ),
    "by a program": (
        lambda site: site.command("-S 127.0.0.1:10026", "-S /usr/sbin/exim4 -S -i"),
        "exim_loop", ERROR, "the program of -S leads back", "-S 127.0.0.1:10026",
    ),
    "elsewhere": (
        lambda site: site.command("127.0.0.1:10026", "192.0.2.1:10026"),
        "exim_loop", WARNING, "no port of this Exim", "-S 127.0.0.1:10026",
    ),
    "open": (
        lambda site: change(site, "main", local_interfaces="<; 0.0.0.0 ; 0.0.0.0.10026"),
        "exim_private", ERROR, "from elsewhere", "<; 0.0.0.0.25 ; 127.0.0.1.10026",
    ),
    "not there": (
        lambda site: change(site, "main", local_interfaces="<; ::0 ; 0.0.0.0"),
        "exim_private", WARNING, "nothing in local_interfaces", "[::0]:25 ; 0.0.0.0.25 ; 127.0",
    ),
    "no reserve": (
        lambda site: change(site, "main", smtp_reserve_hosts=""),
        "exim_reserve", WARNING, "strangers", "smtp_accept_max = 60",
    ),
    "no user": (
        lambda site: change(site, "transport", user=""),
        "exim_account", ERROR, "no user", "user = avclient\n  group = avgroup",
    ),
    "root": (
        lambda site: change(site, "transport", user="root"),
        "exim_account", ERROR, "could change all mail", "user = avclient",
    ),
    "Exim's": (
        lambda site: change(site, "transport", user="Debian-exim"),
        "exim_account", ERROR, "could change all mail", "user = avclient",
    ),
    "shared": (
        lambda site: change(site, "transport", user="nobody"),
        "exim_account", WARNING, "others use", "user = avclient",
    ),
    "short": (
        lambda site: change(site, "transport", timeout="1m"),
        "exim_time_limit", WARNING, "too short", "timeout = 600s",
    ),
    "late": (
        lambda site: change(site, "transport", timeout="5m", timeout_defer="no"),
        "exim_time_limit", ERROR, "and bounces the message", "--deadline 150",
    ),
    "never": (
        lambda site: site.command("--deadline 450", "--deadline 0"),
        "exim_time_limit", WARNING, "never gives up", "--deadline 450",
    ),
    "no retry": (
        lambda site: change(site, "retries", postmaster="No retry information found\n"),
        "exim_retry", ERROR, "bounces", "F,4d,6h",
    ),
    "short retry": (
        lambda site: change(site, "retries", postmaster="Retry rule: *  *  F,2h,15m; \n"),
        "exim_retry", WARNING, "waits for 2 h", "F,4d,6h",
    ),
    "a virus in a bounce": (
        lambda site: site.command("--deadline", "--on infected=reject --deadline"),
        "exim_bounce", WARNING, "frozen", "bounce_return_body = false",
    ),
    "no --": (
        lambda site: site.command(" -- $pipe", " $pipe"),
        "pipe_arguments", ERROR, "taken for an option", "-- $pipe_addresses",
    ),
    "unquoted": (
        lambda site: site.command('"\\$@"', "\\$@"),
        "pipe_arguments", ERROR, "unquoted $pipe_addresses", '"\\$@"',
    ),
    "tainted": (
        lambda site: site.command('"\\$SENDER"', "$sender_address"),
        "pipe_arguments", ERROR, "$SENDER is missing", '-f "\\$SENDER"',
    ),
    "any size": (
        lambda site: change(site, "sizes", **{"25": 0}),
        "message_size", WARNING, "Exim takes messages of any size",
        "message_size_limit = ${if eq{$received_port}{10026}{0}{50M}}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_a_time(fault: str) -> None:
    seed, check, level, said, remedy = FAULTS[fault]
    site = EximSite()
    seed(site)
    expect(site.look(), check, level, said, remedy)


CHANGES = {
    "message_prefix": "From x",
    "message_suffix": "x",
    "check_string": "From ",
    "escape_string": ">From ",
    "headers_add": "X: y",
    "headers_remove": "X",
    "headers_rewrite": "x",
    "transport_filter": "/bin/cat",
    "body_only": "yes",
    "headers_only": "yes",
    "return_path_add": "yes",
    "delivery_date_add": "yes",
    "envelope_to_add": "yes",
    "use_bsmtp": "yes",
    "use_crlf": "yes",
    "return_path": "x@y",
    "dkim_private_key": "/k",
}


@pytest.mark.parametrize("option", CHANGES)
def test_what_changes_the_message(option: str) -> None:
    site = EximSite()
    site.transport[option] = CHANGES[option]
    (result,) = found("exim_message", site.look())
    assert result.level == ERROR
    assert option in result.text
    assert result.remedy.endswith(f"no_{option}" if CHANGES[option] == "yes" else f"{option} =")
    assert levels("exim_message", site.look()) == {ERROR}


KEEPS = {
    "ignore_status": ("yes", ERROR),
    "return_output": ("yes", ERROR),
    "timeout_defer": ("no", ERROR),
    "freeze_signal": ("no", ERROR),
    "use_shell": ("yes", ERROR),
    "restrict_to_path": ("yes", ERROR),
    "allow_commands": ("true", ERROR),
    "freeze_exec_fail": ("yes", WARNING),
    "shadow_transport": ("keep", WARNING),
    "temp_errors": ("75:73", ERROR),
}


@pytest.mark.parametrize("option", KEEPS)
def test_what_loses_mail_or_has_it_bounce(option: str) -> None:
    value, level = KEEPS[option]
    site = EximSite()
    site.transport[option] = value
    (result,) = found("exim_keeps", site.look())
    assert result.level == level
    assert option in result.text
    assert levels("exim_keeps", site.look()) == {level}


@pytest.mark.parametrize("words", ["--on infected=reject", "--refused bounce"])
def test_what_is_to_bounce_does_and_nothing_else(words: str) -> None:
    site = EximSite().command("--deadline", f"{words} --deadline")
    (result,) = found("exim_keeps", site.look())
    assert (result.level, "status 77" in result.text) == (WARNING, True)
    wanted = result.remedy.partition("temp_errors = ")[2]
    assert " 77 " not in wanted
    site.transport["temp_errors"] = wanted
    assert levels("exim_keeps", site.look()) == {OK}
    site.transport["temp_errors"] = wanted.replace(" 69 :", "")
    (result,) = found("exim_keeps", site.look())
    assert result.remedy.endswith(wanted)
    assert "leaves with 69" in result.text


def test_the_front_door_is_never_told_to_go_unfiltered() -> None:
    """Even if it is this host's alone, and mail comes back to it."""
    site = EximSite().command("127.0.0.1:10026", "127.0.0.1:8025")
    site.main["local_interfaces"] += " ; 127.0.0.1.8025"
    site.hops["8025"] = AVCHECK
    (result,) = found("exim_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10026"
    site.router["unseen"] = "yes"
    assert all("8025" not in each.remedy for each in found("exim_router", site.look()))
    assert "8025" not in text("exim_routes", site.look())
    site.hops["8025"] = ONWARD
    assert "port 8025 goes to router onward" in text("exim_routes", site.look())


def test_of_two_ways_back_the_one_that_does_not_come_round_is_named() -> None:
    site = EximSite().command("127.0.0.1:10026", "127.0.0.1:25")
    site.main["local_interfaces"] += " ; 127.0.0.1.10027"
    site.main["smtp_reserve_hosts"] += "${if eq{$received_port}{10027}{127.0.0.1}}"
    site.hops |= {BACK: AVCHECK, "10027": ONWARD}
    (result,) = found("exim_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10027"
    site.hops["10027"] = AVCHECK  # neither: then the router is what is wrong
    (result,) = found("exim_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10026"


def test_what_exim_does_not_say_is_skipped() -> None:
    site = EximSite()
    site.hops["25"] = None
    assert levels("exim_routes", site.look()) == {SKIPPED}
    site = EximSite()
    site.router["address_test"] = "no"
    assert levels("exim_routes", site.look()) == {SKIPPED}
    site = EximSite()
    site.hops[BACK] = None  # it looks something up, and so is past avcheck's router
    assert levels("exim_loop", site.look()) == {OK}


def test_an_exim_that_was_not_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(peer, "called", lambda pid: "exim4")
    site = EximSite()
    site.configuration = str(tmp_path / "config.autogenerated")
    site.main["pid_file_path"] = str(tmp_path / "pid")
    (tmp_path / "config.autogenerated").touch()
    monkeypatch.setattr(exim, "ETC", tmp_path / "etc")
    (tmp_path / "etc" / "conf.d" / "router").mkdir(parents=True)
    part = tmp_path / "etc" / "conf.d" / "router" / "10_x"
    part.touch()
    assert "does not run" in text("exim_restarted", site.look())
    assert levels("exim_restarted", site.look()) == {WARNING}
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    assert levels("exim_restarted", site.look()) == {OK}
    later = os.stat(tmp_path / "pid").st_mtime + 10
    os.utime(site.configuration, (later, later))
    assert levels("exim_restarted", site.look()) == {WARNING}
    os.utime(tmp_path / "pid", (later, later))  # told to read it again
    assert levels("exim_restarted", site.look()) == {OK}
    os.utime(part, (later + 10, later + 10))
    (result,) = found("exim_restarted", site.look())
    assert "10_x was changed" in result.text
    assert result.remedy.startswith("update-exim4.conf && ")
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert levels("exim_restarted", site.look()) == {SKIPPED}


# What exim -bP prints.


def test_options_and_blocks() -> None:
    said = "\na router:\ndriver = accept\nno_unseen\nmore\nset = \n\nb router:\ndriver = redirect\n"
    assert blocks(said) == {
        "a": {"driver": "accept", "unseen": "no", "more": "yes", "set": ""},
        "b": {"driver": "redirect"},
    }
    assert options("never_users =\nbounce_return_body\n") == {
        "never_users": "",
        "bounce_return_body": "yes",
    }


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('/b/avcheck -x \'a b\' "c \\" d"', ("/b/avcheck", "-x", "a b", 'c " d')),
        ("/bin/sh -c 'exec /b/avcheck \"\\$@\"' x -d /s", ("/b/avcheck", "-d", "/s")),
        ("/bin/sh -c '/b/avcheck -n; exit 0' x -d", ("/b/avcheck", "-n")),
        ("/bin/sh -c '/b/other' x -d", ()),
        ("/bin/sh -c", ("/bin/sh", "-c")),
        ("", ()),
    ],
)
def test_the_words_of_a_command(command: str, words: tuple[str, ...]) -> None:
    assert words_of(command) == words


def test_a_transport_that_does_not_run_avcheck() -> None:
    assert transport_of("x", {"driver": "pipe", "command": "/bin/cat"}) is None
    assert transport_of("x", {"driver": "smtp"}) is None


def test_lists_doors_sizes_and_times() -> None:
    assert listed("<; a ; b;;c ; ") == ["a", "b;c"]
    assert listed("::::1 : 127.0.0.1") == ["::1", "127.0.0.1"]
    here = {"local_interfaces": "<; 127.0.0.1 ; ::1.26 ; [::1]:27 ; [192.0.2.1]"}
    assert doors_of(here | {"daemon_smtp_ports": "smtp : 587"}) == (
        Door("127.0.0.1", "25"),
        Door("127.0.0.1", "587"),
        Door("::1", "26"),
        Door("::1", "27"),
        Door("192.0.2.1", "25"),
        Door("192.0.2.1", "587"),
    )
    assert doors_of({})[0] == Door("::0", "25")
    assert [size_of(each) for each in ("50M", "3k", "7", "0", "x")] == [50 << 20, 3072, 7, 0, 0]
    assert [seconds(each) for each in ("1h30m", "10m", "0s", "")] == [5400.0, 600.0, 0.0, 0.0]
