"""The scanner in docs/scanners.md, as it stands there, on a daemon that it could be for."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.seen import FRONT
from tests.support.fakes import Server
from tests.support.mta import KEEP, TEMPFAIL, Ended, Site
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "scanners.md"
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block(name: str) -> str:
    """A code block of the page."""
    return {found[1]: found[2] for found in BLOCK.finditer(DOCUMENT.read_text())}[name]


class Gate(Server):
    """The daemon of the example; it says what it is told."""

    def __init__(self, path: Path | None, says: bytes) -> None:
        self.heard: list[tuple[bytes, bytes]] = []
        self._says = says
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        with client.makefile("rb") as words:
            profile = words.readline().removeprefix(b"PROFILE ").rstrip(b"\n")
            size = int(words.readline().removeprefix(b"CHECK "))
            self.heard.append((profile, words.read(size)))
        client.sendall(self._says)


@pytest.fixture
def modules(tmp_path: Path) -> dict[str, str]:
    """The environment in which the module of the page is found."""
    package = tmp_path / "modules" / "mysite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "gate.py").write_text(block("mysite/gate.py"))
    return {"PYTHONPATH": str(package.parent)}


def check(
    site: Site, modules: dict[str, str], scanner: str, message: bytes = b"Subject: x\n\nHello.\n"
) -> Ended:
    words = site.words("-n", scanners=[scanner])
    return site.start(words, environment=modules).end(message)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "gate.sock"


def test_it_scans(site: Site, modules: dict[str, str], place: Path) -> None:
    with Gate(place, b"PASS\n") as gate:
        assert isinstance(gate, Gate)
        ended = check(site, modules, f"mysite.gate:{place}")
        assert ended.output.startswith(b"clean: mysite.gate ")
        assert ended.status == 0
        assert gate.heard == [(b"mail", FRONT + b"Subject: x\n\nHello.\n")]


def test_it_knows_its_parameter_and_a_tcp_port(site: Site, modules: dict[str, str]) -> None:
    with Gate(None, b"PASS\n") as gate:
        assert isinstance(gate, Gate)
        message = b"Subject: x\n\n" + b"0123456789abcde\n" * 200_000
        ended = check(site, modules, f"mysite.gate:{gate.where}?profile=strict", message)
        assert ended.status == 0, ended
        ((profile, content),) = gate.heard
        assert profile == b"strict"
        assert content.endswith(message)


@pytest.mark.parametrize(
    ("says", "status", "output"),
    [
        (b"BLOCK Eicar, Other\n", 0, b"infected: Eicar, Other; "),
        (b"LOCKED\n", 0, b"encrypted: LOCKED; "),
        (b"BUSY\n", TEMPFAIL, b"unexpected reply BUSY"),
        (b"PASS", TEMPFAIL, b"closed the connection after 'PASS'"),
        (b"", TEMPFAIL, b"closed the connection"),
        (b"PASSED\n", TEMPFAIL, b"unexpected reply PASSED"),
    ],
)
def test_it_says_what_the_daemon_says(
    site: Site, modules: dict[str, str], place: Path, says: bytes, status: int, output: bytes
) -> None:
    site.handler()
    with Gate(place, says):
        ended = check(site, modules, f"mysite.gate:{place}")
    assert ended.status == status, ended
    assert output in ended.output
    assert os.listdir(site.spool) == []


@pytest.mark.parametrize("module", ["mysite.none", "nobody.gate"])
def test_a_module_that_is_missing_is_a_scanner_that_failed(
    site: Site, modules: dict[str, str], place: Path, module: str
) -> None:
    ended = check(site, modules, f"{module}:{place}")
    assert ended.status == TEMPFAIL
    assert KEEP.match(ended.output)
    assert b"not installed" in ended.output


def test_a_module_with_a_mistake_lets_nothing_pass(
    site: Site, modules: dict[str, str], place: Path
) -> None:
    (Path(modules["PYTHONPATH"]) / "mysite" / "gate.py").write_text("1/0\n")
    with Gate(place, b"PASS\n"):
        ended = check(site, modules, f"mysite.gate:{place}")
    assert ended.status == TEMPFAIL
    assert KEEP.match(ended.output)
