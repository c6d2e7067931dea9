"""A program that changes, moves or removes what it is given to look at."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from avcheck.exits import CONFIG, Defer
from avcheck.scanners import command, command_copy
from avcheck.scanners.rows import PATH
from avcheck.seen import FRONT
from avcheck.settings import Target
from avcheck.verdict import CLEAN, INFECTED, UNSCANNABLE, Finding
from tests.support.wire import MESSAGE, given, open_files, settings, spooled

Run = Callable[..., tuple[Finding | str, bytes]]

BIG = MESSAGE + b"a line of a large message\n" * 20_000  # several pieces

# What a program does to the file "$1", and what avcheck says of it.
DONE = {
    "appends": ("chmod u+w $1; echo disinfected >>$1", "changed"),
    "truncates": ("chmod u+w $1; : >$1", "changed"),
    "changes one byte": ("chmod u+w $1; printf X | dd of=$1 bs=1 seek=40 conv=notrunc", "changed"),
    "changes its last byte": (
        "chmod u+w $1; printf X | dd of=$1 bs=1 seek=$(($(wc -c <$1) - 1)) conv=notrunc",
        "changed",
    ),
    "puts another in its place": ("echo disinfected >new.$$; mv -f new.$$ $1", "replaced"),
    "puts the same bytes in its place": ("cp $1 new.$$; mv -f new.$$ $1", "replaced"),
    "puts a link in its place": ("mv $1 $1.old; ln -s $1.old $1", "replaced"),
    "puts a directory in its place": ("rm -f $1; mkdir $1; rmdir $1", "removed"),
    "leaves a directory in its place": ("rm -f $1; mkdir $1; echo x >$1/x", "replaced"),
    "removes it": ("rm -f $1", "removed"),
    "renames it": ("mv $1 $1.virus", "removed"),
    "disinfects it": ("chmod u+w $1; sed -i s/Hello/Hollo/ $1; echo disinfected", "replaced"),
}
# What is no change of what it has looked at.
HARMLESS = {
    "reads it": "cat $1 >/dev/null",
    "changes its mode": "chmod 0600 $1",
    "touches it": "touch $1",
    "leaves a note beside it": "echo seen >$1.log",
    "unpacks it beside it": "mkdir $1.d $1.d/e; cp $1 $1.d/e; for i in 1 2 3; do cp $1 $1.$i; done",
    "moves it away and back": "mv $1 $1.x; mv $1.x $1",
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a shell script on a message; what it found or why not, and what would be delivered."""

    def run(script: str, content: bytes = MESSAGE, **how: str) -> tuple[Finding | str, bytes]:
        program = tmp_path / "scanner"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        spool_directory = tmp_path / "spool"
        spool_directory.mkdir(mode=0o700)
        how = {"args": "{path}", "clean": "0", "infected": "1", "unscannable": "2", **how}
        parameters = {key: value.encode() for key, value in how.items()}
        target = Target(None, PATH, False, os.fsencode(program), parameters)
        found: Finding | str
        with spooled(spool_directory, content) as message:
            before = open_files()
            try:
                found = command.run(message, target, time.monotonic() + 20)
            except Defer as why:
                assert why.code == CONFIG
                found = why.text
            assert open_files() == before
            assert os.listdir(spool_directory) == []
            return found, b"".join(message.pieces())

    return run


@pytest.mark.parametrize("content", [MESSAGE, BIG], ids=["small", "large"])
@pytest.mark.parametrize("what", DONE)
def test_what_it_calls_clean_and_has_changed_is_not_clean_and_not_delivered(
    what: str, content: bytes, run: Run
) -> None:
    script, word = DONE[what]
    found, delivered = run(f"({script}) 2>&1; exit 0", content)
    assert isinstance(found, str)
    assert found.startswith(f"{word} the file that it called clean")
    assert delivered == content


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_still_the_same_is_clean(what: str, run: Run) -> None:
    found, delivered = run(HARMLESS[what])
    assert isinstance(found, Finding)
    assert found.verdict is CLEAN
    assert delivered == MESSAGE


@pytest.mark.parametrize(("status", "verdict"), [(1, INFECTED), (2, UNSCANNABLE)])
def test_what_it_has_found_counts_whatever_it_does_then(
    status: int, verdict: object, run: Run
) -> None:
    found, delivered = run(f"rm -f $1; exit {status}")
    assert isinstance(found, Finding)
    assert found.verdict is verdict
    assert delivered == MESSAGE


def test_the_copy_has_all_that_scanners_see_and_is_to_be_read_only(tmp_path: Path) -> None:
    with spooled(tmp_path, BIG) as message:
        with command_copy.Copy(message) as copy:
            whole = os.pread(message.fd, message.seen, 0)
            assert Path(os.fsdecode(copy.path)).read_bytes() == whole
            status = os.stat(copy.path)
            assert status.st_mode & 0o777 == 0o440
            assert status.st_gid == os.fstat(message.directory.fd).st_gid
            assert copy.changed() == ""
        assert os.listdir(tmp_path) == []


def test_the_message_itself_has_no_name_where_only_programs_are_asked() -> None:
    how = settings(b"-s", b"command:clamscan")
    assert [each.opens_path for each in how.scanners if each.type == "command"] == [False]


def test_a_program_that_reads_the_message_gets_it_for_reading_and_no_file(
    run: Run, tmp_path: Path
) -> None:
    script = f"cat >{tmp_path}/read; ls {tmp_path}/spool >{tmp_path}/names; echo x >&0"
    found, delivered = run(f"{script} && exit 1; exit 0", args="-", stdin="message")
    assert isinstance(found, Finding)
    assert found.verdict is CLEAN
    assert (tmp_path / "read").read_bytes().endswith(MESSAGE)
    assert (tmp_path / "names").read_text() == ""
    assert delivered == MESSAGE


@pytest.mark.parametrize("size", [1, 100, len(FRONT) + len(MESSAGE) - 1])
def test_a_program_that_reads_a_part_of_the_message_has_not_called_it_clean(
    run: Run, size: int
) -> None:
    script = f"dd bs=1 count={size} of=/dev/null 2>/dev/null; exit 0"
    found, _ = run(script, args="-", stdin="message")
    assert found == "said it is clean, but has not read the whole message"


def test_what_cannot_be_copied_is_an_answer_that_failed_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with spooled(tmp_path) as message:
        before = open_files()
        monkeypatch.setattr(command_copy, "write", full)
        with pytest.raises(Defer, match=r"copying the message in .*: No space left"):
            command_copy.Copy(message)
        assert open_files() == before
        assert os.listdir(tmp_path) == []


def test_a_program_that_disinfects_lets_nothing_through(command: Path, tmp_path: Path) -> None:
    """The installed command: deferred, nothing handed on, nothing left."""
    (tmp_path / "spool").mkdir(mode=0o700)
    scanner = tmp_path / "scanner"
    scanner.write_text("#!/bin/sh\nchmod u+w $1; echo cured >$1; echo $1: OK\n")
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat >{tmp_path}/sent\n")
    for program in (scanner, sendmail):
        program.chmod(0o700)
    where = f"command:{scanner}?args={{path}}&clean=0&passed=^{{path}}:%20OK$"

    def check() -> subprocess.CompletedProcess[bytes]:
        words = ["-d", f"{tmp_path}/spool", "-s", where, "-S", str(sendmail), "-f", "a@b.example"]
        argv = [str(command), *words, "--", "c@d.example"]
        return subprocess.run(argv, input=MESSAGE, capture_output=True, check=False)

    done = check()
    assert done.returncode == 75
    assert b"changed the file that it called clean" in done.stderr
    assert not (tmp_path / "sent").exists()
    scanner.write_text("#!/bin/sh\necho $1: OK\n")
    assert check().returncode == 0
    assert (tmp_path / "sent").read_bytes() == MESSAGE
    assert os.listdir(tmp_path / "spool") == []


@pytest.mark.parametrize(("how", "left"), [("SIGTERM", 0), ("SIGKILL", 1)])
def test_what_a_signal_leaves_is_what_the_page_says(
    how: str, left: int, command: Path, tmp_path: Path
) -> None:
    """Nothing; only by SIGKILL the copy, under a name that is known to be ours to remove."""
    (tmp_path / "spool").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "begun")
    scanner = tmp_path / "scanner"
    scanner.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/begun\nexec sleep 60\n")
    scanner.chmod(0o700)
    words = ["-n", "-d", f"{tmp_path}/spool", "-s", f"command:{scanner}?args={{path}}&clean=0"]
    argv = [str(command), *words, "-f", "a@b.example", "--", "c@d.example"]
    with (
        given(MESSAGE) as stdin,
        subprocess.Popen(argv, stdin=stdin, stderr=subprocess.PIPE) as running,
    ):
        child = int((tmp_path / "begun").read_text())
        running.send_signal(signal.Signals[how])
        running.communicate()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    names = os.listdir(tmp_path / "spool")
    assert len(names) == left
    assert all(name.startswith("avcheck.") for name in names)
    assert running.returncode == (75 if how == "SIGTERM" else -signal.SIGKILL)
