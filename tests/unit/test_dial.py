"""Connecting: by path, by name, to hosts that are busy, silent or gone."""

from __future__ import annotations

import _socket
import errno
import itertools
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import conn, dial, stream, unix
from avcheck.address import Address
from avcheck.conn import Conn
from avcheck.exits import BROKEN, SILENT, Defer
from tests.support.wire import at, listening, listening_tcp, soon, tick

Places = list[tuple[int, int, int, str, object]]


def test_a_daemon_is_found_by_its_path(tmp_path: Path) -> None:
    with listening(tmp_path / "s"), conn.connect((at(tmp_path / "s"),), soon()) as link:
        assert link.peer == str(tmp_path / "s")
        assert link.address == at(tmp_path / "s")
        assert not os.get_inheritable(link.sock.fileno())


def test_the_first_address_that_answers_is_taken(tmp_path: Path) -> None:
    with listening(tmp_path / "b"), listening(tmp_path / "c"):
        places = [at(tmp_path / name) for name in "abc"]
        with conn.connect(places, soon()) as link:
            assert link.address == places[1]


def test_where_nobody_answers_each_reason_is_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        places = [at(tmp_path / "none"), at(tmp_path / "deaf")]
        with pytest.raises(Defer) as why:
            conn.connect(places, soon())
    assert why.value.code == SILENT
    reasons = why.value.text.split("; ")
    assert reasons[0] == f"{tmp_path}/none: connect: No such file or directory"
    assert reasons[1] == "is the daemon running?"
    assert reasons[2] == f"{tmp_path}/deaf: connect: Connection refused"
    assert reasons[3] == "is the daemon running?"


def test_a_path_that_is_too_long_for_a_socket_is_no_bug() -> None:
    with pytest.raises(Defer, match="connect: AF_UNIX path too long"):
        conn.connect((Address(path=b"/" * 110),), soon())


def test_a_socket_that_is_forbidden_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden(_socket.socket):
        def connect(self, address: object, /) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("avcheck.dial.socket.socket", Forbidden)
    with pytest.raises(Defer, match="/s: connect: Permission denied; this user needs access"):
        conn.connect((Address(path=b"/s"),), soon())


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[socket.socket]:
    """A Unix socket whose backlog is full: it listens, and nobody accepts."""
    with listening(tmp_path / "busy", 0) as server, socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(tmp_path / "busy"))
        yield server


def test_a_busy_daemon_is_waited_for(
    busy: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            busy.accept()[0].close()

    monkeypatch.setattr(dial, "sleep", nap)
    with conn.connect((at(tmp_path / "busy"),), soon()):
        pass
    assert naps == [dial.BACKLOG_PAUSE] * 3


def test_a_busy_daemon_is_not_waited_for_longer_than_the_deadline(
    busy: socket.socket, tmp_path: Path
) -> None:
    with pytest.raises(Defer, match="/busy: connect: no answer in time") as why:
        conn.connect((at(tmp_path / "busy"),), tick())
    assert why.value.code == SILENT


def test_a_busy_daemon_is_left_for_another_in_a_while(
    busy: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "CONNECT_MAX", 0.05)
    places = (at(tmp_path / "busy"), at(tmp_path / "idle"))
    with listening(tmp_path / "idle"), conn.connect(places, soon()) as link:
        assert link.address == places[1]


def test_a_connection_over_tcp_does_not_wait_to_send() -> None:
    with listening_tcp() as (server, address), conn.connect((address,), soon()) as link:
        assert link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert link.sock.getpeername() == server.getsockname()


def test_an_ipv6_address_is_found() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with listening_tcp("::1") as (server, address), conn.connect((address,), soon()) as link:
        assert link.sock.family == socket.AF_INET6
        assert link.peer == f"[::1]:{server.getsockname()[1]}"


def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = b"%d" % bound.getsockname()[1]
        with pytest.raises(Defer, match="Connection refused; is the daemon running") as why:
            conn.connect((Address(host=b"127.0.0.1", port=port),), soon())
    assert why.value.code == SILENT


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"127.0.0.1", b"no-such-service"),
        (b"127.0.0.1", b"\xff"),
        (b"256.0.0.1.2", b"25"),
        (b"x" * 70, b"25"),
    ],
)
def test_a_host_or_service_that_is_none_is_named(host: bytes, port: bytes) -> None:
    with pytest.raises(Defer, match="no such host or service") as why:
        conn.connect((Address(host=host, port=port),), soon())
    assert why.value.code == SILENT


def test_the_addresses_of_a_host_are_tried_one_after_the_other_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    tried: list[str] = []

    class Refusing(_socket.socket):
        def connect(self, address: object, /) -> None:
            assert isinstance(address, tuple)
            tried.append(address[0])
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def resolve(host: bytes, port: str, *more: int) -> Places:
        assert (host, port) == (b"clamd.example", "3310")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 3310)) for each in hosts]

    monkeypatch.setattr("avcheck.dial.socket.getaddrinfo", resolve)
    monkeypatch.setattr("avcheck.dial.socket.socket", Refusing)
    chance = random.Random(1)
    monkeypatch.setattr(unix, "urandom", chance.randbytes)
    orders = set()
    for _ in range(60):
        tried.clear()
        with pytest.raises(Defer):
            conn.connect((Address(host=b"clamd.example", port=b"3310"),), soon())
        orders.add(tuple(tried))
    assert orders == set(itertools.permutations(hosts))


def test_the_loss_of_the_other_host_is_noticed_over_tcp(tmp_path: Path) -> None:
    """What becomes of a connection then is in tests/live/test_scaling.py."""
    with listening_tcp() as (_, address), conn.connect((address,), soon()) as link:
        assert not link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        link.enable_keepalive()
        for _ in range(2):
            assert link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, every, probes = (
                link.sock.getsockopt(socket.IPPROTO_TCP, name)
                for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + every * probes <= 30
            link.again()
    with listening(tmp_path / "s"), conn.connect((at(tmp_path / "s"),), soon()) as link:
        link.enable_keepalive()


class Lost(socket.socket):
    """A socket whose kernel has given up the other host."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def sendall(self, data: object, flags: int = 0, /) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")


def test_a_host_that_was_lost_is_no_slow_one() -> None:
    with Lost() as lost:
        link = Conn(lost, Address(host=b"av.example", port=b"3310"), soon())
        for step in (link.line, lambda: link.send(b"PING")):
            with pytest.raises(Defer, match=stream.GONE) as why:
                step()
            assert why.value.code == BROKEN


def test_a_connection_that_cannot_be_probed_is_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Plain(_socket.socket):
        def setsockopt(self, *words: object) -> None:
            if words[0] == socket.SOL_SOCKET:
                raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("avcheck.dial.socket.socket", Plain)
    with listening_tcp() as (server, address), conn.connect((address,), soon()) as link:
        link.enable_keepalive()
        server.accept()[0].sendall(b"here\n")
        assert link.line() == b"here"


def test_a_family_that_this_host_has_not_is_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = _socket.socket

    def make(family: int, kind: int) -> _socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, kind)

    with listening_tcp() as (_, address):
        port = int(address.port)
        places: Places = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr("avcheck.dial.socket.getaddrinfo", lambda *args: places)
        monkeypatch.setattr("avcheck.dial.socket.socket", make)
        conn.connect((address,), soon()).sock.close()
        places.pop()
        with pytest.raises(Defer, match="connect: Address family not supported") as why:
            conn.connect((address,), soon())
    assert why.value.code == SILENT


@pytest.mark.parametrize("path", [b"/x", b""])
def test_a_process_without_descriptors_left_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    def refuse(family: int, kind: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("avcheck.dial.socket.socket", refuse)
    with pytest.raises(Defer, match="connect: Too many open files"):
        conn.connect((Address(path=path, host=b"127.0.0.1", port=b"1"),), soon())


def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avcheck.dial.socket.getaddrinfo", lambda *args: [])
    with pytest.raises(Defer, match=r"clamd\.example:3310: no address"):
        conn.connect((Address(host=b"clamd.example", port=b"3310"),), soon())


def test_a_host_that_does_not_answer_is_left_for_the_next_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that is never made is not waited for with all of the time there is."""
    limits: list[float | None] = []

    class Silent(_socket.socket):
        def connect(self, address: object, /) -> None:
            limits.append(self.gettimeout())
            raise TimeoutError

    monkeypatch.setattr("avcheck.dial.socket.socket", Silent)
    with pytest.raises(Defer, match=r"127\.0\.0\.1:1: connect: no answer in time"):
        conn.connect((Address(host=b"127.0.0.1", port=b"1"),), monotonic() + 1000)
    (limit,) = limits
    assert limit is not None
    assert limit <= dial.CONNECT_MAX


def test_no_address_at_all_is_nobody() -> None:
    with pytest.raises(Defer) as why:
        conn.connect((), soon())
    assert why.value.code == SILENT
