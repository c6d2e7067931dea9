"""avcheck-smtp as inetd(8) and xinetd start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck.admin import inetd

PROGRAM = "/opt/avcheck/bin/avcheck-smtp"
OPTIONS = ("--config", "/etc/avcheck/smtp.conf")
LINE = (
    f"127.0.0.1:10025 stream tcp nowait avclient.avgroup {PROGRAM} avcheck-smtp {' '.join(OPTIONS)}"
)
SERVICE = f"""\
# which is started by xinetd
service avcheck-smtp
{{
    type        = UNLISTED
    port        = 10025
    socket_type = stream
    wait        = no
    user        = avclient
    group       = avgroup
    server      = {PROGRAM}
    server_args = {" ".join(OPTIONS)}
    disable     = no
}}
"""


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(inetd, "INETD", str(tmp_path / "inetd.conf"))
    names = ("xinetd.conf", "xinetd.d/*")
    monkeypatch.setattr(inetd, "XINETD", tuple(str(tmp_path / name) for name in names))
    (tmp_path / "xinetd.d").mkdir()
    return tmp_path


def found(name: str = "avcheck-smtp") -> list[tuple[str, tuple[str, ...], str, str, int | None]]:
    return [
        (each.port, each.argv, each.user, each.group, each.connections)
        for each in inetd.sockets(name)
    ]


@pytest.mark.parametrize(
    ("old", "new", "connections"),
    [
        ("", "", 0),
        ("nowait", "nowait.100", 0),
        ("nowait", "wait", None),
        ("avclient.avgroup", "avclient:avgroup", 0),
        (PROGRAM + " avcheck-smtp", f"/usr/sbin/tcpd {PROGRAM}", 0),
    ],
)
def test_a_line_of_inetd(etc: Path, old: str, new: str, connections: int | None) -> None:
    (etc / "inetd.conf").write_text(f"#off {LINE}\n{LINE.replace(old, new, 1)} # a filter\n")
    assert found() == [("10025", (PROGRAM, *OPTIONS), "avclient", "avgroup", connections)]


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("stream", "dgram"),
        LINE.replace("127.0.0.1:10025", "no-such-service"),
        LINE.replace(PROGRAM, "/bin/cat"),
        "10025 stream tcp nowait root internal",
    ],
)
def test_what_is_no_line_of_ours(etc: Path, line: str) -> None:
    (etc / "inetd.conf").write_text(f"{line}\n")
    assert found() == []


def test_a_port_that_is_named(etc: Path) -> None:
    (etc / "inetd.conf").write_text(f"{LINE.replace('127.0.0.1:10025', 'smtp')}\n")
    assert [each[0] for each in found()] == ["25"]


@pytest.mark.parametrize(
    ("old", "new", "connections"),
    [
        ("", "", 0),
        ("disable     = no", "instances = 10", 10),
        ("wait        = no", "wait        = yes", None),
        (f"= {PROGRAM}\n    server_args = ", f"= /usr/sbin/tcpd\n    server_args = {PROGRAM} ", 0),
    ],
)
def test_a_service_of_xinetd(etc: Path, old: str, new: str, connections: int | None) -> None:
    (etc / "xinetd.d" / "avcheck").write_text(SERVICE.replace(old, new, 1))
    assert found() == [("10025", (PROGRAM, *OPTIONS), "avclient", "avgroup", connections)]


def test_what_xinetd_has_for_all(etc: Path) -> None:
    (etc / "xinetd.conf").write_text("defaults\n{\n    instances = 60\n    # user = x\n}\n")
    (etc / "xinetd.d" / "avcheck").write_text(SERVICE)
    assert [each[-1] for each in found()] == [60]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("disable     = no", "disable     = yes"),
        (f"server      = {PROGRAM}", ""),
        (PROGRAM, "/bin/cat"),
        ("--config", "'"),
    ],
)
def test_what_is_no_service_of_ours(etc: Path, old: str, new: str) -> None:
    (etc / "xinetd.d" / "avcheck").write_text(SERVICE.replace(old, new, 1))
    assert found() == []
