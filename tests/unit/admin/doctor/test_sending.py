"""avcheckctl doctor: what brings mail to avcheck-smtp, and who listens there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, time

import pytest

from avcheck.admin import checks, inetd
from avcheck.admin.checks import pipe_account, sending
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from avcheck.admin.spawned import Spawn
from tests.support.doctor_sessions import Sessions
from tests.support.doctor_site import SOMEBODY, expect, found, levels, text

USER = f"user={SOMEBODY}"
SCAN = "scan unix ... smtp\n    -o "


# What sends.


def test_the_client_of_the_page(after: Sessions) -> None:
    assert levels("smtp_client", after.look()) == {OK}


def test_there_is_no_client_before_the_queue(before: Sessions) -> None:
    assert levels("smtp_client", before.look()) == set()


@pytest.mark.parametrize(
    ("parameter", "value", "level", "said"),
    [
        ("smtp_fallback_relay", "[backup.example]", ERROR, "unscanned"),
        ("smtp_header_checks", "regexp:/etc/x", ERROR, "changes mail"),
        ("smtp_generic_maps", "texthash:/etc/x", ERROR, "rewrites addresses"),
        ("smtp_line_length_limit", "998", WARNING, "breaks lines of more than 998"),
        ("smtp_tls_security_level", "encrypt", ERROR, "all mail waits"),
    ],
)
def test_what_main_cf_says_to_every_client(
    after: Sessions, parameter: str, value: str, level: str, said: str
) -> None:
    after.site.main[parameter] = value
    assert levels("smtp_client", after.look()) == {OK}  # the page's client has its own
    lines = after.site.master.splitlines(keepends=True)
    after.site.master = "".join(line for line in lines if f"-o {parameter}=" not in line)
    expect(after.look(), "smtp_client", level, said, f"{SCAN}{parameter}=")


@pytest.mark.parametrize("parameter", ["smtp_reply_filter", "smtp_delivery_status_filter"])
@pytest.mark.parametrize(
    ("rule", "level"),
    [
        ("/^4(.*)/ 5$1", ERROR),
        ("/^4.*/ 250 2.0.0 ok", ERROR),
        ("/^2(.*)/ 4$1", ERROR),
        ("/^550(.*)/ 450$1", OK),
        ("/^4(.*/ 5$1", OK),  # Postfix leaves it out
    ],
)
def test_replies_that_become_others(after: Sessions, parameter: str, rule: str, level: str) -> None:
    table = after.site.directory / "replies"
    table.write_text(f"{rule}\n")
    after.site.main[parameter] = f"regexp:{table}"
    assert levels("smtp_client", after.look()) == {level}
    if level == ERROR:
        assert found("smtp_client", after.look())[0].remedy == f"{SCAN}{parameter}="
    after.site.main[parameter] = "tcp:127.0.0.1:7"
    assert levels("smtp_client", after.look()) == {SKIPPED}
    after.site.main[parameter] = "regexp:/nowhere/at/all"
    assert levels("smtp_client", after.look()) == {ERROR}


def test_an_lmtp_client_is_none(after: Sessions) -> None:
    look = after.look(("10      smtp\n", "10      lmtp\n"))
    expect(look, "smtp_client", ERROR, "LHLO", "scan unix  -  -  n  -  10  smtp")


def test_a_filter_with_several_next_hops(after: Sessions) -> None:
    after.site.main["content_filter"] = "scan:[127.0.0.1]:10025, [mx.example]"
    (result,) = found("smtp_client", after.look())
    assert result.level == ERROR
    assert "sends it to [mx.example], unscanned" in result.text
    assert result.remedy == "content_filter = scan:[127.0.0.1]:10025"
    assert levels("smtp_used", after.look()) == {OK}
    after.site.main["content_filter"] = "scan:[127.0.0.1]:10025"
    own = "    -o { content_filter = scan:[127.0.0.1]:10025 [mx.example] }"
    look = after.look(("smtp inet n - y - - smtpd\n", f"smtp inet n - y - - smtpd\n{own}\n"))
    (result,) = found("smtp_client", look)
    assert result.remedy == "smtp inet ... smtpd\n    -o content_filter=scan:[127.0.0.1]:10025"


# Who listens.


@contextmanager
def server(replies: list[bytes]) -> Iterator[str]:
    """A server that says one reply after the other; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link, link.makefile("rb") as lines, suppress(ConnectionError):
                for reply in replies:
                    link.sendall(reply + b"\r\n")
                    if not lines.readline():
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(listener.getsockname()[1])
        thread.join(5)


@pytest.mark.parametrize(
    ("replies", "level"),
    [
        ([b"220 x", b"250-x\r\n250 SIZE", b"221 bye"], OK),
        ([b"220 x", b"421 4.4.1 no next hop"], ERROR),
        ([b"421 4.3.0 bug or broken installation"], ERROR),
    ],
)
def test_who_listens_is_asked(after: Sessions, replies: list[bytes], level: str) -> None:
    with server(replies) as port:
        after.site.main["content_filter"] = f"scan:[127.0.0.1]:{port}"
        look = after.look(("127.0.0.1:10025 inet", f"127.0.0.1:{port} inet"))
        assert levels("smtp_answers", look) == {level}
        assert (replies[-1].decode() in text("smtp_answers", look)) == (level == ERROR)


def test_one_that_is_busy(after: Sessions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        after.site.main["content_filter"] = f"scan:[127.0.0.1]:{port}"
        look = after.look(("127.0.0.1:10025 inet", f"127.0.0.1:{port} inet"))
        (result,) = found("smtp_answers", replace(look, until=monotonic() + 0.2))
        assert (result.level, "(or all are busy)" in result.text) == (ERROR, True)


def test_nobody_listens(after: Sessions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    after.site.main["content_filter"] = f"scan:[127.0.0.1]:{port}"
    look = after.look(("127.0.0.1:10025 inet", f"127.0.0.1:{port} inet"))
    (result,) = found("smtp_answers", look)
    assert result.level == ERROR
    assert result.remedy.startswith(f"postfix -c {after.site.config} reload; ")


LISTENS = """\
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    listener.accept()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees who listens")
def test_one_that_accepts_itself_reads_its_files_once(after: Sessions) -> None:
    program = after.site.bin / "avcheck-smtp"
    words = [sys.executable, "-c", LISTENS, str(program)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as played:
        assert played.stdout
        port = played.stdout.readline().strip()
        try:
            argv = (str(program), "--config", str(after.file))
            call = Spawn("x.socket", argv, SOMEBODY, "", port, None, None, "x.service")
            look = after.look()
            look = replace(look, service=replace(look.service, call=call))
            for file in (program, after.file):
                os.utime(file, (0, 0))
            assert levels("smtp_restarted", look) == {OK}
            for file in (program, after.file):
                os.utime(file, (time() + 9, time() + 9))
                assert levels("smtp_restarted", look) == {ERROR}
                (result,) = found("smtp_restarted", look)
                assert (result.level, result.remedy) == (ERROR, f"kill -HUP {played.pid}")
                assert result.text.startswith(str(file))
                os.utime(file, (0, 0))
            assert levels("smtp_restarted", after.look()) == set()  # spawn(8) starts one for each
        finally:
            played.kill()


def test_who_accepts_is_not_seen_by_others(
    after: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Spawn("x.socket", ("/x/avcheck-smtp",), SOMEBODY, "", "10025", None, None, "x.service")
    look = after.look()
    look = replace(look, service=replace(look.service, call=call))
    monkeypatch.setattr(os, "geteuid", lambda: 3999999997)
    assert levels("smtp_restarted", look) == {SKIPPED}


def test_how_others_are_started(after: Sessions) -> None:
    for service, remedy in (
        ("x.service", "systemctl daemon-reload; systemctl status x.service"),
        ("/etc/inetd.conf", "restart the daemon that reads /etc/inetd.conf"),
    ):
        call = Spawn("x", ("/x/avcheck-smtp",), SOMEBODY, "", "1", None, None, service)
        look = after.look()
        look = replace(look, service=replace(look.service, call=call))
        (result,) = found("smtp_answers", look)
        assert (result.level, result.remedy.startswith(remedy)) == (ERROR, True)


def test_a_loop_is_not_asked(after: Sessions) -> None:
    look = after.look(("sendmail 127.0.0.1:10026", "sendmail 127.0.0.1:10025"))
    assert levels("smtp_answers", look) == {SKIPPED}
    assert sending.hello not in [each[0] for each in checks.questions(look)]
    look = after.look(("sendmail 127.0.0.1:10025", "sendmail 127.0.0.1:10026"))
    assert sending.hello in [each[0] for each in checks.questions(look)]


# The account, and what else is looked at as with a pipe.


@pytest.mark.parametrize(
    ("old", "new", "check", "said"),
    [
        (
            "n  n       n       -       10      spawn",
            "n  -  n  -  10  spawn",
            "pipe_columns",
            "unpr",
        ),
        (
            "n  n       n       -       10      spawn",
            "n  n  y  -  10  spawn",
            "pipe_columns",
            "chr",
        ),
        (USER, "user=root", "pipe_user", "spawn(8) refuses that"),
        (USER, "user=nosuchaccount", "pipe_user", "no such account"),
        (USER, f"{USER}:postdrop", "pipe_user", "spawn(8) refuses the group postdrop"),
    ],
)
def test_the_service_in_master_cf(
    after: Sessions, old: str, new: str, check: str, said: str
) -> None:
    assert levels(check, after.look()) == {OK}
    look = after.look((old, new))
    assert levels(check, look) == {ERROR}
    assert said in text(check, look)


def test_the_primary_group_is_looked_at_where_no_other_is_named(
    after: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    after.site.main["setgid_group"] = SOMEBODY
    (result,) = found("pipe_user", after.look())
    assert f"refuses the group {SOMEBODY}" in result.text
    assert result.remedy == f"{USER}:avgroup"


def test_what_is_not_expanded_or_bounced_behind_the_queue(after: Sessions) -> None:
    assert levels("bounces", after.look()) == {WARNING}
    assert levels("filter_mappings", after.look()) == {WARNING}
    after.site.main["receive_override_options"] = "no_address_mappings"
    after.site.main["bounce_size_limit"] = "1"
    assert levels("bounces", after.look()) == {OK}
    assert levels("filter_mappings", after.look()) == {OK}
    assert levels("reinjection_mappings", after.look()) == {OK}
    own = "-o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters"
    look = after.look((f"    {own}\n", ""))
    assert levels("reinjection_mappings", look) == {ERROR}


def test_what_waits_before_the_queue_is_not_bounced_here(before: Sessions) -> None:
    assert levels("bounces", before.look()) == set()
    assert levels("filter_mappings", before.look()) == set()
    assert levels("reinjection_mappings", before.look()) == {OK}
    before.site.main["receive_override_options"] = "no_address_mappings"
    own = "    -o receive_override_options=no_unknown_recipient_checks\n"
    assert levels("reinjection_mappings", before.look((own, ""))) == {ERROR}


def test_a_size_that_the_way_back_does_not_take(either: Sessions) -> None:
    assert levels("reinjection_size", either.look()) == {OK}
    size = "-o message_size_limit=0\n    -o receive"
    look = either.look((size, "-o message_size_limit=1000\n    -o receive"))
    assert levels("reinjection_size", look) == {WARNING}


def test_a_service_that_is_there_twice(after: Sessions) -> None:
    assert levels("pipe_once", after.look()) == {OK}
    after.site.master += "smtp inet n - y - - smtpd\n"
    assert levels("pipe_once", after.look()) == {ERROR}


# inetd.

INETD = "127.0.0.1:10025 stream tcp nowait @user @bin/avcheck-smtp avcheck-smtp --config @file\n"


@pytest.fixture
def by_inetd(after: Sessions, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The line in place of the spawn(8) service; its file."""
    file = after.site.directory / "inetd.conf"
    file.write_text(after.site.filled(INETD).replace("@file", str(after.file)))
    monkeypatch.setattr(inetd, "INETD", str(file))
    lines = after.site.master.splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if line.rstrip().endswith("spawn")]
    after.site.master = "".join([*lines[:at], *lines[at + 3 :]])
    return file


def test_a_line_of_inetd_is_looked_at(after: Sessions, by_inetd: Path) -> None:
    look = after.look()
    assert look.service.name == "127.0.0.1:10025 of inetd"
    assert levels("smtp_used", look) == {OK}
    assert levels("front_doors", look) == {OK}
    assert levels("pipe_user", look) == {OK}
    expect(look, "smtp_processes", WARNING, "any number of", "stream tcp wait")
    by_inetd.write_text(by_inetd.read_text().replace(f" {SOMEBODY} ", " root "))
    expect(after.look(), "pipe_user", ERROR, "runs as root", "avclient:avgroup in")


def test_an_account_of_a_unit(after: Sessions) -> None:
    """As systemd is told."""
    service = "avcheck-smtp.service"
    for user, level, said in (
        ("root", ERROR, "runs as root"),
        ("0", ERROR, "runs as root"),
        ("4711", OK, "runs as 4711"),
        ("nosuchaccount", ERROR, "no such account"),
        ("nobody", WARNING, "others use that account"),
        (SOMEBODY, OK, f"runs as {SOMEBODY}"),
    ):
        result = pipe_account.account_of(user, service)
        assert (result.level, said in result.text) == (level, True), user
        edit = f"systemctl edit {service}: [Service] User=avclient Group=avgroup"
        assert result.remedy == ("" if level == OK else edit)
