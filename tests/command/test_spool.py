"""The spool directory: what is not safe is not used, what is full defers, nothing is left in it."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import unix
from avcheck.directory import Directory
from avcheck.seen import FRONT
from tests.conftest import NOBODY
from tests.support.mta import MAIL, Site

ROOT = os.geteuid() == 0
FOUND = b"Eicar-Test-Signature FOUND"

NO_ACCOUNT = 4_000_000_000

root_only = pytest.mark.skipif(not ROOT, reason="only root can mount, and give files away")


def assert_not_used(site: Site, directory: Path, *words: str) -> None:
    site.assert_kept(site.deliver(spool=directory), *words)
    assert site.scanner.questions == []


def test_a_missing_directory(site: Site, tmp_path: Path) -> None:
    assert_not_used(site, tmp_path / "none", "4.3.5", "no such directory", "create it")


def test_a_file_is_no_directory(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_not_used(site, tmp_path / "file", "4.3.5", "not a directory")


@pytest.mark.parametrize("slash", ["", "/", "//", "/.", "/./"])
def test_a_symbolic_link_is_named_with_its_target(site: Site, tmp_path: Path, slash: str) -> None:
    """Whoever may change the link could send the mail anywhere."""
    (tmp_path / "link").symlink_to(site.spool)
    ended = site.deliver(spool=f"{tmp_path}/link{slash}")
    site.assert_kept(ended, "4.3.5", "a symbolic link", str(site.spool))


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o770, 0o720], ids=oct)
def test_a_directory_that_others_can_write_to(site: Site, mode: int) -> None:
    site.spool.chmod(mode)
    assert_not_used(site, site.spool, "4.3.5", "others", "chmod g-w,o-w")


@pytest.mark.parametrize("mode", [0o700, 0o710, 0o750, 0o755, 0o2710], ids=oct)
def test_a_directory_that_others_can_only_read(site: Site, mode: int) -> None:
    site.spool.chmod(mode)
    assert site.deliver().status == 0


@root_only
def test_a_directory_of_somebody_else(site: Site) -> None:
    os.chown(site.spool, NOBODY, -1)
    owner = pwd.getpwuid(NOBODY).pw_name
    text = f"belongs to {owner} and not to root: run avcheck as {owner}"
    assert_not_used(site, site.spool, "4.3.5", text)


@root_only
def test_no_remedy_gives_root_a_directory_of_nobodys(site: Site) -> None:
    os.chown(site.spool, NO_ACCOUNT, -1)
    text = "no such account: chown it to the account that is to run avcheck"
    assert_not_used(site, site.spool, "4.3.5", f"belongs to {NO_ACCOUNT} and not to root", text)


@root_only
def test_an_account_is_told_whose_the_directory_is(unprivileged: Site) -> None:
    unprivileged.spool.chmod(0o755)
    os.chown(unprivileged.spool, NO_ACCOUNT, -1)
    us = pwd.getpwuid(NOBODY).pw_name
    assert_not_used(unprivileged, unprivileged.spool, "4.3.5", f"chown it to {us}")


@root_only
def test_a_directory_of_root_that_our_group_can_write_to(unprivileged: Site) -> None:
    assert unprivileged.user
    os.chown(unprivileged.spool, 0, unprivileged.user)
    unprivileged.spool.chmod(0o750)
    unprivileged.assert_kept(unprivileged.deliver(), "Permission denied", str(unprivileged.spool))
    unprivileged.spool.chmod(0o770)
    assert unprivileged.deliver().status == 0


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500], ids=oct)
def test_a_directory_that_we_cannot_use(unprivileged: Site, mode: int) -> None:
    unprivileged.spool.chmod(mode)
    ended = unprivileged.deliver()
    unprivileged.spool.chmod(0o700)
    unprivileged.assert_kept(ended, "Permission denied", str(unprivileged.spool))


# Full.


@pytest.fixture
def tiny(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site whose spool directory is a file system of its own, as large as the test says."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=700,{request.param}", "tmpfs", site.spool], check=True
    )
    try:
        yield site
    finally:
        subprocess.run(["umount", site.spool], check=True)


@root_only
@pytest.mark.parametrize("tiny", ["size=256k"], indirect=True)
@pytest.mark.parametrize("kind", ["clamd", "clamd+path"])
def test_a_full_disk_defers_until_there_is_room(tiny: Site, kind: str) -> None:
    scanner = f"{kind}:{tiny.scanner.where}"
    message = MAIL + b"x" * 300_000
    ended = tiny.deliver(message=message, scanners=[scanner])
    tiny.assert_kept(ended, "4.3.1", str(tiny.spool), "No space left")
    assert tiny.scanner.questions == []
    assert tiny.deliver(scanners=[scanner]).status == 0


@root_only
@pytest.mark.parametrize("tiny", ["size=256k"], indirect=True)
@pytest.mark.parametrize("copy", ["handler", "sendmail -h"])
def test_no_room_for_a_second_copy(tiny: Site, copy: str) -> None:
    message = MAIL + b"x" * 200_000
    if copy == "handler":
        tiny.clamd(says=FOUND)
        program = tiny.handler()
    else:
        program = tiny.sendmail()
    tiny.assert_kept(tiny.deliver("-h", "x", message=message), "4.3.1", "No space left")
    assert program.calls == 0


@root_only
@pytest.mark.parametrize("tiny", ["nr_inodes=2"], indirect=True)
@pytest.mark.parametrize("copy", ["handler", "sendmail -h"])
def test_no_inode_for_a_second_copy(tiny: Site, copy: str) -> None:
    if copy == "handler":
        tiny.clamd(says=FOUND)
        program = tiny.handler()
    else:
        program = tiny.sendmail()
    tiny.assert_kept(tiny.deliver("-h", "x"), "4.3.1", "No space left")
    assert program.calls == 0


@root_only
@pytest.mark.parametrize("tiny", ["nr_inodes=1"], indirect=True)
@pytest.mark.parametrize("kind", ["clamd", "clamd+path"])
def test_no_inode_at_all(tiny: Site, kind: str) -> None:
    ended = tiny.deliver(scanners=[f"{kind}:{tiny.scanner.where}"])
    tiny.assert_kept(ended, "4.3.1", "No space left")


@root_only
@pytest.mark.parametrize("tiny", ["size=256k"], indirect=True)
def test_a_read_only_file_system(tiny: Site) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny.spool], check=True)
    tiny.assert_kept(tiny.deliver(), "Read-only file system", str(tiny.spool))


def test_a_file_size_limit_is_no_death_by_signal(site: Site) -> None:
    site.surround({})  # coverage's files have to be larger
    limit = ["/bin/sh", "-c", 'ulimit -f 64; exec "$0" "$@"']
    ended = site.start([*limit, *site.words()]).end(MAIL + b"x" * 100_000)
    site.assert_kept(ended, "4.3.1", "File too large")


# With a name.


def test_a_named_file_is_readable_by_the_group_and_by_nobody_else(site: Site) -> None:
    group = 54321 if ROOT else os.getgid()
    os.chown(site.spool, -1, group)
    site.spool.chmod(0o710)
    assert site.deliver(scanners=[f"clamd+path:{site.scanner.where}"]).status == 0
    (question,) = site.scanner.questions
    assert question.path.startswith(os.fsencode(site.spool) + b"/avcheck.")
    assert question.content == FRONT + MAIL
    assert question.status
    assert stat.S_IMODE(question.status.st_mode) == 0o640
    assert question.status.st_gid == group
    assert question.status.st_uid == os.geteuid()
    assert question.status.st_nlink == 1
    assert site.left == []


@pytest.mark.parametrize("kind", ["clamd", "clamd+stream"])
def test_otherwise_the_file_has_no_name(site: Site, kind: str) -> None:
    site.clamd(hold="asked")
    running = site.start(site.words(scanners=[f"{kind}:{site.scanner.where}"]))
    running.feed()
    site.scanner.arrived()
    assert site.left == []
    running.process.kill()
    running.process.wait()
    assert site.left == []
    (question,) = site.scanner.questions
    assert question.way == ("FILDES" if kind == "clamd" else "INSTREAM")
    if question.status:
        assert question.status.st_nlink == 0


def test_a_descriptor_is_for_reading_only(site: Site) -> None:
    assert site.deliver().status == 0
    assert [question.writable for question in site.scanner.questions] == [False]
    assert site.delivered


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_scanner_in_a_chroot_is_told_its_own_path(site: Site, tmp_path: Path, slash: str) -> None:
    site.clamd(root=str(tmp_path))
    assert site.deliver(spool=f"{tmp_path}/./spool{slash}").status == 0
    (question,) = site.scanner.questions
    assert question.way == "SCAN"
    assert question.path.startswith(b"/spool/avcheck.")
    assert site.left == []


def test_a_handler_is_told_the_real_path_of_a_chroot(site: Site, tmp_path: Path) -> None:
    site.clamd(root=str(tmp_path), says=FOUND)
    handler = site.handler()
    assert site.deliver(spool=f"{tmp_path}/./spool").status == 0
    assert os.path.dirname(handler.argv[1]) == os.fsencode(site.spool)
    assert handler.note("message") == MAIL
    assert site.left == []


def test_a_file_system_without_nameless_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS, for instance; the file has its name for two system calls only."""
    real = os.open
    asked: list[int] = []

    def without(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            asked.append(flags)
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, mode, dir_fd=dir_fd)

    tmp_path.chmod(0o700)
    with Directory(os.fsencode(tmp_path)) as directory:
        monkeypatch.setattr(unix, "open", without)
        fd = directory.nameless()
        assert asked
        assert os.listdir(tmp_path) == []
        assert os.fstat(fd).st_nlink == 0
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
        os.close(fd)


def test_an_error_that_is_no_missing_feature_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    tmp_path.chmod(0o700)
    with Directory(os.fsencode(tmp_path)) as directory:
        monkeypatch.setattr(unix, "open", full)
        with pytest.raises(OSError, match="No space"):
            directory.nameless()
