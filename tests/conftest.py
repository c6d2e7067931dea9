"""What the tests share: the installed command, and sites to run it at."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import hypothesis
import pytest

from avcheck import run
from tests.support import once
from tests.support.installed import interpreter
from tests.support.mta import Site

# The same examples every time, and no clock: a slow machine fails no test.
hypothesis.settings.register_profile("avcheck", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("avcheck")

# What the tests start would have inherited it: nohup(1) ignores SIGHUP, a shell without job
# control SIGINT and SIGQUIT in what it runs in the background, and others block signals.
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # those are Python's
    if signal.getsignal(number) == signal.SIG_IGN:
        python = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, python)
signal.pthread_sigmask(signal.SIG_SETMASK, ())


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests that stay to the end: no garbage is looked for among them


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # all workers have ended
        once.remove_all()


# nobody, on every Linux.
NOBODY = 65534


@pytest.fixture(autouse=True)
def nobody_has_taken_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the start of a process, whatever a test before this one has done in it."""
    monkeypatch.setattr(run, "current", None)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command: the one beside this interpreter.

    By a link to the environment where its path has a blank: a handler is told to send mail by
    words, which blanks separate (SENDMAIL in avcheck(1)).
    """
    path = Path(sys.executable).with_name("avcheck")
    assert path.exists(), f"{path}: install avcheck into this environment first"
    if " " not in str(path):
        return path
    link = tmp_path_factory.mktemp("linked") / "environment"
    link.symlink_to(path.parents[1])
    return link / "bin" / "avcheck"


# Coverage measures one in so many cases where they are many: a process that is measured takes
# seven times as long, and a parser three times, and the others show nothing more.
ONE_IN = 8

# The environment in which coverage measures a process that is started: who is not given it
# is not measured.
_measuring: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", 0):
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            _measuring[name] = os.environ.pop(name)


def is_measured(case: str) -> bool:
    """Whether it is this case's turn: the same ones each time, whoever runs them."""
    return crc32(case.encode()) % ONE_IN == 0


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment in which coverage measures what is run, if it is on and this case's turn."""
    return _measuring if is_measured(request.node.nodeid) else {}


@pytest.fixture
def seldom_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage looks at this case only if it is its turn."""
    tracing = sys.gettrace()
    if not is_measured(request.node.nodeid):
        sys.settrace(None)
    yield
    sys.settrace(tracing)


@pytest.fixture
def site(command: Path, measured: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """A site with a clamd that finds nothing and a mail server that takes everything."""
    with Site([command], tmp_path, measured=measured) as place:
        place.clamd()
        place.smtp()
        yield place


@pytest.fixture(scope="session")
def public(command: Path) -> Iterator[Path]:
    """A copy of the command and the package that every account can run, and a directory to do it.

    pytest's own directories, and maybe the one with this source, are closed to others.
    """
    with tempfile.TemporaryDirectory(prefix="avcheck-test-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(
            Path(sysconfig.get_path("purelib")) / "avcheck",
            directory / "avcheck",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copy(command, directory / "command")
        for path in [directory, *directory.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield directory


@pytest.fixture
def unprivileged(public: Path) -> Iterator[Site]:
    """A site where avcheck is run by an account that permissions stop: not by root."""
    root = os.geteuid() == 0
    # Nothing of coverage: its files belong to root.
    environment = {"PYTHONPATH": str(public), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory(prefix="site-", dir=public) as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Site(
            [interpreter(), public / "command"],
            directory,
            user=NOBODY if root else None,
            environment=environment,
        ) as place:
            place.clamd()
            place.smtp()
            yield place
