"""Directories opened for the administrator: what is followed, what is refused, who acts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from avcheck.admin import places
from avcheck.admin.output import Trouble

NOBODY = 65534
ROOT = os.geteuid() == 0

as_root = pytest.mark.skipif(not ROOT, reason="only root can be somebody else")


def inode(folder: places.Folder) -> tuple[int, int]:
    status = os.fstat(folder.fd)
    return status.st_dev, status.st_ino


def is_found(path: bytes | Path, directory: Path) -> bool:
    with places.walk(bytes(path)) as folder:
        status = directory.stat()
        return inode(folder) == (status.st_dev, status.st_ino)


def test_a_directory_is_found_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for path in (b"a/b", b"a/./b/", b"a//b/.", b"a/b/../../a/b", bytes(inner) + b"/./"):
        assert is_found(path, inner), path
    assert is_found(b"", tmp_path)
    assert is_found(b"/", Path("/"))


def test_a_whole_path_needs_no_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert is_found(tmp_path, tmp_path)
    assert places.split(bytes(tmp_path / "wait")) == (bytes(tmp_path), b"wait")


def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data" / "spool").mkdir(parents=True)
    (tmp_path / "one").symlink_to("data")
    (tmp_path / "two").symlink_to(tmp_path / "one" / "spool")
    (tmp_path / "data" / "back").symlink_to("../two")
    for path in ("one/spool", "two", "one/back", "one/back/../spool"):
        assert is_found(tmp_path / path, tmp_path / "data" / "spool"), path


def test_links_without_end_are_no_directory(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        places.walk(bytes(tmp_path / "loop"))


def test_what_is_not_there_or_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        places.walk(bytes(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        places.read(bytes(tmp_path / "file" / "x"), 9)
    with pytest.raises(FileNotFoundError):
        places.walk(bytes(tmp_path / "no"))
    with pytest.raises(Trouble, match="No such file"), places.opened(bytes(tmp_path / "no")):
        pass
    with pytest.raises(IsADirectoryError):
        places.read(bytes(tmp_path), 9)
    assert places.owner(bytes(tmp_path / "no" / "such")) == tmp_path.stat().st_uid


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 9)
    (tmp_path / "link").symlink_to("file")
    assert places.read(bytes(tmp_path / "file"), 9) == b"x" * 9
    assert places.read(bytes(tmp_path / "link"), 9) == b"x" * 9  # our own
    with pytest.raises(OSError, match="larger than 8 bytes"):
        places.read(bytes(tmp_path / "file"), 8)
    with pytest.raises(FileNotFoundError):
        places.read(bytes(tmp_path / "no"), 8)


@pytest.mark.parametrize("kind", ["pipe", "socket", "zero"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"not a regular file|No such device"):
        places.read(bytes(path), 1000)


def test_the_name_of_a_file_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.split(b"/wait") == (b"/", b"wait")
    assert places.split(b"wait") == (bytes(tmp_path), b"wait")
    assert places.split(b"/a/../b/wait") == (b"/a/../b", b"wait")


# Root, and somebody else's directories.


def given_to(user: int, *paths: Path) -> None:
    for path in paths:
        os.chown(path, user, user, follow_symlinks=False)


@as_root
def test_root_becomes_the_owner(tmp_path: Path) -> None:
    given_to(NOBODY, tmp_path)
    with places.opened(bytes(tmp_path)) as folder:
        assert os.geteuid() == NOBODY == folder.owner
        os.close(os.open(b"x", os.O_CREAT, 0o600, dir_fd=folder.fd))
    assert os.geteuid() == 0
    assert (tmp_path / "x").stat().st_uid == NOBODY


@as_root
@pytest.mark.parametrize("target", ["relative", "absolute"])
def test_root_follows_no_link_of_somebody_else(tmp_path: Path, target: str) -> None:
    (tmp_path / "roots").mkdir()
    (tmp_path / "his").mkdir()
    link = tmp_path / "his" / "link"
    link.symlink_to("../roots" if target == "relative" else tmp_path / "roots")
    given_to(NOBODY, tmp_path / "his", link)
    for path in (link, link / "below"):
        with pytest.raises(Trouble, match="symbolic link"):
            places.walk(bytes(path))


@as_root
def test_root_follows_no_link_of_his_own_that_somebody_else_may_have_moved(tmp_path: Path) -> None:
    """Which he may, in a directory of his, or by a hard link where everybody may write."""
    (tmp_path / "roots").mkdir()
    for name, user, mode in (("his", NOBODY, 0o700), ("all", 0, 0o1777), ("group", 0, 0o770)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "link").symlink_to(tmp_path / "roots")
        (tmp_path / name).chmod(mode)
        given_to(user, tmp_path / name)
        with pytest.raises(Trouble, match="symbolic link"):
            places.walk(bytes(tmp_path / name / "link"))


@as_root
@pytest.mark.parametrize("deep", [0, 1])
def test_root_does_not_work_in_his_own_directory_where_somebody_else_has_put_it(
    tmp_path: Path, deep: int
) -> None:
    """lost+found, renamed to quarantine."""
    his = tmp_path / "his"
    roots = his / "roots" / "/".join(["d"] * deep)
    roots.mkdir(parents=True)
    given_to(NOBODY, his)
    with pytest.raises(Trouble, match="nobody could put another directory in its place"):
        places.walk(bytes(roots))


@as_root
def test_root_does_not_become_a_third_one(tmp_path: Path) -> None:
    (tmp_path / "his" / "annas").mkdir(parents=True)
    given_to(NOBODY, tmp_path / "his")
    given_to(4711, tmp_path / "his" / "annas")
    with pytest.raises(Trouble, match="nobody could put another directory in its place"):
        places.walk(bytes(tmp_path / "his" / "annas"))


@as_root
@pytest.mark.parametrize(
    ("above", "user", "allowed"),
    [
        (0o755, NOBODY, True),
        (0o1777, NOBODY, True),  # only he can have made it
        (0o1777, 0, True),
        (0o775, NOBODY, False),
        (0o777, NOBODY, False),
        (0o777, 0, False),
    ],
)
def test_who_may_write_above_it_matters(
    tmp_path: Path, above: int, user: int, allowed: bool
) -> None:
    place = tmp_path / "above" / "place"
    place.mkdir(parents=True)
    (tmp_path / "above").chmod(above)
    given_to(user, place)
    if allowed:
        assert is_found(place, place)
    else:
        with pytest.raises(Trouble, match="everybody who may write above it"):
            places.walk(bytes(place))


@as_root
@pytest.mark.parametrize("mode", [0o770, 0o1777])
def test_root_does_not_work_in_his_own_directory_with_others(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(Trouble, match="others may write in this directory of root's"):
        places.walk(bytes(place))
    given_to(NOBODY, place)
    assert is_found(place, place)


@as_root
def test_a_file_is_read_with_the_permissions_of_the_owner_of_its_directory(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("for root only")
    secret.chmod(0o600)
    assert places.read(bytes(secret), 99)
    given_to(NOBODY, tmp_path)
    with pytest.raises(PermissionError):
        places.read(bytes(secret), 99)
