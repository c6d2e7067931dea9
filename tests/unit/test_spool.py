"""The message is in a private file, as received, and gone in the end, whatever happens."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck import process, spool, unix
from avcheck.directory import Directory, release_file, remove_file
from avcheck.exits import CONFIG, FULL, Defer
from avcheck.incoming import Incoming
from avcheck.seen import FRONT
from tests.support.readings import seen_by_scanners, with_mark
from tests.support.spooling import content, everything, names, refusing, without_tmpfile
from tests.support.wire import MESSAGE, given, open_files, settings, spooled


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Directory]:
    with Directory(os.fsencode(tmp_path)) as directory:
        yield directory


# The file.


def test_the_file_has_no_name_and_no_other_reader(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        assert names(tmp_path) == []
        assert message.path == b""
        assert os.fstat(message.fd).st_nlink == 0
        assert not os.get_inheritable(message.fd)
        assert not os.get_inheritable(message.directory.fd)


def test_scanners_see_what_is_ours_first_and_others_do_not(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        assert os.pread(message.fd, 1 << 16, 0) == FRONT + MESSAGE
        assert (message.seen, message.size) == (len(FRONT + MESSAGE), len(MESSAGE))
        assert content(message) == MESSAGE


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
def test_a_file_with_a_name_is_readable_for_the_directory_s_group_only(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        if os.geteuid() == 0:
            os.chown(tmp_path, -1, 4711)
        with spooled(tmp_path, named=True) as message:
            (name,) = names(tmp_path)
            assert message.path == os.fsencode(tmp_path / name)
            status = os.stat(message.path)
            assert os.path.samestat(status, os.fstat(message.fd))
            assert stat.S_IMODE(status.st_mode) == 0o640
            assert status.st_gid == tmp_path.stat().st_gid
        assert names(tmp_path) == []
    finally:
        os.umask(before)


def test_a_scanner_that_opens_paths_is_what_a_name_is_for(tmp_path: Path) -> None:
    for option, named in [
        (b"clamd", False),
        (b"clamd+stream", False),
        (b"clamd+path", True),
    ]:
        for spelling in (b"-s", b"--backup"):
            how = settings(spelling, option)
            with (
                given(MESSAGE) as stdin,
                Directory(os.fsencode(tmp_path)) as directory,
                spool.receive(Incoming(stdin), directory, how) as message,
            ):
                assert bool(message.path) == named


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_without_nameless_files_the_name_is_gone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_tmpfile(monkeypatch, number)
    with spooled(tmp_path) as message:
        assert names(tmp_path) == []
        assert os.fstat(message.fd).st_nlink == 0
        assert content(message) == MESSAGE
    assert names(tmp_path) == []


def test_a_nameless_file_that_is_refused_for_another_reason_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_tmpfile(monkeypatch, errno.ENOSPC)
    with (
        pytest.raises(Defer, match=r"saving the message in .*: No space left") as why,
        spooled(tmp_path),
    ):
        pass
    assert why.value.code == FULL


# Receiving.


@hypothesis.given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_the_message_is_as_received_however_it_comes(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        left = [*pieces, b""]
        real = os.read
        with Directory(os.fsencode(name)) as directory:
            monkeypatch.setattr(
                unix, "read", lambda fd, size: left.pop(0) if fd == -7 else real(fd, size)
            )
            with spool.receive(Incoming(-7), directory, settings()) as message:
                assert content(message) == whole
                assert message.size == len(whole)
                assert message.eight_bit == (not whole.isascii())
                line, lf, _ = whole.partition(b"\n")
                assert message.crlf == (bool(lf) and line.endswith(b"\r"))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "received",
    [
        b"begin 644 x\n",
        b"MZ\0\xff",
        b"From: x\nno field\n",
        b"From: x\r\nno field",
        b"X: y\n" * 30000 + b"no\n" * 30000,
    ],
)
def test_what_is_not_plain_is_seen_in_other_words_too_by_scanners_and_nobody_else(
    tmp_path: Path, received: bytes, named: bool
) -> None:
    before = open_files()
    one, other = seen_by_scanners(received)
    with spooled(tmp_path, received, named=named) as message:
        assert message.other_reading
        assert len(names(tmp_path)) == 2 * named
        for reading, content_ in ((message, one), (message.other_reading, other)):
            again = reading.reopen()
            assert with_mark(everything(again)) == content_
            os.close(again)
            assert reading.seen == len(content_)
            if named:
                assert with_mark(Path(os.fsdecode(reading.path)).read_bytes()) == content_
        assert message.size == len(received)
        assert content(message) == received
        stdin = message.as_stdin(b"X-H: 1")
        assert everything(stdin).partition(b"\n")[2] == received
        os.close(stdin)
        name = message.hand_over()
        assert (tmp_path / os.fsdecode(name)).read_bytes() == received
        remove_file(name)
    assert names(tmp_path) == []
    assert open_files() <= before


def test_nobody_knows_the_boundary_of_the_second_reading(tmp_path: Path) -> None:
    marks = set()
    for _ in range(3):
        with spooled(tmp_path, b"no field\n") as message:
            assert message.other_reading
            whole = os.pread(message.other_reading.fd, 1 << 16, 0).removeprefix(FRONT)
            marks.add(whole.partition(b'boundary="')[2].partition(b'"')[0])
    assert len(marks) == 3


def test_a_message_larger_than_any_piece_is_as_received(tmp_path: Path) -> None:
    large = os.urandom(1000) * 700 + b"x"
    with spooled(tmp_path, large) as message:
        assert content(message) == large
        assert message.eight_bit
        assert all(len(piece) <= process.PIECE for piece in message.pieces())


def test_what_is_ours_is_a_header_of_whole_lines() -> None:
    assert FRONT.startswith(b"Received: ")
    lines = FRONT.split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        name, colon, value = line.partition(b": ")
        assert name.replace(b"-", b"").isalpha() and colon and value.strip() == value
        assert value.isascii() and value.decode().isprintable()
        assert len(line) < 78  # RFC 5322 2.1.1


def test_what_is_ours_ends_behind_every_magic_of_libclamav() -> None:
    # gpt.c, gpt_detect_size(): the largest of its sectors, and the magic at its end.
    assert len(FRONT) >= 4096 + len(b"EFI PART")


def test_nothing_of_a_stranger_s_is_before_the_mail(place: Directory) -> None:
    for sender in (b"", b"x@" + b"a" * 240 + b"ustar", b"\xff@b", b"a\r\nb"):
        with spool.Message(place, sender, False) as message:
            assert os.pread(message.fd, 1 << 16, 0) == FRONT
            assert message.seen == len(FRONT)
            assert message.sender == sender


def test_an_empty_message_is_a_message(tmp_path: Path) -> None:
    with spooled(tmp_path, b"") as message:
        assert content(message) == b""
        assert message.size == 0
        assert os.pread(message.fd, 1 << 16, 0) == FRONT


@pytest.mark.parametrize(
    ("received", "size"),
    [(b"", 0), (b"a\n", 3), (b"a", 3), (b"a\r\n", 3), (b"a\n.\nb", 9), (b"a\r\nb", 6), (b"a\r", 4)],
)
def test_the_size_on_the_wire_is_with_whole_line_ends(
    tmp_path: Path, received: bytes, size: int
) -> None:
    """RFC 1870 3; the dots that are added do not count."""
    with spooled(tmp_path, received) as message:
        assert message.wire_size == size


@pytest.mark.parametrize("named", [False, True])
def test_a_message_that_cannot_be_saved_is_deferred_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    refusing(monkeypatch, "write", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    how = settings(b"-s", b"clamd+path") if named else settings()
    with Directory(os.fsencode(tmp_path)) as directory:
        stdin = os.open("/dev/zero", os.O_RDONLY)
        with pytest.raises(Defer, match=r"saving the message in .*No space left") as why:
            spool.receive(Incoming(stdin), directory, how)
        os.close(stdin)
    assert why.value.code == FULL
    assert names(tmp_path) == []


def test_a_write_that_takes_a_part_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(unix, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    stdin = os.memfd_create("stdin")
    process.write(stdin, MESSAGE)
    os.lseek(stdin, 0, os.SEEK_SET)
    with (
        Directory(os.fsencode(tmp_path)) as directory,
        spool.receive(Incoming(stdin), directory, settings()) as message,
    ):
        assert content(message) == MESSAGE
    os.close(stdin)


def test_a_file_that_lost_bytes_is_not_a_message(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        os.ftruncate(message.fd, len(FRONT) + 1)
        with pytest.raises(Defer, match="cut short"):
            content(message)


def test_a_file_that_cannot_be_read_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spooled(tmp_path) as message:
        refusing(monkeypatch, "pread", OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(Defer, match="reading the spool file: Input/output error"):
            content(message)


def test_a_group_that_we_are_not_in_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "fchown", PermissionError(errno.EPERM, "Operation not permitted"))
    with (
        pytest.raises(Defer, match="not in the group of the spool directory") as why,
        spooled(tmp_path, named=True),
    ):
        pass
    assert why.value.code == CONFIG
    assert names(tmp_path) == []


# Handing out.


def test_a_second_descriptor_is_for_reading_and_has_its_own_position(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        again = message.reopen()
        with pytest.raises(OSError, match="Bad file descriptor") as why:
            os.write(again, b"x")
        assert why.value.errno == errno.EBADF
        with pytest.raises(OSError, match="Invalid argument"):
            os.ftruncate(again, 0)
        position = os.lseek(message.fd, 0, os.SEEK_CUR)
        assert everything(again) == FRONT + MESSAGE
        assert os.lseek(message.fd, 0, os.SEEK_CUR) == position
        assert not os.get_inheritable(again)
        os.close(again)


def test_without_proc_there_is_no_second_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spooled(tmp_path) as message, monkeypatch.context() as patched:
        refusing(patched, "open", FileNotFoundError(2, "No such file or directory"))
        with pytest.raises(Defer, match="/proc mounted"):
            message.reopen()


@pytest.mark.parametrize(
    ("received", "header", "handed"),
    [
        (MESSAGE, b"", MESSAGE),
        (MESSAGE, b"X: y", b"X: y\n" + MESSAGE),
        (b"A: b\r\n\r\nc", b"X: y", b"X: y\r\nA: b\r\n\r\nc"),
        (b"", b"X: y", b"X: y\n"),
        # An mbox's line is only one at the very beginning.
        (b"From a Mon\nA: b\n", b"X: y", b"From a Mon\nX: y\nA: b\n"),
        (b">From a Mon\r\nA: b\r\n", b"X: y", b">From a Mon\r\nX: y\r\nA: b\r\n"),
        (b"From a Mon\n", b"", b"From a Mon\n"),
        (b"From a", b"X: y", b"X: y\nFrom a"),
        (b"From: a\n", b"X: y", b"X: y\nFrom: a\n"),
        # What a line goes on with is not to be ours.
        (b" a\n\tb\nA: b\n", b"X: y", b" a\n\tb\nX: y\nA: b\n"),
        (b"From a\n a\nb\n", b"X: y", b"From a\n a\nX: y\nb\n"),
        (b" \r\n\r\nb\r\n", b"X: y", b" \r\nX: y\r\n\r\nb\r\n"),
        (b" a", b"X: y", b"X: y\n a"),
        (b"A: b\nFrom a\n", b"X: y", b"X: y\nA: b\nFrom a\n"),
    ],
)
def test_a_program_gets_the_message_with_our_header_or_none(
    tmp_path: Path, received: bytes, header: bytes, handed: bytes
) -> None:
    with spooled(tmp_path, received) as message:
        stdin = message.as_stdin(header)
        assert everything(stdin) == handed
        assert b"".join(message.pieces(header)) == handed
        assert names(tmp_path) == []
        os.close(stdin)
        assert content(message) == received


def test_the_handler_gets_the_bytes_as_received_in_a_file_of_its_own(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        name = message.hand_over()
        file = tmp_path / os.fsdecode(name)
        assert file.read_bytes() == MESSAGE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_bytes(b"spoilt")
        assert content(message) == MESSAGE
    assert names(tmp_path) == []


@pytest.mark.parametrize("function", ["open", "write"])
@pytest.mark.parametrize("handing", ["as_stdin", "hand_over"])
def test_a_copy_that_fails_is_deferred_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, handing: str
) -> None:
    with spooled(tmp_path) as message:
        with monkeypatch.context() as patched:
            refusing(patched, function, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            with pytest.raises(Defer, match=r"copying the message in .*No space left") as why:
                message.hand_over() if handing == "hand_over" else message.as_stdin(b"X: y")
        assert why.value.code == FULL
    assert names(tmp_path) == []


# What is left behind.


def test_a_file_that_is_handed_over_for_good_stays(tmp_path: Path) -> None:
    with spooled(tmp_path) as message:
        name = message.hand_over()
        release_file(name)
    assert names(tmp_path) == [os.fsdecode(name)]


def test_files_with_a_name_are_removed_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), spooled(tmp_path, named=True) as message:
        message.hand_over()
        assert len(names(tmp_path)) == 2
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_file_that_somebody_has_removed_is_no_error(tmp_path: Path) -> None:
    with spooled(tmp_path, named=True):
        (name,) = names(tmp_path)
        (tmp_path / name).unlink()
