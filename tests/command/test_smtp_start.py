"""avcheck-smtp before its first word: a configuration that does not come, a socket that listens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck.smtpd import __main__ as way_in
from avcheck.smtpd import main
from tests.support.fakes import PATIENCE
from tests.support.mta import Site, until
from tests.support.smtp_client import Listening, Served, is_quiet, spawned, with_own_package, words

BROKEN = b"421 4.3.5 Server configuration error\r\n"


def with_constant(line: list[str], module: str, name: str, value: float) -> list[str]:
    """The command line, with a constant of a module of avcheck that is this."""
    code = (
        "from avcheck.smtpd.__main__ import main",
        f"import avcheck.{module} as at",
        f"at.{name} = {value}",
        "main()",
    )
    return [sys.executable, "-c", "; ".join(code), *line[1:]]


@pytest.fixture
def never(tmp_path: Path) -> Iterator[str]:
    """A pipe with a name that somebody has opened, and writes nothing to."""
    path = tmp_path / "config"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield str(path)
    os.close(fd)


def ends_unusable(talk: Served) -> None:
    assert talk.hear() == BROKEN
    talk.hung_up()
    assert talk.end() == 75


def test_a_configuration_that_does_not_come_is_not_waited_for(site: Site, never: str) -> None:
    line = [*words(site), "--config", never]
    with spawned(with_constant(line, "options.file", "LOAD_MAX", 0.2)) as talk:
        ends_unusable(talk)


def test_nor_if_somebody_ends_us(site: Site, never: str) -> None:
    with spawned([*words(site), "--config", never]) as talk:
        until(lambda: has_open(talk.pid, never))
        talk.signal(signal.SIGTERM)
        ends_unusable(talk)


def has_open(pid: int, path: str) -> bool:
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(entry.path) == path:
                return True
    return False


def test_who_listens_does_not_start_it_again_at_once(site: Site) -> None:
    line = [*words(site), "--nonesuch"]
    with Listening(with_constant(line, "smtpd.main", "AGAIN", 0.5)) as server:
        began = monotonic()
        server.connect()
        assert server.process.wait(PATIENCE) == 75
        assert monotonic() - began > 0.5


# What is broken, and whether avcheck's log can be told.
EARLY = ("exits.py", "smtpd/__main__.py", "__init__.py", "the interpreter")
LATE = ("smtpd/listener.py", "smtpd/children.py", "settings.py")


def broken(site: Site, command: Path, what: str) -> None:
    """Break the installation, and have it wait for half a second where it waits for five."""
    package = with_own_package(site, command)
    place = Path(site.command[-1]).parent
    for path in (package / "smtpd" / "__main__.py", package / "smtpd" / "main.py"):
        path.write_text(re.sub(r"AGAIN = 5(.0)?\b", "AGAIN = 0.5", path.read_text()))
    launcher = place / "avcheck-smtp"
    launcher.write_text(launcher.read_text().replace("sleep(5)", "sleep(0.5)"))
    launcher.write_text(launcher.read_text().replace("sleep 5", "sleep 0.5"))
    if what == "the interpreter":
        launcher.write_text(launcher.read_text().replace("python=", "python=/nonesuch"))
    else:
        (package / what).write_text("1 / 0\n")


@pytest.mark.parametrize("what", [*EARLY, *LATE])
def test_nor_where_nothing_works(site: Site, command: Path, what: str) -> None:
    broken(site, command, what)
    with Listening(words(site)) as server:
        began = monotonic()
        talk = server.connect()
        assert server.process.wait(PATIENCE) == 75
        assert monotonic() - began > 0.5
        assert is_quiet(talk)


@pytest.mark.parametrize("what", EARLY)
def test_standard_error_is_told_if_it_is_not_the_client_s(
    site: Site, command: Path, what: str
) -> None:
    """As systemd starts it by the unit in contrib."""
    broken(site, command, what)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = subprocess.run(
            words(site),
            stdin=listening.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 75
    assert b"broken installation: " in done.stderr


@pytest.mark.parametrize("what", [*EARLY, *LATE])
def test_one_client_hears_one_line_and_no_more(site: Site, command: Path, what: str) -> None:
    broken(site, command, what)
    with spawned(words(site)) as talk:
        if what == "the interpreter":
            talk.hung_up()
            assert talk.end() == 75
        elif what in ("smtpd/listener.py", "smtpd/children.py"):  # it needs neither
            talk.hello()
            talk.quit()
        else:
            ends_unusable(talk)


def test_what_one_message_needs_is_no_other_s_matter(site: Site, command: Path) -> None:
    package = with_own_package(site, command)
    for name in ("quarantine.py", "mime.py", "tls.py", "state/slots.py"):
        (package / name).write_text("def half_of(\n")
    with Listening(words(site)) as server:
        talk = server.connect()
        talk.hello()
        assert talk.send().startswith(b"250 ")
        talk.quit()


def test_a_signal_ends_that_wait(site: Site) -> None:
    with Listening([*words(site), "--nonesuch"]) as server:
        until(lambda: os.path.realpath(f"/proc/{server.process.pid}/fd/0") == os.devnull)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 75


def test_both_wait_as_long() -> None:
    assert way_in.AGAIN == main.AGAIN
