"""The one in the middle, without avcheck."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.rot import kinds
from tests.campaigns.rot.kinds import BACK, THERE, Rot
from tests.campaigns.rot.middle import Conversation, Middle
from tests.support.fakes import Server


class Daemon(Server):
    """Greets, waits for the end of what the client says, and says it again.

    If a descriptor comes, what can be read there is said instead.
    """

    def play(self, client: socket.socket) -> None:
        client.sendall(b"hello\n")
        heard, rights = b"", list[int]()
        while True:
            piece, some, _, _ = socket.recv_fds(client, 4096, 1)
            rights += some
            if not piece:
                break
            heard += piece
        for number in rights:
            heard = os.pread(number, 100, 0)
            os.close(number)
        client.sendall(heard)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    server = Daemon(tmp_path / "daemon")
    with server:
        yield server


@pytest.fixture
def tcp_daemon() -> Iterator[Daemon]:
    server = Daemon()
    with server:
        yield server


def port_of(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


def talk(middle: Middle, rot: Rot | None, descriptor: int | None = None) -> bytes:
    """What a client hears who says "yes, well" and then no more."""
    middle.begin(rot, lambda: True)
    unix = middle.address.startswith("/")
    heard = b""
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
        client.connect(middle.address if unix else port_of(middle.address))
        if descriptor is None:
            client.sendall(b"yes, well")
        else:
            socket.send_fds(client, [b"yes, well"], [descriptor])
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(4096):
            heard += piece
    return heard


def only(middle: Middle) -> Conversation:
    (conversation,) = middle.end()
    return conversation


def test_it_passes_on_what_is_said(daemon: Daemon, tmp_path: Path) -> None:
    with Middle(Path(daemon.where), tmp_path / "middle") as middle:
        assert talk(middle, None) == b"hello\nyes, well"
        found = only(middle)
    assert [found.there.said, found.back.said] == [b"yes, well", b"hello\nyes, well"]
    assert found.arrived(THERE) == b"yes, well"
    assert not found.struck


def test_it_passes_on_a_descriptor(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"the file")
    with Middle(Path(daemon.where), tmp_path / "middle") as middle, file.open("rb") as content:
        assert talk(middle, None, content.fileno()) == b"hello\nthe file"
        middle.end()
        rot = Rot(THERE, 3, kinds.SPLIT)
        assert talk(middle, rot, content.fileno()) == b"hello\nthe file"
        middle.end()


@pytest.mark.parametrize(
    ("rot", "heard"),
    [
        (Rot(THERE, 0, kinds.REMOVE), b"hello\nes, well"),
        (Rot(BACK, 0, kinds.CHANGE, ord("j")), b"jello\nyes, well"),
        (Rot(THERE, 3, kinds.HALF), b"hello\nyes"),
        (Rot(BACK, 8, kinds.CUT), b"hello\nye"),
        (Rot(THERE, 2, kinds.IDLE), b"hello\nyes, well"),
    ],
)
@pytest.mark.parametrize("where", ["daemon", "tcp_daemon"])
def test_it_spoils_a_byte(
    rot: Rot, heard: bytes, where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Daemon = request.getfixturevalue(where)
    unix = server.where.startswith("/")
    daemon = Path(server.where) if unix else port_of(server.where)
    with Middle(daemon, tmp_path / "middle" if unix else None) as middle:
        assert talk(middle, rot) == heard
        assert only(middle).struck


def test_a_reset_is_an_error_at_the_other_end(tcp_daemon: Daemon) -> None:
    with Middle(port_of(tcp_daemon.where)) as middle:
        middle.begin(Rot(BACK, 6, kinds.RESET), lambda: True)
        with socket.create_connection(port_of(middle.address)) as client:
            assert client.recv(6, socket.MSG_WAITALL) == b"hello\n"
            with pytest.raises(ConnectionResetError):
                client.recv(6)
        assert only(middle).struck


def test_what_is_late_comes_when_the_client_has_gone(tcp_daemon: Daemon) -> None:
    with Middle(port_of(tcp_daemon.where)) as middle:
        middle.begin(Rot(THERE, 3, kinds.LATE), lambda: True)
        with socket.create_connection(port_of(middle.address)) as client:
            client.sendall(b"yes, well")
            assert client.recv(6, socket.MSG_WAITALL) == b"hello\n"
        found = only(middle)
    assert [step for step in found.steps if step[0] == THERE] == [
        (THERE, b"yes, well", b"yes"),
        (THERE, b"", b", well"),
    ]
    assert found.back.said == b"hello\nyes, well"
