"""avcheckctl doctor: checks of two sendmails, from what they say of themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from avcheck.admin.sendmail_options import (
    Door,
    doors,
    mailer_of,
    mailers,
    options,
    parsed,
    untold,
)
from tests.support.doctor_site import expect, found, levels
from tests.support.sendmail_site import SendmailSite

CHECKS = (
    "sendmail_reads",
    "sendmail_routes",
    "sendmail_loop",
    "sendmail_private",
    "sendmail_queues",
    "sendmail_account",
    "sendmail_message",
    "sendmail_sender",
    "sendmail_recipients",
    "sendmail_keeps",
    "sendmail_concurrency",
    "pipe_arguments",
    "message_size",
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_documented_lines_are_right(check: str) -> None:
    assert levels(check, SendmailSite().look()) == {OK}


def user(site: SendmailSite, name: str) -> None:
    site.user = name


def senders(site: SendmailSite, *names: str) -> None:
    site.senders = names  # type: ignore[assignment]


ROUND = (("esmtp", "[127.0.0.1]"),)

# What is changed; the check, how bad it is, words of it, and words of its remedy.
Fault = tuple[Callable[[SendmailSite], object], str, str, str, str]
FAULTS: dict[str, Fault] = {
    "complaint": (
        lambda site: site.change("front", complaints=("readcf: unknown mailer",)),
        "sendmail_reads", ERROR, "/nowhere/avcheck.cf: readcf: unknown", "avcheckctl setup",
    ),
    "by itself": (
        lambda site: site.change("front", hops=(("avcheck", "scan"), ("esmtp", "example.net."))),
        "sendmail_routes", ERROR, "the mailer esmtp, round avcheck", "R$+\\t$#avcheck $@ scan",
    ),
    "unknown": (
        lambda site: site.change("front", hops=()),
        "sendmail_routes", SKIPPED, "not known", "-bv root",
    ),
    "to the front": (
        lambda site: site.words("127.0.0.1:10026", "127.0.0.1:smtp"),
        "sendmail_loop", ERROR, "127.0.0.1:smtp leads back", "-S 127.0.0.1:10026",
    ),
    "to the program": (
        lambda site: site.words("127.0.0.1:10026", "/usr/sbin/sendmail -S -i"),
        "sendmail_loop", ERROR, "the program of -S leads back", "-S 127.0.0.1:10026",
    ),
    "a smart host": (
        lambda site: site.change("behind", hops=ROUND),
        "sendmail_loop", ERROR, "the front door, port 25", "undefine(`SMART_HOST')dnl sendmail.mc",
    ),
    "avcheck behind": (
        lambda site: site.change("behind", hops=(("avcheck", "scan"),)),
        "sendmail_loop", ERROR, "sends mail to the mailer avcheck", "SMART_HOST",
    ),
    "alone": (
        lambda site: setattr(site, "behind", None),
        "sendmail_loop", SKIPPED, "no sendmail.cf beside", "--sendmail-cf=FILE",
    ),
    "everybody": (
        lambda site: site.change("behind", doors=(Door("", "10026"),)),
        "sendmail_private", ERROR, "from elsewhere", "Addr=127.0.0.1, Port=10026",
    ),
    "another port": (
        lambda site: site.change("behind", doors=(Door("::1", "2"), Door("127.0.0.1", "10026"))),
        "sendmail_private", ERROR, "port 2, too", "in place of the others",
    ),
    "no port": (
        lambda site: site.change("behind", doors=()),
        "sendmail_private", WARNING, "does not listen on port 10026", "FEATURE(`no_default_msa')",
    ),
    "one queue": (
        lambda site: site.option("behind", "QueueDirectory", "/var/spool/mqueue-avcheck"),
        "sendmail_queues", ERROR, "may be delivered", "/var/spool/mqueue-avcheck')dnl avcheck.mc",
    ),
    "S": (
        lambda site: site.equate(F="8hnuS"), "sendmail_account", ERROR, "with S", "F=nuh8",
    ),
    "nobody": (
        lambda site: user(site, ""), "sendmail_account", ERROR, "runs as mail:mail", "U=avclient",
    ),
    "root": (
        lambda site: user(site, "root"),
        "sendmail_account", ERROR, "could change all mail", "U=avclient",
    ),
    "shared": (
        lambda site: user(site, "nobody"),
        "sendmail_account", WARNING, "others use", "U=avclient:avgroup",
    ),
    "long lines": (
        lambda site: site.equate(L="990"), "sendmail_message", ERROR, "breaks long lines", "L=0",
    ),
    "line ends": (
        lambda site: site.equate(E="\\r\\n"), "sendmail_message", ERROR, "line ends", "E=\\n",
    ),
    "a wait": (
        lambda site: site.equate(W="479"),
        "sendmail_keeps", WARNING, "may be delivered twice", "W=600",
    ),
    "a bounce": (
        lambda site: senders(site, "MAILER-DAEMON", "anna@example.com"),
        "sendmail_sender", ERROR, "MAILER-DAEMON", "S=AvcheckFrom/AvcheckHeader",
    ),
    "a sender": (
        lambda site: senders(site, "", "anna@mail.example.org"),
        "sendmail_sender", ERROR, "becomes anna@mail", "S=AvcheckFrom/AvcheckHeader",
    ),
    "shared runs": (
        lambda site: site.equate(F="8hnum"),
        "sendmail_recipients", WARNING, "share a run", "F=nuh8",
    ),
    "no guard": (
        lambda site: site.equate(
            P="/o/bin/avcheck", A=site.equates["A"].replace("-guard /opt/avcheck/bin/avcheck", "")
        ),
        "sendmail_keeps", ERROR, "without the guard", "A=avcheck-guard /o/bin/avcheck",
    ),
    "bodies": (
        lambda site: site.option("front", "PrivacyOptions", "novrfy"),
        "sendmail_keeps", WARNING, "scanned or not", "`novrfy,nobodyreturn')dnl avcheck.mc",
    ),
    "soon": (
        lambda site: site.option("front", "Timeout.queuereturn", "4h"),
        "sendmail_keeps", WARNING, "bounces after 4 h", "confTO_QUEUERETURN",
    ),
    "for ever": (
        lambda site: site.words("--deadline 450", "--deadline 0"),
        "sendmail_keeps", WARNING, "never gives up", "--deadline 450",
    ),
    "any number": (
        lambda site: site.option("front", "MaxDaemonChildren", "0"),
        "sendmail_concurrency", WARNING, "any number", "`40')dnl avcheck.mc",
    ),
    "few behind": (
        lambda site: site.option("behind", "MaxDaemonChildren", "12"),
        "sendmail_concurrency", WARNING, "MaxDaemonChildren is 12", "`0')dnl sendmail.mc",
    ),
    "slow behind": (
        lambda site: site.option("behind", "ConnectionRateThrottle", "15"),
        "sendmail_concurrency", WARNING, "Throttle is 15", "`0')dnl sendmail.mc",
    ),
    "any size": (
        lambda site: site.option("front", "MaxMessageSize", "0"),
        "message_size", WARNING, "sendmail takes messages of any size", "52428800",
    ),
    "no --": (
        lambda site: site.words(" -- $u", " $u"),
        "pipe_arguments", ERROR, "taken for an option", "-f $g -- $u",
    ),
    "no sender": (
        lambda site: site.words("-f $g", "-f x"),
        "pipe_arguments", ERROR, "$g is missing", "-f $g -- $u",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_a_time(fault: str) -> None:
    seed, check, level, said, remedy = FAULTS[fault]
    site = SendmailSite()
    seed(site)
    expect(site.look(), check, level, said, remedy)


@pytest.mark.parametrize("flag", list("79DEFLMPXx"))
def test_a_flag_that_changes_the_message(flag: str) -> None:
    (result,) = found("sendmail_message", SendmailSite().equate(F=f"8hnu{flag}").look())
    assert (result.level, result.remedy) == (ERROR, "F=nuh8")


@pytest.mark.parametrize("flag", list("8hnu"))
def test_a_flag_that_is_missing(flag: str) -> None:
    (result,) = found("sendmail_message", SendmailSite().equate(F="8hnu".replace(flag, "")).look())
    assert f"without {flag}" in result.text


@pytest.mark.parametrize(
    "program",
    ["/usr/sbin/sendmail -S -Am -S -i", "/usr/sbin/sendmail -S -C/etc/mail/x.cf", "/x -S -i"],
)
def test_a_program_that_goes_on(program: str) -> None:
    site = SendmailSite().words("127.0.0.1:10026", program)
    assert levels("sendmail_loop", site.look()) == {OK}


@pytest.mark.parametrize("wait", ["480", "8m", "0", "1h"])
def test_a_wait_that_is_long_enough(wait: str) -> None:
    assert levels("sendmail_keeps", SendmailSite().equate(W=wait).look()) == {OK}


def test_how_long_sendmail_waits_is_in_its_file() -> None:
    text = "Mlocal, P=/x, W=5\nMavcheck,\tP=/x,\n\tF=8, W=10m,\n\tA=y W=1\nMesmtp, P=[IPC], A=TCP\n"
    assert untold(text) == {"local": {"W": "5"}, "avcheck": {"W": "10m"}, "esmtp": {}}
    assert untold("#Mx, W=5\nHM, W=6\n") == {}


def test_the_port_of_the_one_behind_is_named() -> None:
    site = SendmailSite().words("127.0.0.1:10026", "127.0.0.1:25")
    site.change("behind", doors=(Door("127.0.0.1", "25"), Door("127.0.0.1", "10099")))
    (result,) = found("sendmail_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10099"
    site.behind = None
    (result,) = found("sendmail_loop", site.look())
    assert result.remedy == "-S 127.0.0.1:10026"


def test_an_address_that_is_refused_goes_nowhere() -> None:
    site = SendmailSite().change("front", hops=(("avcheck", "scan"), ("*error*", "5.6.7")))
    assert levels("sendmail_routes", site.look()) == {OK}


def test_a_source_that_was_changed_and_not_made_use_of(tmp_path: Path) -> None:
    for name in ("avcheck.mc", "avcheck.cf"):
        (tmp_path / name).touch()
    site = SendmailSite().change("front", configuration=str(tmp_path / "avcheck.cf"))
    os.utime(tmp_path / "avcheck.cf", (0, 0))
    (result,) = found("sendmail_reads", site.look())
    assert result.level == WARNING
    assert result.remedy == f"m4 {tmp_path}/avcheck.mc > {tmp_path}/avcheck.cf"


# What sendmail -d37.8 -bt prints.

SAID = """\
setoption DaemonPortOptions (O)=Name=MTA-v4, Family=inet, Addr=127.0.0.1, Port=smtp
setoption DaemonPortOptions (O)=Name=MSP, M=Ea
setoption Timeout (r).queuereturn=5d
setoption MaxMessageSize (0x1f)=1
ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)
> mailer 0 (prog): P=/bin/sh S=A/B R=C/D M=0 U=-1:-1 F=9D L=0 E=\\n T=X/Y/Z r=100 A=sh -c $u
mailer 9 (avcheck): P=/g/avcheck-guard S=A/B R=C/D M=0 U=0:0 F= L=0 E=\\r\\n T=x/y/z r=1 A=g /a $u
> Cracked address = $g
parse            returns: $# avcheck $@ scan $: root
mailer avcheck, host scan, user root
> mailer local, user root
"""


def test_what_is_printed() -> None:
    every = mailers(SAID)
    assert list(every) == ["prog", "avcheck"]
    assert every["avcheck"]["F"] == ""
    assert every["avcheck"]["E"] == "\\r\\n"
    assert every["prog"]["A"] == "sh -c $u"
    assert mailer_of("prog", every["prog"]) is None
    call = mailer_of("avcheck", every["avcheck"])
    assert call is not None
    assert (call.argv, call.user, call.group) == (("/g/avcheck-guard", "/a", "$u"), "root", "root")
    assert call.expanded() == ["recipient@example.org"]
    assert doors(SAID) == (Door("127.0.0.1", "25"), Door("", "25"))
    assert options(SAID)["Timeout.queuereturn"] == "5d"
    assert list(parsed(SAID)) == [("avcheck", "scan"), ("local", "")]


def test_numbers_that_are_no_accounts() -> None:
    for number in ("-1:-1", "3999999998:3999999998", ":", "x:y", "9" * 30 + ":0"):
        call = mailer_of("x", {"P": "/b/avcheck", "U": number})
        assert call is not None
        assert call.user == ""
