"""The spool directory: used only if it is safe, and what is made in it is removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import unix
from avcheck.directory import Directory, new_file_name, remove_file, remove_leftovers
from avcheck.exits import CONFIG, Defer
from tests.support.spooling import names, refusing
from tests.support.wire import open_files


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Directory]:
    with Directory(os.fsencode(tmp_path)) as directory:
        yield directory


# Which one will do.


def test_a_private_directory_will_do(tmp_path: Path) -> None:
    for mode in (0o700, 0o710, 0o750, 0o755):
        tmp_path.chmod(mode)
        with Directory(os.fsencode(tmp_path)):
            pass
    with Directory(os.fsencode(tmp_path) + b"//"):
        pass


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o1777, 0o770])
def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    before = open_files()
    with pytest.raises(Defer, match="chmod") as why:
        Directory(os.fsencode(tmp_path))
    assert why.value.code == CONFIG
    assert open_files() <= before


def test_a_directory_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = os.geteuid() or 4711
    if os.geteuid() == 0:
        os.chown(tmp_path, somebody, -1)
    else:
        monkeypatch.setattr(unix, "geteuid", lambda: somebody + 1)
    before = open_files()
    with pytest.raises(Defer, match=r"belongs to .* and not to") as why:
        Directory(os.fsencode(tmp_path))
    assert why.value.code == CONFIG
    assert open_files() <= before


def test_root_may_own_the_directory_and_let_our_group_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of root's")
    monkeypatch.setattr(unix, "geteuid", lambda: 4711)
    tmp_path.chmod(0o770)
    with Directory(os.fsencode(tmp_path)):
        pass
    tmp_path.chmod(0o777)
    with pytest.raises(Defer, match="chmod"):
        Directory(os.fsencode(tmp_path))


def test_what_is_not_a_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for name, hint in [
        ("missing", "no such directory; create it"),
        ("file", "not a directory"),
        ("file/x", "not a directory"),
        ("link", "a symbolic link; name real itself"),
        ("link/", "a symbolic link; name real itself"),
    ]:
        with pytest.raises(Defer) as why:
            Directory(os.fsencode(tmp_path) + b"/" + name.encode())
        assert hint in why.value.text
        assert why.value.code == CONFIG


def test_a_link_is_found_where_open_says_eloop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("real")
    refusing(monkeypatch, "open", OSError(errno.ELOOP, "Too many levels of symbolic links"))
    with pytest.raises(Defer, match="name real itself"):
        Directory(os.fsencode(tmp_path / "link"))


def test_a_directory_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, "open", PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(Defer, match="spool /x: Permission denied"):
        Directory(b"/x")


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("{0}", "{0}/name"),
        ("{0}/", "{0}/name"),
        ("{0}/./tmp", "/tmp/name"),
        ("{0}/./tmp/", "/tmp/name"),
        ("{0}/.//tmp/a", "/tmp/a/name"),
        ("{0}/./", "/name"),
        ("{0}/./tmp/./a", "/tmp/./a/name"),
    ],
)
def test_the_scanner_sees_a_path_from_within_its_chroot(
    tmp_path: Path, path: str, seen: str
) -> None:
    (tmp_path / "tmp" / "a").mkdir(parents=True)
    with Directory(os.fsencode(path.format(tmp_path))) as directory:
        assert directory.path_for_scanner(b"name").decode() == seen.format(tmp_path)
        file = directory.create(b"name", 0o600)
        assert os.path.samestat(os.fstat(file), os.stat(directory.join(b"name")))
        os.close(file)


# Its files.


def test_names_are_plain_and_never_the_same() -> None:
    found = {new_file_name() for _ in range(1000)}
    assert len(found) == 1000
    for name in found:
        prefix, _, rest = name.partition(b".")
        assert prefix == b"avcheck"
        assert len(rest) == 24
        assert rest.isalnum()


@pytest.mark.parametrize("why", [Defer("stopped by signal 15"), OSError(errno.EIO, "I/O error")])
def test_a_file_that_could_not_be_removed_is_tried_again(
    place: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    """A signal that strikes while we remove it, for instance; __main__ sweeps once more."""
    os.close(place.create(b"avcheck.x", 0o600))
    with monkeypatch.context() as patched:
        refusing(patched, "unlink", why)
        with pytest.raises(type(why)):
            remove_file(b"avcheck.x")
    assert names(tmp_path) == ["avcheck.x"]
    remove_leftovers()
    assert names(tmp_path) == []


def test_sweeping_goes_on_past_what_cannot_be_removed(
    place: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (b"avcheck.1", b"avcheck.2", b"avcheck.3"):
        os.close(place.create(name, 0o600))
    real = os.unlink

    def unlink(name: bytes, *, dir_fd: int) -> None:
        if name == b"avcheck.2":
            raise OSError(errno.EIO, "Input/output error")
        real(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(unix, "unlink", unlink)
        remove_leftovers()
    assert names(tmp_path) == ["avcheck.2"]
    remove_leftovers()
    assert names(tmp_path) == []


def test_a_file_of_somebody_else_is_never_removed(place: Directory, tmp_path: Path) -> None:
    (tmp_path / "avcheck.x").write_text("another's")
    with pytest.raises(FileExistsError):
        place.create(b"avcheck.x", 0o600)
    remove_leftovers()
    assert names(tmp_path) == ["avcheck.x"]


def test_a_link_is_never_followed(place: Directory, tmp_path: Path) -> None:
    (tmp_path / "avcheck.x").symlink_to("target")
    with pytest.raises(FileExistsError):
        place.create(b"avcheck.x", 0o600)
    assert names(tmp_path) == ["avcheck.x"]
    (tmp_path / "avcheck.x").unlink()
