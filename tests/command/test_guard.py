"""scripts/avcheck-guard.sh: avcheck's status, or 75; nothing else is changed.

What breaks an environment in its files is in test_guard_broken.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from avcheck.exits import Usage
from avcheck.options import reading, rows
from tests.support.environment import PATIENCE, SUCCESS, Environment

# What a Python or a shell that cannot start leaves, as the script has it.
MAPPED = {0, 1, 2, 120, *range(126, 256)} - {SUCCESS}


@pytest.fixture(params=["dash", "bash"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    return Environment(tmp_path, request.param)


def assert_deferred(result: tuple[int, bytes, str], status: int) -> None:
    assert result[0] == 75
    assert result[1] == b""
    if status < 128:
        words = f"4.3.5 avcheck could not be started (status {status})"
    else:  # nobody knows how far it has come
        words = f"4.3.0 avcheck was killed (status {status}): possible duplicate"
    assert result[2].splitlines()[-1] == words


def test_every_status_is_passed_on_or_mapped(environment: Environment) -> None:
    environment.python_is('exit "$1"')
    for status in range(256):
        result = environment.run(str(status))
        if status in MAPPED:
            assert_deferred(result, status)
            assert result[2].count("\n") == 1
        else:
            assert result == (0 if status == SUCCESS else status, b"", "")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGPIPE])
def test_death_by_signal_defers(environment: Environment, signum: signal.Signals) -> None:
    environment.python_is(f"kill -{signum.value} $$")
    assert_deferred(environment.run(), 128 + signum)


def test_a_missing_python_defers(environment: Environment) -> None:
    assert_deferred(environment.run(), 127)


def test_a_python_that_may_not_be_run_defers(environment: Environment) -> None:
    environment.python.write_text("#!/bin/sh\n")
    assert_deferred(environment.run(), 126)


def test_a_directory_in_its_place_defers(environment: Environment) -> None:
    environment.python.mkdir()
    assert_deferred(environment.run(), 126)


def test_arguments_and_streams_pass_untouched(environment: Environment) -> None:
    environment.main_is(
        "words = [os.fsencode(word) for word in sys.argv]\n"
        "os.write(1, b'\\0'.join(words) + b'\\0\\0' + sys.stdin.buffer.read())\n"
        "os.write(2, b'4.3.0 held back\\n')\n"
        "os._exit(75)\n"
    )
    words = [b"-f", b"", b"--", b"-x", b"a b\t*\n$(id)\\", bytes(range(1, 256)), b"\xff\xc3", b"/x"]
    message = bytes(range(256)) * 1000
    status, out, err = environment.run(*words, stdin=message)
    assert status == 75
    called = os.fsencode(environment.avcheck)
    assert out == b"\0".join([called, *words]) + b"\0\0" + message
    assert err == "4.3.0 held back\n"


def test_the_avcheck_beside_it_is_run_unless_one_is_named(environment: Environment) -> None:
    environment.main_is("os.write(1, os.fsencode('\\n'.join(sys.argv)))\nos._exit(7)\n")
    beside = environment.guard_beside()
    said = os.fsencode(f"{environment.avcheck}\n-f\n/x")
    assert environment.run("-f", "/x", guard=[beside]) == (7, said, "")
    elsewhere = environment.guard_alone()
    assert environment.run(environment.avcheck, "-f", "/x", guard=[elsewhere]) == (7, said, "")


def test_no_option_can_be_taken_for_the_avcheck_to_run() -> None:
    spelled = [f"-{each.letter}" for each in rows.OPTIONS if each.letter]
    spelled += [f"--{each.name}" for each in rows.OPTIONS]
    assert not [each for each in spelled if each.startswith("/")]
    # And an option has to be first: without any, avcheck does nothing.
    with pytest.raises(Usage, match="-f is required"):
        reading.read([b"/x", b"-f", b"a@b"], lambda path: b"")


def test_avcheck_is_told_who_called(environment: Environment) -> None:
    environment.python_is(f'echo "$AVCHECK_CALLER"; exit {SUCCESS}')
    assert environment.run() == (0, b"%d\n" % os.getpid(), "")


def test_avcheck_is_told_which_guard_runs_it(environment: Environment) -> None:
    environment.python_is(f'echo "$AVCHECK_GUARD"; exit {SUCCESS}')
    told = os.fsencode(f"{environment.guard_alone()}\n")
    assert environment.run(variables={"AVCHECK_GUARD": "/another"}) == (0, told, "")


def test_a_script_between_may_say_who_called(environment: Environment) -> None:
    environment.python_is(f'echo "$AVCHECK_CALLER"; exit {SUCCESS}')
    assert environment.run(variables={"AVCHECK_CALLER": "4711"}) == (0, b"4711\n", "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("to", ["guard", "both"])
def test_it_outlives_and_reports_its_child(
    environment: Environment, to: str, signum: signal.Signals
) -> None:
    # The child says that it is there, answers a signal with 75, and else waits for the end
    # of its input, as avcheck would.
    environment.main_is(
        "import signal\n"
        "def leave(*_):\n"
        "    os._exit(75)\n"
        "for name in ('TERM', 'HUP', 'INT', 'QUIT'):\n"
        "    assert signal.getsignal(signal.Signals['SIG' + name]) is not signal.SIG_IGN, name\n"
        "    signal.signal(signal.Signals['SIG' + name], leave)\n"
        "print('here', flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(7)\n"
    )
    process = environment.start()
    assert process.stdout
    assert process.stdout.readline() == b"here\n"
    if to == "both":
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == (75 if to == "both" else 7)
    assert err == b""


def test_nobody_reading_its_words_changes_nothing(environment: Environment) -> None:
    environment.python_is("exit 1")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(environment.words(), stdout=writer, stderr=writer, timeout=PATIENCE)
    os.close(writer)
    assert done.returncode == 75


def test_closed_streams_change_nothing(environment: Environment) -> None:
    environment.python_is("exit 1")
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    done = subprocess.run([*closing, *environment.words()], timeout=PATIENCE)
    assert done.returncode == 75


def test_without_a_word_it_has_to_be_called_by_its_absolute_path(environment: Environment) -> None:
    environment.main_is("os._exit(7)\n")
    guard = environment.guard_alone()
    status, _, err = environment.run("-f", "x", guard=[guard.name], cwd=guard.parent)
    assert (status, err) == (75, "4.3.5 avcheck-guard has to be called by its absolute path\n")
    words = ("-f", "x")
    assert (
        environment.run(environment.avcheck, *words, guard=[guard.name], cwd=guard.parent)[0] == 7
    )


def test_without_a_virtual_environment_it_is_the_python_that_lies_beside(
    environment: Environment,
) -> None:
    environment.main_is("os._exit(7)\n")
    environment.settings.unlink()
    version = environment.packages.parent.name
    environment.python.rename(environment.python.with_name(version))
    assert environment.run() == (7, b"", "")
    environment.avcheck.unlink()
    assert_deferred(environment.run(), 127)


def test_a_link_to_avcheck_is_followed(environment: Environment) -> None:
    """pipx and uv make one; the environment is around the other end."""
    environment.main_is("os.write(1, os.fsencode(sys.argv[0]))\nos._exit(7)\n")
    link = environment.directory.parent / "avcheck"
    link.symlink_to(environment.avcheck)
    ended = environment.run(guard=[environment.guard_alone(), link])
    assert ended == (7, os.fsencode(link), "")
