"""avcheckctl doctor: what the account can do, and whether Postfix lets it."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from avcheck.admin import peer
from avcheck.admin.checks import program, running
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.admin import avcheckctl
from tests.support.doctor_site import SENDMAIL, SOMEBODY, US, Site, found, levels, text

COLUMNS = "avcheck   unix  -       n       n"


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ("avcheck   unix  -       y       n", "unprivileged"),
        ("avcheck   unix  -       -       n", "unprivileged"),
        ("avcheck   unix  -       n       y", "chroot"),
    ],
)
def test_columns_that_keep_avcheck_from_running(site: Site, columns: str, field: str) -> None:
    assert levels("pipe_columns", site.look()) == {OK}
    (result,) = found("pipe_columns", site.change(COLUMNS, columns).look())
    assert (result.level, result.remedy) == (ERROR, f"postconf -F 'avcheck/unix/{field}=n'")


def test_a_chroot_column_that_is_open_is_as_postfix_has_it(site: Site) -> None:
    site.change(COLUMNS, "avcheck   unix  -       n       -")
    assert levels("pipe_columns", site.look()) == {OK}
    site.main["compatibility_level"] = "0"
    assert levels("pipe_columns", site.look()) == {ERROR}


@pytest.mark.parametrize("group", ["postdrop", "root", "no-such-group"])
def test_groups_that_pipe_refuses(site: Site, group: str) -> None:
    if group == "postdrop" and all(each.gr_name != group for each in grp.getgrall()):
        pytest.skip("Postfix has no group here")
    site.change("user=@user", f"user=@user:{group}")
    look = site.look()
    (result,) = found("pipe_user", look)
    assert result.level == ERROR
    assert result.remedy.startswith(f"user={SOMEBODY}")
    assert group not in result.remedy
    assert look.service.runs_as[0] != 0  # which is the account's, whatever its group


def test_an_account_with_a_typing_error(site: Site) -> None:
    site.user = SOMEBODY[:-1] if len(SOMEBODY) > 3 else f"{SOMEBODY}x"
    (result,) = found("pipe_user", site.look())
    assert result.level == ERROR
    assert result.remedy.startswith("user=")
    site.user = "nothing-like-it"
    (result,) = found("pipe_user", site.look())
    assert result.remedy.startswith("useradd --system")


def test_a_waitfile_with_a_relative_path_or_a_plain_one(site: Site) -> None:
    assert levels("waitfile", site.own("-w wait")) == {ERROR}
    assert levels("waitfile", site.own()) == {OK}
    (site.spool / "wait").touch()
    os.utime(site.spool / "wait", (time() - 7300, time() - 7300))
    assert "since 2 h" in text("waitfile", site.own())


def test_files_that_the_account_cannot_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = site.directory / "ca.pem"
    ca.touch()
    words = f"--scanner-ca {ca}"
    assert levels("files_readable", site.own()) == set()
    assert levels("files_readable", site.own(words)) == {OK}
    real = os.open

    def refuse(path: bytes, *rest: int, **words: int) -> int:
        if os.fsencode(path) == bytes(ca):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **words)

    look = site.own(words)
    monkeypatch.setattr(os, "open", refuse)
    (result,) = found("files_readable", look)
    assert (result.level, f"{ca}: Permission denied" in result.text) == (ERROR, True)
    assert levels("files_readable", look) == {ERROR}


@pytest.mark.parametrize("spelled", ["--config {}", "--config={}"])
def test_the_file_of_config_is_looked_at(site: Site, spelled: str) -> None:
    file = site.directory / "avcheck.conf"
    file.write_text("deadline 450\n")
    site.user = US
    site.change("--deadline 450", spelled.format(file))
    (result,) = found("files_readable", site.look())
    assert (result.level, result.text) == (OK, f"{file} can be read")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_a_file_of_config_that_the_account_may_not_read(site: Site) -> None:
    """Its group is let in, where it is a file; what is above it is shown."""
    file, group = site.directory / "avcheck.conf", grp.getgrgid(pwd.getpwnam(SOMEBODY).pw_gid)
    file.write_text("deadline 450\n")
    file.chmod(0o600)
    os.chown(site.spool, pwd.getpwnam(SOMEBODY).pw_uid, -1)
    look = site.change("--deadline 450", f"--config {file}").look()
    (result,) = found("files_readable", look)
    assert (result.level, result.text) == (
        ERROR, f"--config {file}: Permission denied for {SOMEBODY}, and all mail waits",
    )  # fmt: skip
    assert result.remedy == f"chgrp {group.gr_name} {file} && chmod g+r {file}"
    file.unlink()
    (result,) = found("files_readable", look)
    assert result.remedy == f"namei -l {file}"
    file.mkdir(mode=0o700)
    (result,) = found("files_readable", look)
    assert result.remedy == f"namei -l {file}"


def test_counters_that_cannot_be_written(site: Site) -> None:
    assert levels("metrics_written", site.own()) == set()
    assert levels("metrics_written", site.own("--metrics @spool/m.prom")) == {OK}
    assert levels("metrics_written", site.own("--metrics /nowhere/m.prom")) == {WARNING}
    assert levels("metrics_written", site.own("--metrics m.prom")) == {WARNING}


def test_a_handler_without_its_interpreter(site: Site) -> None:
    (site.bin / "infected.sh").write_text("#!/nowhere/sh -u\n")
    (result,) = found("handler", site.own())
    assert result.level == ERROR
    assert result.remedy == f"sed -i '1s|^#! *[^ ]*|#!/bin/sh|' {site.bin}/infected.sh"
    (site.bin / "other").write_text("#!/nowhere/python -u\n")
    (site.bin / "other").chmod(0o755)
    (result,) = found("handler", site.own(f"-i {site.bin}/other"))
    assert (result.level, result.remedy) == (ERROR, "namei -l /nowhere/python")
    (site.bin / "infected.sh").chmod(0o644)
    (result,) = found("handler", site.own())
    assert result.remedy == f"chmod 755 {site.bin}/infected.sh"
    assert "may not be run" in result.text
    (site.bin / "infected.sh").unlink()
    (result,) = found("handler", site.own())
    assert "chmod" not in result.remedy
    assert "is not there" in result.text
    assert program.interpreter_of(b"/nowhere") == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="a virtual environment of root's")
def test_what_is_in_the_way_of_the_program(site: Site) -> None:
    """The remedy is for a virtual environment of root's only: it opens files to everybody."""
    avcheck = site.bin / "avcheck"
    avcheck.write_text("#!/nowhere/python -I\necho avcheck 1.0.0\n")
    module = site.directory / "module.py"
    module.touch(mode=0o600)
    (result,) = found("program", site.own())
    assert result.remedy.startswith("runuser")
    (site.directory / "pyvenv.cfg").touch()
    for path in site.directory.rglob("*"):
        if path != module and not path.is_symlink():
            path.chmod(0o755)
    site.directory.chmod(0o755)
    (result,) = found("program", site.own())
    assert result.remedy == f"chmod -R go+rX {module}"
    module.chmod(0o644)
    (result,) = found("program", site.own())
    assert result.remedy.startswith("runuser")
    module.chmod(0o600)
    look = site.own()
    os.chown(site.directory, 65534, -1)
    (result,) = found("program", look)
    assert "chmod" not in result.remedy


PLAYED = """\
import os, sys, time
open(f"/proc/self/comm", "w").write("master")
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees when Postfix was started")
def test_a_postfix_that_has_not_read_its_files(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    site.main["queue_directory"] = str(tmp_path)
    assert levels("postfix_reloaded", site.look()) == {WARNING}
    words = [sys.executable, "-c", PLAYED, str(tmp_path / "pid" / "master.pid")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as played:
        try:
            assert played.stdout
            played.stdout.readline()
            look = site.look()
            for name in ("main.cf", "master.cf"):
                os.utime(site.config / name, (0, 0))
            assert levels("postfix_reloaded", look) == {OK}
            os.utime(site.config / "main.cf")
            os.utime(site.config / "main.cf", (time() + 9, time() + 9))
            assert levels("postfix_reloaded", look) == {WARNING}
            os.utime(site.config / "master.cf", (time() + 9, time() + 9))
            (result,) = found("postfix_reloaded", look)
            assert (result.level, result.remedy) == (ERROR, f"postfix -c {site.config} reload")
        finally:
            played.kill()
    assert peer.children(os.getpid(), "no such") == []
    assert running.MANAGER == "qmgr"


def test_who_reads_postfix_as_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look = site.look()
    monkeypatch.setattr(os, "geteuid", lambda: 3999999997)
    assert levels("postfix_reloaded", look) == {SKIPPED}


@pytest.mark.parametrize("argv", ["@bin/avchek", "/usr/bin/python3 -m avcheck"])
def test_what_looks_like_avcheck_is_named(site: Site, argv: str) -> None:
    site.change("@libexec/avcheck-guard @bin/avcheck", argv).postfix()
    said = avcheckctl("doctor", f"--postfix={site.config}")
    assert said.status == 2
    assert "avcheck looks like it, with argv=" in said.err


def test_what_looks_like_avcheck_smtp_is_named(site: Site) -> None:
    spawn = "127.0.0.1:10025 inet n n n - 10 spawn\n    user=x argv=/x/avchek-smtp --config /y\n"
    site.change("@libexec/avcheck-guard @bin/avcheck", "/bin/cat")
    site.main["content_filter"] = "scan:[127.0.0.1]:10025"
    site.master += spawn
    instance = site.postfix()
    assert instance.looks_like_one() == (
        "; 127.0.0.1:10025 looks like it, with argv=/x/avchek-smtp --config /y"
    )


def test_the_account_of_postfix_itself(site: Site) -> None:
    site.main["mail_owner"] = SOMEBODY
    (result,) = found("pipe_user", site.look())
    assert (result.level, result.remedy) == (ERROR, "user=avclient:avgroup")


def test_a_group_that_is_not_there_is_answered_with_the_accounts_own(site: Site) -> None:
    own = grp.getgrgid(pwd.getpwnam(SOMEBODY).pw_gid).gr_name
    site.change("user=@user", "user=@user:nogroupofthatname")
    (result,) = found("pipe_user", site.look())
    assert (result.level, result.remedy) == (ERROR, f"user={SOMEBODY}:{own}")


def test_how_recipients_share_a_run_is_said(site: Site) -> None:
    assert text("pipe_recipients", site.look()).endswith("have a run each")
    site.change(*SENDMAIL).main["avcheck_destination_recipient_limit"] = "7"
    assert text("pipe_recipients", site.look()).endswith("share a run, up to 7")


@pytest.mark.parametrize("parameter", ["setgid_group", "mail_owner"])
def test_a_group_of_postfixs_own(site: Site, parameter: str) -> None:
    own = grp.getgrgid(pwd.getpwnam(SOMEBODY).pw_gid).gr_name
    site.user = f"{SOMEBODY}:{own}"
    assert levels("pipe_user", site.look()) == {OK}
    if parameter == "setgid_group" or own != SOMEBODY:
        site.main[parameter] = own
        assert "refuses the group" in text("pipe_user", site.look())


# Half of its name: enough for the owner of the spool directory, and for nobody else.
HALF = SOMEBODY[: len(SOMEBODY) // 2]


def meant(site: Site, user: str, owner: str) -> str:
    """What doctor says of an account that is not there, where the spool directory has an owner."""
    site.user = user
    look = site.look()
    look.__dict__["spool_owner"] = pwd.getpwnam(owner).pw_uid
    (result,) = found("pipe_user", look)
    return result.remedy


@pytest.mark.parametrize(
    ("user", "owner", "remedy"),
    [
        # The owner of the spool directory is meant by a name that is rather like his.
        (HALF, SOMEBODY, f"user={SOMEBODY}"),
        (HALF, "root", "useradd"),
        # Not by one that is quite another.
        ("filter", SOMEBODY, "useradd"),
        # One that is very like another account's, whoever owns the directory.
        (f"{SOMEBODY}x", "root", f"user={SOMEBODY}"),
        (f"{SOMEBODY}x", "nobody", f"user={SOMEBODY}"),
        # What others use is nobody's account for mail, nor is root's.
        ("nobodi", "nobody", "useradd"),
        ("roots", "root", "useradd"),
        ("clamaf", "clamav", "useradd"),
    ],
)
def test_which_account_is_meant(site: Site, user: str, owner: str, remedy: str) -> None:
    assert meant(site, user, owner).startswith(remedy)


def test_a_postfix_in_its_usual_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look = site.look()
    assert look.postfix
    monkeypatch.setattr(running, "USUAL", str(site.config))
    monkeypatch.setattr(running, "_master", lambda postfix: os.getpid())
    there = replace(look, postfix=replace(look.postfix, directory=""))
    for name in ("main.cf", "master.cf"):
        os.utime(site.config / name, (0, 0))
    assert levels("postfix_reloaded", there) == {OK}
    os.utime(site.config / "master.cf", (time() + 9, time() + 9))
    (result,) = found("postfix_reloaded", there)
    assert (result.level, result.remedy) == (ERROR, "postfix reload")


def test_an_account_with_a_typing_error_keeps_its_group(site: Site) -> None:
    own = grp.getgrgid(pwd.getpwnam(SOMEBODY).pw_gid).gr_name
    for group, remedy in ((own, f"user={SOMEBODY}:{own}"), ("nogroup0", f"user={SOMEBODY}")):
        site.user = f"{SOMEBODY}x:{group}"
        (result,) = found("pipe_user", site.look())
        assert (result.level, result.remedy) == (ERROR, remedy)
