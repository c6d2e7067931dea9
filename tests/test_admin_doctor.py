"""avcheckctl doctor: each check, made to fire and made not to."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from avcheck import options
from avcheck.admin import checks, clamdconf, given, peer, postfix
from avcheck.admin.checks import ERROR, OK, WARNING, Look
from avcheck.admin.checks import pipe as pipe_checks
from avcheck.admin.checks import spool as spool_checks
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from avcheck.waitfile import Note
from tests.admin import KnowingClamd, avcheckctl
from tests.fakes import FakeSmtp

US = pwd.getpwuid(os.geteuid()).pw_name
SOMEBODY = next(
    each.pw_name
    for each in pwd.getpwall()
    if each.pw_name not in (US, "root", "postfix", "nobody", "clamav", "www-data")
)

GOOD_MASTER = """\
smtp      inet  n       -       y       -       -       smtpd
pickup    unix  n       -       y       60      1       pickup
avcheck   unix  -       n       n       -       10      pipe
    flags=q user=@user null_sender=
    argv=@libexec/avcheck-guard @bin/avcheck -d @spool -w @spool/wait -s clamd:@clamd
    -S 127.0.0.1:10026 --deadline 450 --queue-id ${queue_id} -f ${sender} -- ${recipient}
127.0.0.1:10026 inet n  -       n       -       10      smtpd
    -o content_filter=
    -o smtpd_authorized_xforward_hosts=127.0.0.0/8
"""

GOOD_MAIN = {
    "content_filter": "avcheck:dummy",
    "receive_override_options": "no_address_mappings",
    "avcheck_time_limit": "600s",
    "avcheck_destination_recipient_limit": "50",
    "pipe_delivery_status_filter": "regexp:/etc/postfix/avcheck_dsn",
    "message_size_limit": "10240000",
    "default_process_limit": "100",
    "mail_owner": "postfix",
    "smtputf8_enable": "yes",
    "smtputf8_autodetect_classes": "sendmail, verify",
}

GOOD_CLAMD = "MaxFileSize 100M\nAlertExceedsMax yes\nAlertEncrypted yes\nMaxThreads 12\n"

SENDMAIL = "-S 127.0.0.1:10026", "-S @bin/sendmail -S -G -S -i"


class Site:
    """A site where nothing is wrong, until a test changes something."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o710)
        self.spool.chmod(0o710)
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.libexec = directory / "libexec"
        self.libexec.mkdir()
        self.guard = self.libexec / "avcheck-guard"
        names = ("avcheck", "avcheck-guard.sh", "infected.sh", "sendmail")
        for file in (*(self.bin / name for name in names), self.guard):
            file.write_text("#!/bin/sh\n")
            file.chmod(0o755)
        self.clamd = directory / "clamd"
        self.conf = directory / "scan.conf"
        self.conf.write_text(GOOD_CLAMD)
        self.master = GOOD_MASTER
        self.main = dict(GOOD_MAIN)
        self.user = SOMEBODY

    def change(self, old: str, new: str) -> Site:
        assert old in self.master
        self.master = self.master.replace(old, new)
        return self

    def filled(self, text: str) -> str:
        places = {"@spool": self.spool, "@bin": self.bin, "@clamd": self.clamd, "@user": self.user}
        places["@libexec"] = self.libexec
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    def postfix(self) -> Postfix:
        listing = postfix.unfolded(self.filled(self.master))
        lines = tuple(postfix.parse_line(line) for line in listing)
        pipes = tuple(each for line in lines if (each := postfix.parse_pipe(line)))
        return Postfix(lines, self.main, pipes)

    def look(self) -> Look:
        """For the checks of Postfix: the service runs as its user=."""
        instance = self.postfix()
        return Look(given.of_pipe(instance.pipes[0]), instance, str(self.conf))

    def own(self, words: str = "") -> Look:
        """For the checks of files and daemons: the service runs as us, from a command line."""
        argv = ["-d", "@spool", "-w", "@spool/wait", "-s", "clamd:@clamd", *words.split()]
        split = [os.fsencode(self.filled(word)) for word in argv]
        known = options.split(split)[0]
        service = given.Service("x", given.settle(known, []), program=str(self.bin / "avcheck"))
        return Look(service, self.postfix(), str(self.conf))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def clamd(site: Site) -> Iterator[KnowingClamd]:
    now = datetime.now().strftime("%a %b %d %H:%M:%S %Y")
    with KnowingClamd(site.clamd, version=f"ClamAV 1.4.6/27412/{now}".encode()) as daemon:
        site.clamd.chmod(0o600)
        yield daemon


# How bad what each check found was, over all of these tests.
SEEN: dict[str, set[str]] = {}


def levels(name: str, look: Look) -> set[str]:
    """How bad what a check finds is; each finding that is not OK has a remedy."""
    results = list(checks.load(name)(look))
    for result in results:
        assert result.text.isprintable()
        assert bool(result.remedy) == (result.level != OK), result
    found = {result.level for result in results}
    SEEN.setdefault(name, set()).update(found)
    return found


def text(name: str, look: Look) -> str:
    return " ".join(result.text for result in checks.load(name)(look))


# The spool directory.


def test_a_good_spool_is_in_order(site: Site) -> None:
    look = site.own()
    for name in ("spool_usable", "spool_private", "spool_nameless", "spool_left_behind"):
        assert levels(name, look) == {OK}, name
    assert levels("waitfile", look) == {OK}
    assert levels("spool_local", look) <= {OK}
    assert levels("spool_owner", look) == set()


def test_a_spool_that_is_not_there(site: Site) -> None:
    site.spool.rmdir()
    look = site.own()
    assert levels("spool_usable", look) == {ERROR}
    for name in ("spool_private", "spool_room", "spool_nameless", "spool_local"):
        assert levels(name, look) == set(), name
    assert levels("spool_left_behind", look) == set()
    assert levels("spool_owner", site.look()) == set()
    assert levels("scanner_group", look) == set()


def test_a_spool_that_is_not_writable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: False)
    assert levels("spool_usable", site.own()) == {ERROR}


def test_a_spool_that_is_open_to_others(site: Site) -> None:
    site.spool.chmod(0o755)
    assert levels("spool_private", site.own()) == {WARNING}
    site.spool.chmod(0o750)
    assert levels("spool_private", site.own()) == {WARNING}


def test_a_spool_of_somebody_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat(site.spool)
    other = os.stat_result((*real[:4], 3999999998, *real[5:]))
    look = site.look()
    monkeypatch.setattr(spool_checks, "_status", lambda look: other)
    assert levels("spool_owner", look) == {ERROR}
    monkeypatch.setattr(
        spool_checks, "_status", lambda look: os.stat_result((*real[:4], 0, *real[5:]))
    )
    assert levels("spool_owner", look) == {OK}


def test_the_words_to_make_a_spool_name_the_accounts_of_the_service(site: Site) -> None:
    site.spool.rmdir()
    (result,) = checks.load("spool_usable")(site.look())
    assert f"-o {SOMEBODY} " in result.remedy
    assert spool_checks._user(3999999998) == "3999999998"
    assert spool_checks._group(3999999998) == "3999999998"


def room(free: int, inodes: int = 1000) -> Callable[[bytes], os.statvfs_result]:
    facts = os.statvfs_result((4096, 4096, 10**9, 10**9, free // 4096, 2000, 1000, inodes, 0, 255))
    return lambda path: facts


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(10**9, 1000, OK), (10**8, 1000, WARNING), (10**6, 1000, ERROR), (10**9, 5, WARNING)],
)
def test_room_in_the_spool(
    site: Site, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, level: str
) -> None:
    monkeypatch.setattr(os, "statvfs", room(free, inodes))
    assert levels("spool_room", site.own()) == {level}


def test_a_file_system_without_nameless_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def refuse(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return really(path, flags, mode, dir_fd=dir_fd)

    look = site.own()
    monkeypatch.setattr(os, "open", refuse)
    assert levels("spool_nameless", look) == {WARNING}


def test_a_file_system_of_another_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_checks, "_file_system", lambda path: "nfs4")
    assert levels("spool_local", site.own()) == {ERROR}
    monkeypatch.setattr(spool_checks, "_file_system", lambda path: "ext4")
    assert levels("spool_local", site.own()) == {OK}
    lines = ["22 1 0:30 / /x rw shared:1 - nfs4 server:/x rw", "23 1 8:1 / / rw - ext4 /dev/a rw"]
    assert spool_checks.kind_of(lines, "0:30") == "nfs4"
    assert spool_checks.kind_of(lines, "9:9") == ""


def test_what_was_left_behind(site: Site) -> None:
    new = site.spool / "avcheck.1"
    new.touch()
    assert levels("spool_left_behind", site.own()) == {OK}
    os.utime(new, (0, 0))
    assert levels("spool_left_behind", site.own()) == {WARNING}


def test_waitfiles(site: Site) -> None:
    look = site.own()
    wait = site.spool / "wait"
    wait.write_bytes(Note("a new disk", "2999-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {WARNING}
    assert "a new disk" in text("waitfile", look)
    wait.write_bytes(Note("a new disk", "2000-01-01T00:00:00Z", "me").render())
    assert levels("waitfile", look) == {ERROR}
    site.spool.chmod(0o777)
    assert levels("waitfile", look) == {ERROR}
    assert levels("waitfile", site.own("-w /nowhere/at/all")) == {ERROR}
    look.settings.waitfile = b""
    assert levels("waitfile", look) == {WARNING}


# The scanner.


def test_a_good_scanner_is_in_order(site: Site, clamd: KnowingClamd) -> None:
    look = site.own()
    for name in ("scanner_answers", "scanner_knows_virus", "scanner_signatures", "scanner_socket"):
        assert levels(name, look) == {OK}, name


def test_a_scanner_that_does_not_answer(site: Site) -> None:
    look = site.own()
    assert levels("scanner_answers", look) == {ERROR}
    assert levels("scanner_knows_virus", look) == {ERROR}
    for name in ("scanner_signatures", "scanner_account", "scanner_socket", "scanner_chroot"):
        assert levels(name, look) == set(), name


def test_a_scanner_that_may_not_be_talked_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from avcheck.admin import ping

    answer = ping.Answer("clamd", "/x", 0.0, wrong="/x: connect: Permission denied")
    monkeypatch.setattr(ping, "every", lambda site: iter([answer]))
    (result,) = checks.load("scanner_answers")(site.own())
    assert "namei" in result.remedy


def test_a_scanner_that_is_blind(site: Site, clamd: KnowingClamd) -> None:
    clamd.blind = True
    assert levels("scanner_knows_virus", site.own()) == {ERROR}


@pytest.mark.parametrize(
    ("where", "level"),
    [
        ("clamscan", OK),
        ("clamdscan", OK),
        ("drweb", WARNING),
        ("drweb?passed=fine", OK),
        ("/opt/scan?clean=0&args={path}", WARNING),
        ("/opt/scan?clean=0&args={path}&passed=fine", OK),
    ],
)
def test_a_program_that_says_nothing_when_all_is_well(site: Site, where: str, level: str) -> None:
    assert levels("scanner_words", site.own(f"--backup command:{where}")) == {level}


@pytest.mark.parametrize(("days", "level"), [(1, OK), (9, WARNING), (99, ERROR)])
def test_old_signatures(site: Site, clamd: KnowingClamd, days: int, level: str) -> None:
    date = (datetime.now() - timedelta(days=days)).strftime("%a %b %d %H:%M:%S %Y")
    clamd.version = f"ClamAV 1.4.6/27412/{date}".encode()
    assert levels("scanner_signatures", site.own()) == {level}


def with_peer(look: Look, found: peer.Peer) -> Look:
    for _, target in look.targets:
        look.found[id(target)] = found
    return look


def test_whose_the_scanner_is(site: Site) -> None:
    look = site.own()
    assert levels("scanner_account", with_peer(look, peer.Peer(7, 0, (0,)))) == {WARNING}
    assert levels("scanner_account", with_peer(look, peer.Peer(7, 3999999998, (5,)))) == {OK}
    mine = site.look()
    uid, _ = mine.service.runs_as
    assert levels("scanner_account", with_peer(mine, peer.Peer(7, uid, (5,)))) == {WARNING}


def test_a_socket_for_everybody(site: Site, clamd: KnowingClamd) -> None:
    site.clamd.chmod(0o666)
    site.directory.chmod(0o755)
    assert levels("scanner_socket", site.own()) == {WARNING}
    site.directory.chmod(0o750)
    assert levels("scanner_socket", site.own()) == {OK}
    assert levels("scanner_socket", site.own("--backup clamd:127.0.0.1")) == {OK}


def test_the_chroot_of_the_scanner(site: Site) -> None:
    look = site.own(f"-d {site.directory}/./spool")
    jailed = peer.Peer(7, 1000, (5,), str(site.directory))
    assert levels("scanner_chroot", with_peer(look, jailed)) == {OK}
    assert levels("scanner_chroot", with_peer(look, peer.Peer(7, 1000, (5,)))) == {ERROR}
    by_path = site.own(f"-s clamd+path:{site.clamd}")
    assert levels("scanner_chroot", with_peer(by_path, peer.Peer(7, 1000, (5,)))) == {OK}
    (bad,) = checks.load("scanner_chroot")(with_peer(by_path, jailed))
    assert bad.remedy == f"-d {site.directory}/./DIR"


def test_the_group_of_the_scanner(site: Site) -> None:
    look = site.own(f"-s clamd+path:{site.clamd}")
    gid = site.spool.stat().st_gid
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid,)))) == {OK}
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid + 5,)))) == {ERROR}
    site.spool.chmod(0o700)
    assert levels("scanner_group", with_peer(look, peer.Peer(7, 1000, (gid,)))) == {ERROR}


# clamd's settings.

CLAMD = ("clamd_limits", "clamd_alerts", "clamd_looks_inside", "clamd_scan_time", "clamd_threads")


def test_good_settings_are_in_order(site: Site) -> None:
    look = site.look()
    for name in CLAMD:
        assert levels(name, look) == {OK}, name


def test_without_clamd_its_settings_do_not_matter(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clamdconf, "PLACES", ())
    site.conf.unlink()
    for name in CLAMD:
        assert levels(name, site.look()) == set(), name
    site.change("clamd:@clamd", "clamd:127.0.0.1")
    assert site.look().conf is None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clamd_limits", "MaxFileSize 5M"),
        ("clamd_limits", "MaxScanSize 10240000"),
        ("clamd_alerts", "AlertExceedsMax no"),
        ("clamd_alerts", "AlertEncrypted false"),
        ("clamd_scan_time", "MaxScanTime 0"),
        ("clamd_scan_time", "MaxScanTime 900000"),
        ("clamd_threads", "MaxThreads 3"),
    ],
)
def test_settings_that_are_not_good(site: Site, name: str, line: str) -> None:
    site.conf.write_text(f"{line}\n{GOOD_CLAMD}")
    assert WARNING in levels(name, site.look())


def test_a_clamd_that_does_not_look_inside(site: Site) -> None:
    site.conf.write_text("ScanMail no\n")
    assert levels("clamd_looks_inside", site.look()) == {OK, ERROR}


def test_the_limit_for_streams_matters_for_streams(site: Site) -> None:
    site.conf.write_text(f"StreamMaxLength 1M\n{GOOD_CLAMD}")
    assert levels("clamd_limits", site.look()) == {OK}
    site.change("clamd:@clamd", "clamd+stream:@clamd")
    assert levels("clamd_limits", site.look()) == {OK, WARNING}


def test_how_many_come_at_a_time(site: Site) -> None:
    site.change("      10      pipe", "      -      pipe")
    assert levels("clamd_threads", site.look()) == {WARNING}
    site.change("--deadline", "--slots 5 --deadline")
    assert levels("clamd_threads", site.look()) == {OK}


# What is done with mail.


def test_deadlines(site: Site) -> None:
    assert levels("deadline", site.own()) == {OK}
    assert levels("deadline", site.own("--deadline 0")) == {WARNING}
    assert levels("deadline", site.own("-t 500 --deadline 450")) == {WARNING}


def test_programs(site: Site) -> None:
    assert levels("program", site.own()) == {OK}
    (site.bin / "avcheck").chmod(0o644)
    assert levels("program", site.own()) == {ERROR}
    (site.bin / "avcheck").unlink()
    assert levels("program", site.own()) == {ERROR}
    unknown = Look(given.Service("x", site.own().settings))
    assert levels("program", unknown) == set()
    assert levels("handler", unknown) == {WARNING}
    assert "was not looked at" in text("handler", unknown)


def test_handlers(site: Site) -> None:
    assert levels("handler", site.own()) == {OK}
    assert levels("handler", site.own("-i /nowhere/at/all")) == {ERROR}
    (site.bin / "infected.sh").unlink()
    assert levels("handler", site.own()) == {ERROR}
    verdicts = ("infected", "suspicious", "policy", "encrypted", "unscannable")
    assert levels("handler", site.own(" ".join(f"--on {each}=defer" for each in verdicts))) == set()


def test_quarantines(site: Site) -> None:
    look = site.own("--on infected=quarantine:@spool/q")
    assert levels("quarantine", site.own()) == set()
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").chmod(0o755)
    assert levels("quarantine", look) == {ERROR}
    assert levels("quarantine", site.own("--on infected=quarantine:/nowhere/q")) == {ERROR}


def test_what_is_delivered(site: Site) -> None:
    assert levels("delivers_unproved", site.own()) == {OK}
    look = site.own("--on failed=deliver")
    assert levels("delivers_unproved", look) == {WARNING}
    (result,) = checks.load("delivers_unproved")(look)
    assert result.remedy == "--on failed=defer"


# The way back.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", set()),
        ("-S @bin/sendmail -S -i", {OK}),
        ("-S @bin/sendmail -S -oi", {OK}),
        ("-S @bin/infected.sh", {OK}),
        ("-S @bin/sendmail", {ERROR}),
        ("-S @bin/sendmail -S -i -S -t", {ERROR}),
        ("-S /nowhere/sendmail -S -i", {ERROR}),
    ],
)
def test_the_words_of_sendmail(site: Site, words: str, expected: set[str]) -> None:
    assert levels("sendmail_words", site.own(words)) == expected


def test_a_mail_server_that_answers(site: Site) -> None:
    with FakeSmtp() as smtp:
        assert levels("reinjection_answers", site.own(f"-S {smtp.where}")) == {OK}
        look = site.own(f"-S {smtp.where} --xforward NAME=x")
        assert levels("reinjection_answers", look) == {OK, WARNING}
        look = site.own(f"-S {smtp.where} --tls require")
        assert levels("reinjection_answers", look) == {OK, ERROR}
        assert levels("reinjection_answers", site.own("-n")) == set()


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


# master.cf and main.cf.

PIPE = [name for name, module in checks.CHECKS.items() if module == "pipe"]


def test_a_good_postfix_is_in_order(site: Site) -> None:
    look = site.look()
    for name in PIPE:
        assert levels(name, look) <= {OK}, name


def test_without_postfix_there_is_nothing_to_say(site: Site) -> None:
    look = Look(site.own().service)
    for name in PIPE:
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
        ("filter_used", "content_filter", ""),
        ("filter_mappings", "receive_override_options", "no_milters"),
    ],
)
def test_parameters_that_are_not_good(site: Site, name: str, parameter: str, value: str) -> None:
    site.main[parameter] = value
    assert WARNING in levels(name, site.look())


def test_the_time_limit_of_all_commands_counts_where_there_is_no_other(site: Site) -> None:
    del site.main["avcheck_time_limit"]
    site.main["command_time_limit"] = "5m"
    assert levels("pipe_time_limit", site.look()) == {ERROR}
    assert pipe_checks.seconds("never") == 0.0


def test_the_safety_net(site: Site) -> None:
    del site.main["pipe_delivery_status_filter"]
    assert levels("safety_net", site.look()) == {OK}  # the guard
    site.main["soft_bounce"] = "yes"
    assert levels("safety_net", site.look()) == {OK}
    site.change("@libexec/avcheck-guard ", "")
    assert levels("safety_net", site.look()) == {WARNING}
    (result,) = checks.load("safety_net")(site.look())
    # What an empty command leaves is 0, and no net catches that.
    assert (result.level, result.text) == (WARNING, "while avcheck is replaced, mail can be lost")
    del site.main["soft_bounce"]
    (result,) = checks.load("safety_net")(site.look())
    assert result.text.endswith(", and if Python cannot start, Postfix bounces it")
    assert f"argv={postfix.GUARD} {site.bin}/avcheck ..." in result.remedy


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
    assert (pipe.words[0], pipe.words[-1]) == ("-d", "${recipient}")
    service = site.look().service
    assert service.wrong == ""
    assert service.program == site.filled("@bin/avcheck")
    assert levels("pipe_arguments", site.look()) == {OK}
    assert levels("handler", site.look()) == {OK}


def test_the_guard_and_its_avcheck_are_both_looked_at(site: Site) -> None:
    site.user = US
    assert levels("program", site.look()) == {OK}
    site.guard.chmod(0o644)
    assert levels("program", site.look()) == {OK, ERROR}
    site.guard.unlink()
    (site.bin / "avcheck").unlink()
    assert levels("program", site.look()) == {ERROR}
    assert levels("guard", site.look()) == set()


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


# What postconf(1), clamconf(1) and /proc say.


def test_lines_of_master_cf() -> None:
    line = postfix.parse_line(
        "a unix - n n - 10 pipe -o { x = a, b } -o y=$z"
        " user=u argv=/b/avcheck -h {a b} -- ${recipient}"
    )
    assert line.overrides == {"x": "a, b", "y": "$z"}
    pipe = postfix.parse_pipe(line)
    assert pipe is not None
    assert (pipe.user, pipe.group) == ("u", "")
    assert pipe.argv == ("/b/avcheck", "-h", "a b", "--", "${recipient}")
    assert pipe.expanded()[-1] == "recipient@example.org"
    assert Postfix((line,), {"z": "7"}).value("y", line) == "7"
    for other in ("argv=/bin/true", "user=x", "argv="):
        assert postfix.parse_pipe(postfix.parse_line(f"a unix - n n - 10 pipe {other}")) is None
    with pytest.raises(Trouble, match="not a service"):
        postfix.parse_line("a unix -")


def test_clamd_conf_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = clamdconf.Conf("x", clamdconf.parse('# c\nMaxFileSize "5M"\nMaxFileSize 6M\nDebug\n'))
    assert conf.number("MaxFileSize") == 5 * 1024**2
    assert conf.is_on("Debug")
    assert conf.number("MaxFiles") == 10000
    assert conf.number("LogFile") == 0
    assert clamdconf.read(str(tmp_path / "no"), os.geteuid()) is None
    monkeypatch.setattr(clamdconf, "PLACES", (str(tmp_path / "no"), str(tmp_path / "scan.conf")))
    assert clamdconf.of("", None) is None
    (tmp_path / "scan.conf").write_text("MaxThreads 3\n")
    found = clamdconf.of("", None)
    assert found is not None
    assert found.number("MaxThreads") == 3


def test_clamd_says_where_its_settings_are() -> None:
    assert clamdconf.from_argv(("clamd", "--config-file=/x")) == "/x"
    assert clamdconf.from_argv(("clamd", "-c", "/x")) == "/x"
    assert clamdconf.from_argv(("clamd", "-c")) == ""
    assert clamdconf.from_argv(("clamd", "--foreground=true")) == ""


def test_what_clamconf_says() -> None:
    said = (
        'Checking\n\nConfig file: freshclam.conf\n----\nMaxFiles = "1"\n\n'
        'Config file: clamd.conf\n-----\nMaxFiles = "7"\nAlertEncrypted disabled\nA = b\n\n'
        'MaxFiles = "9"\n'
    )
    assert clamdconf.parse_clamconf(said) == {"MaxFiles": "7", "AlertEncrypted": "no", "A": "b"}


def test_clamconf_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "clamconf"
    said = 'Config file: clamd.conf\\nMaxFiles = "7"\\nMaxScanTime disabled\\n'
    program.write_text(f"#!/bin/sh\nprintf '{said}'\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "clamd.conf").write_text("MaxThreads 3\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    conf = clamdconf.read(str(tmp_path / "clamd.conf"), os.geteuid())
    assert conf is not None
    assert conf.number("MaxFiles") == 7
    assert conf.number("MaxThreads") == 3
    assert conf.number("MaxScanTime") == 120000  # clamd's own, not clamconf's


def test_a_listener_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found = peer.process(peer.listener(bytes(tmp_path / "s")))
    assert found is not None
    assert (found.pid, found.user) == (os.getpid(), US)
    assert found.root == os.readlink("/proc/self/root")
    assert peer.listener(bytes(tmp_path / "no")) == 0
    assert peer.process(2**30) is None
    assert peer.only("no such program") == 0
    assert peer.Peer(1, 3999999998, ()).user == "3999999998"


def test_a_listener_that_systemd_made_is_looked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "SYSTEMD", os.getpid())
    monkeypatch.setattr(peer, "only", lambda name: os.getpid() if name == "clamd" else 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found = peer.process(peer.listener(bytes(tmp_path / "s")))
    assert found is not None
    assert found.pid == os.getpid()


# The command.


def doctor(site: Site, *words: str) -> tuple[int, str]:
    said = avcheckctl(
        "doctor", "--clamd-conf", site.conf, "-s", f"clamd:{site.clamd}", "-d", site.spool, *words
    )
    return said.status, said.out


def test_doctor_says_what_to_correct(site: Site, clamd: KnowingClamd) -> None:
    with FakeSmtp() as smtp:
        status, out = doctor(site, "-S", smtp.where, "-i", str(site.bin / "infected.sh"), "--", "x")
        assert status == 0
        assert f"-w {site.spool}/wait" in out
        assert " errors" in out
        assert "[deadline]" not in out
        status, out = doctor(site, "-S", smtp.where, "-i", "/nowhere/at/all", "--all")
        assert status == 1
        assert "[deadline]" in out
        assert "0 errors" not in out


def test_doctor_prints_json(site: Site, clamd: KnowingClamd) -> None:
    said = avcheckctl(
        "doctor", "-s", f"clamd:{site.clamd}", "-d", site.spool, "--json", "-S", "unix:/nowhere"
    )
    assert said.status == 1
    errors = [each["check"] for each in said.facts if each["level"] == "error"]
    assert "reinjection_answers" in errors
    assert all(set(each) == {"service", "check", "level", "text", "remedy"} for each in said.facts)


def test_doctor_says_what_it_may_not_see(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from avcheck.admin import doctor as module

    def refuse(look: Look) -> Iterator[checks.Result]:
        raise PermissionError(13, "Permission denied", "/proc/1/root")

    monkeypatch.setattr(checks, "load", lambda name: refuse)
    (result,) = module._results("program", site.own())
    assert result.remedy == "run this as root"


@pytest.fixture
def fake_postconf(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A postconf(1) that says what the site has."""
    (site.directory / "lines").write_text(site.filled(site.master))
    (site.directory / "parameters").write_text(
        "".join(f"{name} = {value}\n" for name, value in site.main.items())
    )
    program = site.directory / "postconf"
    program.write_text(
        "#!/bin/sh\ncd '" + str(site.directory) + "'\n"
        'case "$1 $2" in "-c /good") shift 2 ;; -c*) echo no such directory >&2; exit 1 ;; esac\n'
        "case $1 in -M) cat lines ;; -x) cat parameters ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(postfix, "PLACES", str(site.directory))
    return program


def test_postfix_is_asked_by_postconf(site: Site, fake_postconf: Path) -> None:
    said = avcheckctl("doctor", "--postfix=/good", "--json")
    found = {each["check"]: each["level"] for each in said.facts}
    assert found["pipe_flags"] == OK
    assert said.facts[0]["service"] == "avcheck"
    assert avcheckctl("resume", "--postfix").status == 0


def test_postfix_that_cannot_be_asked(
    site: Site, fake_postconf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = avcheckctl("doctor", "--postfix=/bad")
    assert said.status == 2
    assert "no such directory" in said.err
    (site.directory / "lines").write_text("smtp inet n - y - - smtpd\n")
    said = avcheckctl("doctor", "--postfix")
    assert said.status == 2
    assert "avcheckctl setup postfix" in said.err
    monkeypatch.setattr(postfix, "PLACES", "/nowhere")
    assert "is Postfix installed" in avcheckctl("doctor", "--postfix").err


def test_a_service_that_cannot_run_at_all(site: Site, fake_postconf: Path) -> None:
    (site.directory / "lines").write_text(site.filled(site.master.replace("--deadline", "--dead")))
    said = avcheckctl("doctor", "--postfix", "--json")
    assert said.status == 1
    (result,) = said.facts
    assert "no such option: --dead" in result["text"]
    said = avcheckctl("ping", "--postfix")
    assert said.status == 2
    assert "no such option: --dead" in said.err


def test_a_service_without_a_waitfile_cannot_be_paused(site: Site, fake_postconf: Path) -> None:
    (site.directory / "lines").write_text(site.filled(site.master.replace("-w @spool/wait", "")))
    said = avcheckctl("pause", "--postfix")
    assert said.status == 2
    assert "add -w" in said.err


def test_every_check_has_a_sentence_and_was_made_to_fire_and_not_to() -> None:
    assert all(checks.load(name).__doc__ for name in checks.CHECKS)
    if len(SEEN) < len(checks.CHECKS):
        pytest.skip("not all the tests above were run")
    for name in checks.CHECKS:
        assert OK in SEEN[name], name
        assert SEEN[name] & {WARNING, ERROR}, name
