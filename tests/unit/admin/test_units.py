"""The socket units of systemd that start avcheck-smtp."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from avcheck.admin import units
from tests.support.tree import ROOT

CONTRIB = ROOT / "contrib" / "systemd"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the administrator has his units."""
    monkeypatch.setattr(units, "PLACES", (str(tmp_path), str(tmp_path / "nonesuch")))
    return tmp_path


def installed(etc: Path, *names: str) -> list[units.Socket]:
    for name in names:
        shutil.copy(CONTRIB / name, etc)
    return list(units.sockets("avcheck-smtp"))


def test_one_that_accepts_itself(etc: Path) -> None:
    (found,) = installed(etc, "avcheck-smtp.socket", "avcheck-smtp.service")
    assert (found.name, found.port, found.connections) == ("avcheck-smtp.socket", "10025", 0)
    assert found.argv[0] == "/opt/avcheck/bin/avcheck-smtp"
    assert "--processes" in found.argv
    assert (found.user, found.group) == ("avclient", "avgroup")


def test_one_with_a_process_for_each_connection(etc: Path) -> None:
    (found,) = installed(etc, "avcheck-smtp-each.socket", "avcheck-smtp-each@.service")
    assert (found.port, found.connections) == ("10025", 10)


def test_one_whose_service_is_missing_or_runs_something_else(etc: Path) -> None:
    assert installed(etc, "avcheck-smtp.socket") == []
    (etc / "avcheck-smtp.service").write_text("[Service]\nExecStart=/bin/cat '\n")
    assert installed(etc) == []
    (etc / "avcheck-smtp.service").write_text("[Service]\nExecStart=/bin/cat\n")
    assert installed(etc) == []


def test_one_on_a_path_is_none_of_postfix(etc: Path) -> None:
    installed(etc, "avcheck-smtp.socket", "avcheck-smtp.service")
    socket = etc / "avcheck-smtp.socket"
    socket.write_text(socket.read_text().replace("127.0.0.1:10025", "/run/avcheck.sock"))
    assert installed(etc) == []


def test_how_units_are_written() -> None:
    text = "# x\n; y\n[Service]\nExecStart=-/a/avcheck-smtp \\\n  --config /b\nUser = c\nUser=d\n"
    found = units.parse(text)
    assert units.words(found["Service", "ExecStart"]) == ("/a/avcheck-smtp", "--config", "/b")
    assert found["Service", "User"] == "d"
