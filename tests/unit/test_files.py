"""Files where others may be at work: what is opened, and how a lock is waited for."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from avcheck import files

CREATE = os.O_RDWR | os.O_CREAT


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "file"


def opened(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> os.stat_result:
    fd = files.open_regular(os.fsencode(path), flags, follow=follow)
    try:
        assert not os.get_inheritable(fd)
        return os.fstat(fd)
    finally:
        os.close(fd)


def test_a_file_is_opened_or_made_for_us_alone(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(place)
    made = opened(place, CREATE)
    assert made.st_mode & 0o777 == 0o600
    assert os.path.samestat(opened(place), made)


def test_a_file_is_found_in_the_directory_that_is_open(place: Path) -> None:
    place.write_bytes(b"x")
    directory = os.open(place.parent, os.O_RDONLY)
    try:
        os.close(files.open_regular(place.name, dir_fd=directory))
    finally:
        os.close(directory)


OTHERS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a directory": os.mkdir,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to nothing": lambda path: path.symlink_to("/nonexistent"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, CREATE, os.O_WRONLY | os.O_APPEND])
def test_whatever_else_has_the_name_is_refused_at_once(place: Path, what: str, flags: int) -> None:
    """A pipe, too, that nobody writes to, or reads from."""
    OTHERS[what](place)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r".") as why:
        opened(place, flags)
    assert why.value.errno in (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENXIO)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_link_may_be_followed_to_a_file_and_nowhere_else(place: Path) -> None:
    place.symlink_to("/etc/passwd")
    assert os.path.samestat(opened(place, follow=True), os.stat("/etc/passwd"))
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        opened(place, follow=True)


def test_a_directory_is_opened_and_no_link_to_one(place: Path) -> None:
    directory = files.open_directory(os.fsencode(place.parent))
    try:
        place.symlink_to(place.parent)
        with pytest.raises(NotADirectoryError):
            files.open_directory(place.name, directory)
        place.unlink()
        place.touch()
        with pytest.raises(NotADirectoryError):
            files.open_directory(place.name, directory)
    finally:
        os.close(directory)


def test_a_new_file_is_nobody_else_s(place: Path) -> None:
    fd = files.create(os.fsencode(place))
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)
    with pytest.raises(FileExistsError):
        files.create(os.fsencode(place))
    link = place.with_name("link")
    link.symlink_to(place.with_name("elsewhere"))
    with pytest.raises(FileExistsError):
        files.create(os.fsencode(link))


@pytest.mark.parametrize(("limit", "read"), [(0, b""), (3, b"abc"), (6, b"abcdef"), (9, b"abcdef")])
def test_no_more_is_read_than_was_asked_for(place: Path, limit: int, read: bytes) -> None:
    place.write_bytes(b"abcdef")
    with place.open("rb") as file:
        assert files.read_up_to(file.fileno(), limit) == read


def test_a_lock_is_had_once(place: Path) -> None:
    with place.open("w") as one, place.open("w") as other:
        assert files.lock(one.fileno())
        assert files.lock(one.fileno())
        assert not files.lock(other.fileno())
        fcntl.flock(one, fcntl.LOCK_UN)
        assert files.lock(other.fileno())


def test_what_is_waited_for_is_looked_at_until_it_comes() -> None:
    looks = iter([0, 0, 7, 8])
    assert files.wait_for(lambda: next(looks), monotonic() + 60, 0.001) == 7


def test_what_does_not_come_is_looked_at_once_more_at_the_end() -> None:
    looks = iter([b"", b"x"])
    assert files.wait_for(lambda: next(looks), monotonic() - 1, 60) == b""
    until = monotonic() + 0.05
    assert files.wait_for(lambda: monotonic() > until, until, 0.01)
