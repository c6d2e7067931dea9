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
    assert (found.name, found.port, found.connections) == ("avcheck-smtp.socket", "10025", None)
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
    (start,) = found["Service", "ExecStart"]
    assert units.words(start) == ("/a/avcheck-smtp", "--config", "/b")
    assert found["Service", "User"] == ["c", "d"]
    assert units.parse("[Socket]\nListenStream=1\nListenStream=\n") == {
        ("Socket", "ListenStream"): []
    }


def drop_in(etc: Path, name: str, text: str) -> None:
    (etc / name).parent.mkdir(parents=True, exist_ok=True)
    (etc / name).write_text(text)


def test_what_drop_ins_say_counts(etc: Path) -> None:
    start = "[Service]\nExecStart=\nExecStart=/opt/avcheck/bin/avcheck-smtp --processes 3\n"
    drop_in(etc, "avcheck-smtp.service.d/override.conf", f"{start}User=other\n")
    drop_in(etc, "avcheck-.service.d/10-group.conf", "[Service]\nGroup=ours\nUser=theirs\n")
    drop_in(etc, "avcheck-smtp.socket.d/a.conf", "[Socket]\nListenStream=[::1]:10024\n")
    both = installed(etc, "avcheck-smtp.socket", "avcheck-smtp.service")
    assert [each.port for each in both] == ["10025", "10024"]
    assert both[0].argv[1:] == ("--processes", "3")
    assert (both[0].user, both[0].group) == ("other", "ours")
    drop_in(etc, "avcheck-smtp.socket.d/b.conf", "[Socket]\nListenStream=\nListenStream=10027\n")
    assert [each.port for each in installed(etc)] == ["10027"]


def test_a_drop_in_takes_the_place_of_one_with_its_name(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = etc / "usr"
    monkeypatch.setattr(units, "PLACES", (str(etc), str(vendor)))
    drop_in(vendor, "avcheck-smtp.service.d/x.conf", "[Service]\nUser=vendor\n")
    (found,) = installed(etc, "avcheck-smtp.socket", "avcheck-smtp.service")
    assert found.user == "vendor"
    drop_in(etc, "avcheck-smtp.service.d/x.conf", "[Service]\nUser=admin\n")
    assert [each.user for each in installed(etc)] == ["admin"]
    # Of two directories of the same place, the one with the whole name.
    drop_in(etc, "service.d/x.conf", "[Service]\nUser=all\n")
    assert [each.user for each in installed(etc)] == ["admin"]
    (etc / "avcheck-smtp.service.d/x.conf").unlink()
    (etc / "avcheck-smtp.service.d/x.conf").symlink_to("/dev/null")
    assert [each.user for each in installed(etc)] == ["avclient"]


def test_a_unit_that_is_masked(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = etc / "usr"
    vendor.mkdir()
    monkeypatch.setattr(units, "PLACES", (str(etc), str(vendor)))
    assert installed(vendor, "avcheck-smtp.socket", "avcheck-smtp.service") != []
    (etc / "avcheck-smtp.socket").symlink_to("/dev/null")
    assert installed(etc) == []
