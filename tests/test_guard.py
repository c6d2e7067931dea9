"""scripts/avcheck-guard.sh: avcheck's status, or 75; nothing else is changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "avcheck-guard.sh"
PATIENCE = 30

# What a Python or a shell that cannot start leaves, as the script has it.
MAPPED = {1, 2, 120, *range(126, 256)}


class Pair:
    """The guard, and beside it an avcheck that is whatever the test wants."""

    def __init__(self, directory: Path, shell: str) -> None:
        # A name that has to be quoted.
        self.directory = directory / "b i*n $HOME é"
        self.directory.mkdir()
        self.shell = shell
        self.guard = self.directory / SCRIPT.name
        shutil.copy(SCRIPT, self.guard)
        self.avcheck = self.directory / "avcheck"

    def is_script(self, text: str) -> None:
        self.avcheck.write_text(text)
        self.avcheck.chmod(0o755)

    def start(self, *words: str | bytes) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.shell, self.guard, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str | bytes, stdin: bytes = b"") -> tuple[int, bytes, str]:
        process = self.start(*words)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return process.returncode, out, err.decode()


@pytest.fixture(params=["dash", "bash"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    return Pair(tmp_path, request.param)


def assert_deferred(result: tuple[int, bytes, str], status: int) -> None:
    assert result[0] == 75
    assert result[1] == b""
    assert result[2].splitlines()[-1] == f"4.3.5 avcheck could not be started (status {status})"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_every_status_is_passed_on_or_mapped(tmp_path: Path, shell: str) -> None:
    pair = Pair(tmp_path, shell)
    pair.is_script('#!/bin/sh\nexit "$1"\n')
    for status in range(256):
        result = pair.run(str(status))
        if status in MAPPED:
            assert_deferred(result, status)
            assert result[2].count("\n") == 1
        else:
            assert result == (status, b"", "")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGPIPE])
def test_death_by_signal_defers(pair: Pair, signum: signal.Signals) -> None:
    pair.is_script(f"#!/bin/sh\nkill -{signum.value} $$\n")
    assert_deferred(pair.run(), 128 + signum)


def test_a_missing_avcheck_defers(pair: Pair) -> None:
    assert_deferred(pair.run(), 127)


def test_an_avcheck_that_may_not_be_run_defers(pair: Pair) -> None:
    pair.avcheck.write_text("#!/bin/sh\n")
    assert_deferred(pair.run(), 126)


def test_a_directory_in_its_place_defers(pair: Pair) -> None:
    pair.avcheck.mkdir()
    assert_deferred(pair.run(), 126)


@pytest.mark.parametrize(
    ("first_line", "statuses"),
    [
        ("#!/no/such/python", {126, 127}),
        ("#!/etc/passwd", {126}),
        ("#!/usr/bin/env no-such-python", {127}),
        ("#!/usr/bin/python3 --no-such-option", {2}),
        ("#!/usr/bin/python3\nimport no_such_module", {1}),
        ("#!/usr/bin/python3\nthis is no Python", {1}),
        ("#!/usr/bin/python3\nimport os; os.abort()", {134}),
    ],
)
def test_a_broken_interpreter_defers(pair: Pair, first_line: str, statuses: set[int]) -> None:
    if "python3" in first_line and not Path("/usr/bin/python3").exists():
        pytest.skip("no /usr/bin/python3")
    pair.is_script(first_line + "\n")
    result = pair.run()
    (status,) = (number for number in statuses if f"(status {number})" in result[2])
    assert_deferred(result, status)


def test_arguments_and_streams_pass_untouched(pair: Pair) -> None:
    pair.is_script(
        "#!/usr/bin/env python3\n"
        "import os, sys\n"
        "words = [os.fsencode(word) for word in sys.argv[1:]]\n"
        "os.write(1, b'\\0'.join(words) + b'\\0\\0' + sys.stdin.buffer.read())\n"
        "os.write(2, b'4.3.0 held back\\n')\n"
        "os._exit(75)\n"
    )
    words = [b"-f", b"", b"--", b"-x", b"a b\t*\n$(id)\\", bytes(range(1, 256)), b"\xff\xc3"]
    message = bytes(range(256)) * 1000
    status, out, err = pair.run(*words, stdin=message)
    assert status == 75
    assert out == b"\0".join(words) + b"\0\0" + message
    assert err == "4.3.0 held back\n"


def test_avcheck_is_told_who_called(pair: Pair) -> None:
    pair.is_script('#!/bin/sh\necho "$AVCHECK_CALLER"\n')
    assert pair.run() == (0, b"%d\n" % os.getpid(), "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("to", ["guard", "both"])
def test_it_outlives_and_reports_its_child(pair: Pair, to: str, signum: signal.Signals) -> None:
    # The child says that it is there, answers a signal with 75, and else waits for the end
    # of its input, as avcheck would.
    pair.is_script(
        "#!/usr/bin/env python3\n"
        "import os, signal, sys\n"
        "def leave(*_):\n"
        "    os._exit(75)\n"
        "for name in ('TERM', 'HUP', 'INT', 'QUIT'):\n"
        "    assert signal.getsignal(signal.Signals['SIG' + name]) is not signal.SIG_IGN, name\n"
        "    signal.signal(signal.Signals['SIG' + name], leave)\n"
        "print('here', flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(7)\n"
    )
    process = pair.start()
    assert process.stdout
    assert process.stdout.readline() == b"here\n"
    if to == "both":
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == (75 if to == "both" else 7)
    assert err == b""


def test_nobody_reading_its_words_changes_nothing(pair: Pair) -> None:
    pair.is_script("#!/bin/sh\nexit 1\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([pair.shell, pair.guard], stdout=writer, stderr=writer, timeout=PATIENCE)
    os.close(writer)
    assert done.returncode == 75


def test_closed_streams_change_nothing(pair: Pair) -> None:
    pair.is_script("#!/bin/sh\nexit 1\n")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", pair.shell, pair.guard], timeout=PATIENCE
    )
    assert done.returncode == 75


def test_it_has_to_be_called_by_its_absolute_path(pair: Pair) -> None:
    pair.is_script("#!/bin/sh\nexit 0\n")
    done = subprocess.run(
        [pair.shell, SCRIPT.name], cwd=pair.directory, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 75
    assert done.stderr.startswith(b"4.3.5 ")
