"""A program is started: with exactly what it is to have, or Defer says why not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import child, unix
from avcheck.exits import CONFIG, SYSTEM, Defer
from tests.unit.test_child import ENV, nothing_is_left_open, run, shell  # noqa: F401 - autouse

# What it gets.


def test_its_words_are_passed_as_they_are() -> None:
    words = [b"", b"-n", b"a b", b"$HOME;*'\"", b"\xff\xfe", b"a\nb"]
    ended = shell('for word; do printf "<%s>" "$word"; done', *words)
    assert ended.output == b"".join(b"<" + word + b">" for word in words)


def test_its_environment_is_what_it_was_given() -> None:
    ended = run(b"/usr/bin/env")
    assert ended.output == b"PATH=/bin:/usr/bin\n"


def test_every_program_gets_a_path_and_the_postfix_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MAIL_CONFIG", raising=False)
    assert child.environment() == ENV
    monkeypatch.setenv("MAIL_CONFIG", "/etc/postfix-\udcff")
    assert child.environment() == {**ENV, b"MAIL_CONFIG": b"/etc/postfix-\xff"}


def test_its_standard_input_is_the_descriptor() -> None:
    assert run(b"/bin/cat", stdin=b"a\0b\r\n").output == b"a\0b\r\n"


def test_nothing_else_of_ours_is_open_in_it(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "wb") as secret:
        os.set_inheritable(secret.fileno(), True)
        descriptors = run(b"/bin/ls", b"/proc/self/fd").output.split()
    assert descriptors == [b"0", b"1", b"2", b"3"]  # 3 is what ls itself opens


def test_it_starts_in_the_directory_with_a_private_umask(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    before = os.umask(0o022)
    try:
        ended = shell("pwd -P; umask; : >made", directory=directory)
    finally:
        os.umask(before)
        os.close(directory)
    assert ended.output == os.fsencode(tmp_path.resolve()) + b"\n0077\n"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_it_leads_a_session_of_its_own() -> None:
    fields = run(b"/bin/cat", b"/proc/self/stat").output.split()
    pid, group, session = fields[0], fields[4], fields[5]
    assert pid == group == session


# Signals 32 and 33 are the C library's, and not for programs to change.
LIBRARY = 0b11 << 31


@pytest.fixture
def everything_ignored() -> Iterator[None]:
    """As the caller may have it."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("everything_ignored")
def test_no_signal_is_ignored_or_blocked_in_it() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and exec keeps that, and what the caller ignored."""
    status = run(b"/bin/cat", b"/proc/self/status").output
    masks = dict(line.split(b":\t") for line in status.splitlines() if line.startswith(b"Sig"))
    for mask in (b"SigIgn", b"SigBlk", b"SigCgt"):
        assert int(masks[mask], 16) & ~LIBRARY == 0, mask


# What cannot be run.


def make(path: Path, mode: int, text: str = "") -> bytes:
    path.write_text(text)
    path.chmod(mode)
    return os.fsencode(path)


def test_a_program_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    for program, reason in [
        (os.fsencode(tmp_path / "missing"), "No such file or directory"),
        (make(tmp_path / "plain", 0o644), "Permission denied"),
        (os.fsencode(tmp_path), "Permission denied"),
        (make(tmp_path / "empty", 0o755), "Exec format error"),
        (make(tmp_path / "script", 0o755, "#!/nonesuch\n"), "No such file or directory"),
        (make(tmp_path / "file", 0o755) + b"/x", "Not a directory"),
    ]:
        with pytest.raises(Defer) as why:
            run(program, b"x")
        assert why.value.text.startswith(f"cannot run {os.fsdecode(program)}: {reason}")
        assert why.value.code == CONFIG


def test_words_that_are_too_many_say_so() -> None:
    with pytest.raises(Defer, match="cannot run /bin/true: Argument list too long"):
        run(b"/bin/true", b"x" * 200_000)


@pytest.mark.parametrize("function", ["pipe", "fork"])
def test_a_system_that_has_no_more_processes_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def refuse() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(unix, function, refuse)
    with pytest.raises(Defer, match="/bin/true: Resource temporarily unavailable") as why:
        run(b"/bin/true")
    assert why.value.code == SYSTEM
