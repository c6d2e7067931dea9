"""avcheckctl doctor: the checks of Postfix, each made to fire and made not to."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest

from avcheck.admin import calls, checks
from avcheck.admin.checks import limits, program
from avcheck.admin.look import ERROR, OK, WARNING, Look
from avcheck.printable import printable
from tests.support.doctor_site import (
    SENDMAIL,
    US,
    Site,
    found,
    levels,
    text,
)
from tests.support.fakes import FakeSmtp

# The way back.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", set()),
        ("-S @bin/sendmail -S -i", {OK}),
        ("-S @bin/sendmail -S -oi", {OK}),
        ("-S @bin/sendmail -S -Gi", {OK}),
        ("-S @bin/sendmail -S -fi", {ERROR}),
        ("-S @bin/sendmail -S -Git", {ERROR}),
        ("-S @bin/infected.sh", {OK}),
        ("-S @bin/sendmail", {ERROR}),
        ("-S @bin/sendmail -S -i -S -t", {ERROR}),
        ("-S /nowhere/sendmail -S -i", {ERROR}),
    ],
)
def test_the_words_of_sendmail(site: Site, words: str, expected: set[str]) -> None:
    assert levels("sendmail_arguments", site.own(words)) == expected


def test_a_mail_server_that_answers(site: Site) -> None:
    with FakeSmtp() as smtp:
        assert levels("reinjection_answers", site.own(f"-S {smtp.where}")) == {OK}
        look = site.own(f"-S {smtp.where} --xforward NAME=x")
        assert levels("reinjection_answers", look) == {OK, WARNING}
        look = site.own(f"-S {smtp.where} --tls require")
        assert levels("reinjection_answers", look) == {OK, ERROR}
        assert levels("reinjection_answers", site.own("-n")) == set()


@pytest.mark.parametrize("step", ["MAIL", "RCPT 1"])
def test_a_mail_server_that_takes_no_mail(site: Site, step: str) -> None:
    words = {"MAIL": b"530 5.7.0 Must issue a STARTTLS command first\r\n"}
    words["RCPT 1"] = b"554 5.7.1 Relay access denied\r\n"
    with FakeSmtp(answers={step: words[step]}) as smtp:
        look = site.own(f"-S {smtp.where}")
        assert levels("reinjection_answers", look) == {ERROR}
        assert printable(words[step].rstrip()) in text("reinjection_answers", look)
        # Behind TLS its answer may be another one.
    with FakeSmtp(answers={step: words[step]}, offers=(b"STARTTLS", b"8BITMIME")) as smtp:
        assert levels("reinjection_answers", site.own(f"-S {smtp.where} --tls may")) == {OK}


def test_a_mail_server_that_does_not(site: Site) -> None:
    assert levels("reinjection_answers", site.own("-S unix:/nowhere")) == {ERROR}
    with FakeSmtp(answers={"greeting": b"554 go away\r\n"}) as smtp:
        assert levels("reinjection_answers", site.own(f"-S {smtp.where}")) == {ERROR}
    with FakeSmtp(offers=(b"SIZE 0",)) as smtp:
        assert levels("reinjection_answers", site.own(f"-S {smtp.where}")) == {OK, ERROR}


def test_loops_by_smtp(site: Site) -> None:
    assert levels("reinjection_loop", site.look()) == {OK}
    site.change("    -o content_filter=\n", "")
    assert levels("reinjection_loop", site.look()) == {ERROR}
    site.change("-S 127.0.0.1:10026", "-S 127.0.0.1:9")
    assert levels("reinjection_loop", site.look()) == {WARNING}
    site.change("-S 127.0.0.1:9", "-S 127.0.0.1:25")
    assert levels("reinjection_loop", site.look()) == {ERROR}
    assert levels("reinjection_loop", site.own()) == set()


def test_loops_by_sendmail(site: Site) -> None:
    site.change(*SENDMAIL)
    assert levels("reinjection_loop", site.look()) == {ERROR}
    site.change("1       pickup\n", "1       pickup\n    -o content_filter=\n")
    assert levels("reinjection_loop", site.look()) == {OK}
    site.change("-S @bin/sendmail", "-S @bin/infected.sh")
    assert levels("reinjection_loop", site.look()) == set()


@pytest.mark.parametrize(
    ("name", "networks", "interfaces", "level"),
    [
        ("127.0.0.1:10026", "0.0.0.0/0", "all", OK),
        ("[::1]:10026", "0.0.0.0/0", "all", OK),
        ("localhost:10026", "0.0.0.0/0", "all", OK),
        ("10026", "0.0.0.0/0", "loopback-only", OK),
        ("10026", "127.0.0.0/8", "127.0.0.1, 192.0.2.1", WARNING),
        ("0.0.0.0:10026", "127.0.0.0/8 [::1]/128", "all", WARNING),
        ("0.0.0.0:10026", "127.0.0.0/8, 192.0.2.0/24", "all", ERROR),
        ("[::]:10026", "0.0.0.0/0", "all", ERROR),
        ("10026", "0.0.0.0/0", "all", ERROR),
    ],
)
def test_who_can_reach_the_way_back(
    site: Site, name: str, networks: str, interfaces: str, level: str
) -> None:
    site.change("127.0.0.1:10026 inet", f"{name} inet")
    if name == "[::1]:10026":
        site.change("-S 127.0.0.1:10026", f"-S {name}")
    site.change("mynetworks=127.0.0.0/8", f"{{mynetworks={networks}}}")
    site.main["inet_interfaces"] = interfaces
    assert levels("reinjection_private", site.look()) == {level}


def test_a_way_back_that_does_not_ask_who_comes(site: Site) -> None:
    site.change("127.0.0.1:10026 inet", "0.0.0.0:10026 inet")
    site.change("permit_mynetworks,reject", "permit")
    assert levels("reinjection_private", site.look()) == {ERROR}


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ("content_filter=\n    -o rec", "content_filter=\n    -o rec", OK),
        ("    -o cleanup_service_name=avcheck-cleanup\n", "", WARNING),
        ("    -o message_size_limit=0\n    -o mynet", "    -o mynet", WARNING),
        ("cleanup\n    -o message_size_limit=0\n", "cleanup\n", WARNING),
        ("avcheck-cleanup unix", "other-cleanup unix", ERROR),
        ("-       smtpd\n", "-       smtpd\n    -o message_size_limit=0\n", OK),
    ],
)
def test_the_size_of_messages_on_the_way_back(site: Site, old: str, new: str, level: str) -> None:
    assert levels("reinjection_size", site.change(old, new).look()) == {level}


def test_the_size_of_messages_handed_back_by_sendmail(site: Site) -> None:
    site.change(*SENDMAIL)
    assert levels("reinjection_size", site.look()) == {WARNING}
    for door in ("-       smtpd\n", "1       pickup\n"):
        site.change(door, f"{door}    -o message_size_limit=10000000\n")
    assert levels("reinjection_size", site.look()) == {OK}


# master.cf and main.cf.

CONFIGURATION = ("pipe", "pipe_account", "main_cf", "front", "limits", "net")

PIPE = [
    each.__name__
    for each in checks.CHECKS
    if each.__module__.rpartition(".")[2]
    in ("pipe", "main_cf", "front", "limits", "net", "pipe_account")
]


def test_a_good_postfix_is_in_order(site: Site) -> None:
    look = site.look()
    for name in PIPE:
        assert levels(name, look) <= {OK}, name


def test_without_postfix_there_is_nothing_to_say(site: Site) -> None:
    look = Look(site.own().service)
    for name in set(PIPE) - {"deadline"}:
        assert levels(name, look) == set(), name


@pytest.mark.parametrize(
    ("name", "old", "new", "level"),
    [
        ("pipe_flags", "flags=q", "flags=", WARNING),
        ("pipe_flags", "flags=q", "flags=DRq", ERROR),
        ("pipe_flags", "flags=q", "flags=q.", ERROR),
        ("pipe_null_sender", "null_sender=", "", ERROR),
        ("pipe_null_sender", "null_sender=", "null_sender=MAILER-DAEMON", ERROR),
        ("pipe_arguments", "-- ${recipient}", "${recipient}", ERROR),
        ("pipe_arguments", "-- ${recipient}", "-- <${recipient}>", ERROR),
        ("pipe_arguments", "-- ${recipient}", "-- ${recipient} x", ERROR),
        ("pipe_arguments", "-- ${recipient}", "-- x", ERROR),
        ("pipe_arguments", "-f ${sender}", "-f${sender}", ERROR),
        ("pipe_arguments", "-f ${sender}", "-h ${sender} -f x", ERROR),
        ("pipe_arguments", "-f ${sender}", "-f x", ERROR),
        ("pipe_user", "user=@user", "", ERROR),
        ("pipe_user", "user=@user", "user=no-such-user", ERROR),
        ("pipe_user", "user=@user", "user=root", ERROR),
        ("pipe_user", "user=@user", "user=nobody", WARNING),
        ("pipe_time_limit", "--deadline 450", "--deadline 590", ERROR),
        ("pipe_concurrency", "10      pipe", "0      pipe", WARNING),
        ("pipe_concurrency", "10      pipe", "20      pipe", ERROR),
        ("pipe_concurrency", "--deadline", "--slots 3 --deadline", WARNING),
    ],
)
def test_services_that_are_not_good(site: Site, name: str, old: str, new: str, level: str) -> None:
    assert level in levels(name, site.change(old, new).look())


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("pipe_recipients", "avcheck_destination_recipient_limit", "0"),
        ("pipe_recipients", "avcheck_destination_recipient_limit", "50"),
        ("bounces", "bounce_size_limit", "50000"),
        ("message_size", "message_size_limit", "0"),
        ("filter_mappings", "receive_override_options", "no_milters"),
    ],
)
def test_parameters_that_are_not_good(site: Site, name: str, parameter: str, value: str) -> None:
    site.main[parameter] = value
    assert WARNING in levels(name, site.look())


@pytest.mark.parametrize("name", ["avcheck   unix", "127.0.0.1:10026 inet"])
def test_a_service_that_is_there_twice(site: Site, name: str) -> None:
    lines = re.split(r"^(?=\S)", site.master, flags=re.MULTILINE)
    site.master += next(line for line in lines if line.startswith(name))
    assert levels("pipe_once", site.look()) == {ERROR}
    assert name.split()[0] in text("pipe_once", site.look())


def test_recipients_that_sendmail_takes_may_share_a_run(site: Site) -> None:
    site.main["avcheck_destination_recipient_limit"] = "50"
    assert levels("pipe_recipients", site.change(*SENDMAIL).look()) == {OK}


def test_the_time_limit_of_all_commands_counts_where_there_is_no_other(site: Site) -> None:
    del site.main["avcheck_time_limit"]
    site.main["command_time_limit"] = "5m"
    assert levels("pipe_time_limit", site.look()) == {ERROR}
    assert limits.seconds("never") == 0.0


def test_the_safety_net(site: Site) -> None:
    del site.main["pipe_delivery_status_filter"]
    assert levels("safety_net", site.look()) == {OK}  # the guard
    site.main["soft_bounce"] = "yes"
    assert levels("safety_net", site.look()) == {OK}
    site.change("@libexec/avcheck-guard ", "")
    assert levels("safety_net", site.look()) == {WARNING}
    (result,) = found("safety_net", site.look())
    # What an empty command leaves is 0, and no net catches that.
    assert (result.level, result.text) == (WARNING, "while avcheck is replaced, mail can be lost")
    del site.main["soft_bounce"]
    (result,) = found("safety_net", site.look())
    assert result.text.endswith(", and if Python cannot start, Postfix bounces it")
    assert result.remedy.startswith(f"argv={calls.GUARD} {site.bin}/avcheck -d ")  # all of it


CALLS = {
    "@libexec/avcheck-guard @bin/avcheck": ("@libexec/avcheck-guard", "@bin/avcheck"),
    "@bin/avcheck-guard.sh @bin/avcheck": ("@bin/avcheck-guard.sh", "@bin/avcheck"),
    "@bin/avcheck-guard.sh": ("@bin/avcheck-guard.sh", "@bin/avcheck"),
    "@bin/avcheck": ("", "@bin/avcheck"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_avcheck_is_understood_with_and_without_the_guard(site: Site, call: str) -> None:
    site.user = US
    site.change("@libexec/avcheck-guard @bin/avcheck", call)
    (pipe,) = site.postfix().pipes
    assert (pipe.guard, pipe.program) == tuple(map(site.filled, CALLS[call]))
    assert (pipe.arguments[0], pipe.arguments[-1]) == ("-d", "${recipient}")
    service = site.look().service
    assert service.error == ""
    assert service.program == site.filled("@bin/avcheck")
    assert levels("pipe_arguments", site.look()) == {OK}
    assert levels("handler", site.look()) == {OK}


@pytest.fixture
def as_avcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs these tests looks as the account of avcheck: root's programs are not run."""
    monkeypatch.setattr(Look, "accounts", lambda self: (3999999998, None))
    monkeypatch.setattr(Look, "acting", lambda self: nullcontext())


def test_the_guard_and_its_avcheck_are_both_looked_at(site: Site, as_avcheck: None) -> None:
    site.user = US
    assert levels("program", site.look()) == {OK}
    site.guard.chmod(0o644)
    assert levels("program", site.look()) == {ERROR}
    site.guard.unlink()
    (result,) = found("program", site.look())
    new = f"{site.guard}.new"
    put = f"install -m 755 {site.bin}/avcheck-guard.sh {new} && sync {new}"
    put += f" && mv -f {new} {site.guard}"
    assert result.remedy == put
    (site.bin / "avcheck").unlink()
    assert levels("program", site.look()) == {ERROR}
    assert levels("guard", site.look()) == set()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/nowhere/python3\n", "status 75"),
        ("#!/bin/sh\necho no module named avcheck >&2\nexit 1\n", "no module named avcheck"),
        ("#!/bin/sh\necho something else\n", "something else"),
        ("#!/bin/sh\nexec sleep 60\n", "no end within"),
        ("#!/bin/sh\nexec yes\n", "wrote more than"),
    ],
)
def test_an_avcheck_that_cannot_be_run_is_found_by_running_it(
    site: Site, as_avcheck: None, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """access(2) allows it: the interpreter is what the account cannot run."""
    site.user = US
    monkeypatch.setattr(program, "RUN_MAX", 5.0)
    site.guard.write_text('#!/bin/sh\n"$@" || exit 75\n')
    (site.bin / "avcheck").write_text(script)
    (result,) = found("program", site.look())
    assert result.level == ERROR
    assert "cannot be run by" in result.text
    assert reason in result.text
    assert f"{site.guard} {site.bin}/avcheck --version" in result.remedy


@pytest.mark.parametrize("text", [b"", b"\0" * 4096, b"#!/bin/sh\n", b"#!/bin/sh\n\0\0"])
def test_a_guard_that_a_power_cut_has_left(site: Site, text: bytes) -> None:
    """An empty one exits with 0 where execvp(3) hands it to the shell: the mail is lost."""
    (site.bin / "avcheck-guard.sh").write_bytes(b"#!/bin/sh\n{ exit 75\n}\n")
    site.guard.write_bytes(text)
    (result,) = found("guard", site.look())
    assert result.level == ERROR
    assert "sync" in result.remedy


def test_a_guard_that_an_upgrade_has_left_behind(site: Site) -> None:
    assert levels("guard", site.look()) == {OK}
    site.guard.write_text("#!/bin/sh\n# of last year\n")
    assert levels("guard", site.look()) == {WARNING}
    site.change("@libexec/avcheck-guard ", "")
    assert levels("guard", site.look()) == set()


def test_utf8_in_headers_handed_back_by_sendmail(site: Site) -> None:
    assert levels("smtputf8", site.look()) == set()
    site.change(*SENDMAIL)
    assert levels("smtputf8", site.look()) == {WARNING}
    site.main["smtputf8_autodetect_classes"] = "verify"
    assert levels("smtputf8", site.look()) == {OK}


def test_xforward_that_nobody_believes(site: Site) -> None:
    assert levels("xforward", site.look()) == set()
    site.change("-f ${sender}", "--xforward NAME=${client_hostname} -f ${sender}")
    assert levels("xforward", site.look()) == {OK}
    site.change("    -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n", "")
    assert levels("xforward", site.look()) == {WARNING}
