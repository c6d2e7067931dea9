"""A connection gives what was asked for, or raises Defer: at the end, in time, at too much."""

from __future__ import annotations

import _socket
import contextlib
import errno
import itertools
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import conn, dial, stream
from avcheck.address import Address
from avcheck.conn import LINE_MAX, Conn
from avcheck.exits import BROKEN, EXPIRED, SILENT, Defer
from tests.support.wire import PATIENCE, Wire
from tests.support.wire import given as given_file

LARGE = 4 * 1024 * 1024  # more than any socket's buffers hold

Places = list[tuple[int, int, int, str, object]]


def soon() -> float:
    return monotonic() + PATIENCE


def tick() -> float:
    """A deadline that comes at once, for who waits for something that never comes."""
    return monotonic() + 0.05


class Clock:
    """A clock that goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@contextlib.contextmanager
def listening(path: Path, backlog: int = 8) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(backlog)
        yield server


@contextlib.contextmanager
def listening_tcp(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, Address]]:
    with socket.create_server((host, 0), family=family_of(host)) as server:
        port = b"%d" % server.getsockname()[1]
        yield server, Address(host=host.encode(), port=port)


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def at(path: Path) -> Address:
    return Address(path=os.fsencode(path))


# Reading.


@pytest.mark.parametrize("one_by_one", [False, True])
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=6))
def test_lines_are_lines_however_they_come(one_by_one: bool, lines: list[bytes]) -> None:
    with Wire(b"".join(line + b"\n" for line in lines), one_by_one=one_by_one) as wire:
        assert [wire.conn.line() for _ in lines] == lines
        with pytest.raises(Defer, match=r"closed the connection$"):
            wire.conn.line()


@pytest.mark.parametrize("one_by_one", [False, True])
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_so_many_bytes_and_then_the_rest(one_by_one: bool, first: bytes, rest: bytes) -> None:
    with Wire(first + rest, one_by_one=one_by_one) as wire:
        assert wire.conn.exactly(len(first)) == first
        assert wire.conn.rest() == rest


def test_a_line_ends_where_the_protocol_says() -> None:
    with Wire(b"a\nb\r\nc\0d\r\n\r\n") as wire:
        assert wire.conn.line(b"\r\n") == b"a\nb"
        assert wire.conn.line(b"\0") == b"c"
        assert wire.conn.line(b"\r\n\r\n") == b"d"


def test_a_line_cut_off_by_the_end_is_no_line() -> None:
    with Wire(b"250 O\x1bK") as wire:
        with pytest.raises(Defer) as why:
            wire.conn.line()
        assert why.value.text == "closed the connection after '250 O?K'"
        assert why.value.code == BROKEN


def test_too_few_bytes_are_not_enough() -> None:
    with Wire(b"abc") as wire, pytest.raises(Defer, match="closed the connection after 'abc'"):
        wire.conn.exactly(4)


def test_a_line_has_an_end_some_time() -> None:
    with Wire(b"x" * (LINE_MAX + 1), stays=True) as wire:
        with pytest.raises(Defer, match=f"a line of more than {LINE_MAX} bytes") as why:
            wire.conn.line()
        assert why.value.code == BROKEN


def test_a_line_may_be_as_long_as_the_limit() -> None:
    with Wire(b"x" * LINE_MAX + b"\n", one_by_one=True) as wire:
        assert len(wire.conn.line()) == LINE_MAX


def test_the_rest_has_a_limit() -> None:
    with Wire(b"x" * 101) as wire, pytest.raises(Defer, match="a reply of more than 100 bytes"):
        wire.conn.rest(100)
    with Wire(b"x" * 100) as wire:
        assert wire.conn.rest(100) == b"x" * 100


def test_who_says_no_more_can_still_be_told_something() -> None:
    with Wire(b"", stays=True) as wire:
        wire.conn.send(b"QUIT")
        wire.conn.say_no_more()
        assert (wire._theirs.recv(9), wire._theirs.recv(9)) == (b"QUIT", b"")
        wire._theirs.sendall(b"221 bye\n")
        assert wire.conn.line() == b"221 bye"


def test_who_says_no_more_to_nobody_is_not_disturbed() -> None:
    with Wire(b"") as wire:
        wire.conn.sock.close()
        wire.conn.say_no_more()


# The deadline.


@pytest.mark.parametrize("read", ["line", "exactly", "rest"])
def test_a_peer_that_keeps_silent_is_not_waited_for_longer_than_the_deadline(read: str) -> None:
    with Wire(b"abc", stays=True) as wire:
        wire.conn.deadline = tick()
        with pytest.raises(Defer, match="no answer in time") as why:
            wire.conn.exactly(4) if read == "exactly" else getattr(wire.conn, read)()
        assert why.value.code == EXPIRED


def test_a_byte_now_and_then_does_not_stretch_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(stream, "monotonic", clock)
    monkeypatch.setattr(dial, "monotonic", clock)
    with Wire(b"x" * 100, steps=[1] * 100, stays=True) as wire:
        wire.conn.deadline = 10.0
        with pytest.raises(Defer, match="no answer in time"):
            wire.conn.line()
        assert 0 < len(wire.conn.seen) < 10


@pytest.mark.parametrize("how", ["send", "send_descriptor", "send_file"])
def test_after_the_deadline_nothing_is_sent(how: str) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.deadline = monotonic()
        with pytest.raises(Defer, match="does not take the message in time") as why:
            send(wire.conn, how, file)
        assert why.value.code == EXPIRED
        assert wire.heard() == b""


def send(link: Conn, how: str, file: int) -> None:
    if how == "send":
        link.send(b"words")
    elif how == "send_descriptor":
        link.send_descriptor(b"words", file)
    else:
        link.send_file(file, 0, 7)


@pytest.mark.parametrize("how", ["send", "send_file"])
def test_a_peer_that_takes_nothing_is_not_waited_for_longer_than_the_deadline(how: str) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"x" * LARGE) as file:
        wire.conn.deadline = tick()
        with pytest.raises(Defer, match="does not take the message in time"):
            if how == "send":
                wire.conn.send(b"x" * LARGE)
            else:
                wire.conn.send_file(file, 0, LARGE)


def test_no_deadline_is_no_limit() -> None:
    with Wire(b"a\n") as wire:
        wire.conn.deadline = float("inf")
        wire.conn.send(b"x")
        assert wire.conn.line() == b"a"


# Sending.


def test_what_is_sent_arrives_with_the_open_file() -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.send(b"one ")
        wire.conn.send_descriptor(b"two", file)
        assert wire.heard() == b"one two"
        assert wire.files == [b"content"]


def test_the_open_file_is_sent_with_all_words_even_if_they_go_in_two_pieces() -> None:
    class Short(socket.socket):
        def sendmsg(self, buffers: Any, *rights: Any) -> int:
            return super().sendmsg([buffers[0][:3]], *rights)

    ours, theirs = socket.socketpair()
    short = Short(fileno=ours.detach())
    with theirs, Conn(short, Address(path=b"/x"), soon()) as link, given_file(b"x") as file:
        link.send_descriptor(b"zFILDES\0x", file)
        words, files, _, _ = socket.recv_fds(theirs, 100, 1)
        assert words + theirs.recv(100) == b"zFILDES\0x"
        os.close(files[0])


@pytest.mark.parametrize("encrypted", [False, True], ids=["sendfile", "read-and-send"])
@pytest.mark.parametrize("deadline", [soon, lambda: float("inf")], ids=["deadline", "none"])
def test_a_file_arrives_at_a_slow_reader(encrypted: bool, deadline: type[float]) -> None:
    content = os.urandom(1 << 16) * (LARGE >> 16)
    ours, theirs = socket.socketpair()
    arrived = bytearray()

    def read() -> None:
        while piece := theirs.recv(5000):
            arrived.extend(piece)

    reader = threading.Thread(target=read)
    with given_file(content) as file, theirs:
        reader.start()
        with Conn(ours, Address(path=b"/x"), deadline()) as link:
            link.encrypted = encrypted
            link.send_file(file, 10, LARGE - 30)
        reader.join(PATIENCE)
    assert arrived == content[10:-20]


@pytest.mark.parametrize("encrypted", [False, True], ids=["sendfile", "read-and-send"])
def test_a_file_that_lost_bytes_is_not_sent_as_if_it_had_not(encrypted: bool) -> None:
    with Wire(b"", stays=True) as wire, given_file(b"content") as file:
        wire.conn.encrypted = encrypted
        with pytest.raises(Defer, match="the spool file was cut short"):
            wire.conn.send_file(file, 0, 8)


@pytest.mark.parametrize("how", ["send", "send_file", "encrypted"])
def test_who_hangs_up_while_we_send_has_said_why(how: str) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"size limit exceeded\0")
    theirs.close()
    with Conn(ours, Address(path=b"/x"), soon()) as link, given_file(b"x" * LARGE) as file:
        link.encrypted = how == "encrypted"
        if how == "send":
            link.send(b"x")
        else:
            link.send_file(file, 0, LARGE)
        assert link.gone is not None
        link.send(b"more")
        assert link.rest() == b"size limit exceeded\0"


def test_who_hangs_up_with_our_words_unread_has_said_something_too() -> None:
    ours, theirs = socket.socketpair()
    with Conn(ours, Address(path=b"/x"), soon()) as link:
        link.send(b"unread")
        theirs.sendall(b"words")
        theirs.close()
        assert link.rest() == b"words"


def test_who_hangs_up_while_we_send_and_says_nothing_is_broken() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with Conn(ours, Address(path=b"/x"), soon()) as link:
        link.send(b"x")
        with pytest.raises(Defer, match=r"closed the connection$") as why:
            link.line()
        assert why.value.code == BROKEN
        assert isinstance(why.value.__cause__, BrokenPipeError)


def test_who_has_hung_up_is_not_waited_for_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What he had to say is here, or will never come; -c has a deadline of 15 minutes."""
    monkeypatch.setattr(stream, "LAST_WORDS", 0.01)
    with Wire(b"no", stays=True) as wire:
        wire.conn.gone = BrokenPipeError()
        wire.conn.deadline = float("inf")
        with pytest.raises(Defer, match="closed the connection after 'no'") as why:
            wire.conn.line()
    assert why.value.code == BROKEN


def test_what_else_can_happen_while_sending_is_named() -> None:
    with Wire(b"", stays=True) as wire:
        with pytest.raises(Defer, match="sending: Bad file descriptor") as why:
            wire.conn.send_descriptor(b"x", 9999)
        assert why.value.code == BROKEN


def test_what_else_can_happen_while_receiving_is_named() -> None:
    class Unreachable(socket.socket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

    with Conn(Unreachable(), Address(path=b"/x"), soon()) as link:
        with pytest.raises(Defer, match="receiving: No route to host") as why:
            link.line()
        assert why.value.code == BROKEN


# Who speaks out of turn.


def test_a_peer_that_waits_has_not_spoken() -> None:
    with Wire(b"", stays=True) as wire:
        assert not wire.conn.has_spoken()
        wire.conn.send(b"x")
        assert wire.heard() == b"x"


def test_what_a_peer_said_unasked_is_kept() -> None:
    with Wire(b"451 too busy\r\n", stays=True) as wire:
        assert wire.conn.has_spoken()
        assert wire.conn.has_spoken()
        assert wire.conn.line() == b"451 too busy\r"


def test_hanging_up_is_speaking() -> None:
    with Wire(b"") as wire:
        assert wire.conn.has_spoken()


def test_a_reset_before_we_look_is_speaking() -> None:
    class Reset(socket.socket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            raise ConnectionResetError

    with Conn(Reset(), Address(path=b"/x"), soon()) as link:
        assert link.has_spoken()
        assert link.gone is not None


def test_a_reset_is_speaking() -> None:
    with listening_tcp() as (server, address), conn.connect((address,), soon()) as link:
        client, _ = server.accept()
        link.send(b"unread")
        client.recv(1)
        client.close()
        with contextlib.suppress(Defer):
            link.line()  # until the reset has come
        assert link.has_spoken()


def test_under_tls_only_what_was_read_counts() -> None:
    with Wire(b"a\nb") as wire:
        wire.conn.encrypted = True
        assert not wire.conn.has_spoken()
        wire.conn.line()
        assert wire.conn.has_spoken()


def test_words_in_the_clear_are_not_taken_for_words_under_tls() -> None:
    with Wire(b"220 go\r\n250 forged\r\n", stays=True) as wire:
        wire.conn.line()
        with pytest.raises(Defer, match="went on talking after its reply to STARTTLS"):
            wire.conn.start_tls(b"mx.example", b"")


# The with block.


def test_a_defer_that_leaves_names_the_peer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(Defer) as why, Conn(ours, Address(host=b"::1", port=b"25"), soon()):
            raise Defer("is silent")
        assert why.value.text == "[::1]:25: is silent"
        assert theirs.recv(1) == b""


def test_another_exception_leaves_as_it_is() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(KeyError, match=r"^'x'$"), Conn(ours, Address(path=b"/x"), soon()):
            raise KeyError("x")
        assert theirs.recv(1) == b""


# Connecting.


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
    monkeypatch.setattr(os, "urandom", chance.randbytes)
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


# Questions that are watched, and the end.


def test_of_a_watched_question_the_last_bytes_are_kept_until_an_answer_is_waited_for() -> None:
    with Wire(b"no", stays=True) as wire:
        wire.conn.watch(10)
        wire.conn.send(b"12345")
        assert wire.heard() == b"12345"
        wire.conn.send(b"67890")
        assert wire.heard() == b"12345678"
        wire.conn.send(b"end")
        assert wire.heard() == b"12345678"
        assert wire.conn.exactly(2) == b"no"  # which was there: nothing had to be waited for
        assert wire.conn.early
        assert wire.heard() == b"12345678"


def test_who_has_nothing_more_to_say_is_not_waited_for() -> None:
    """It will not read the rest of the question, either, and the kernel still has it."""
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with theirs, Conn(ours, Address(path=b"/run/x"), soon()) as link:
        link.watch(5)
        link.send(b"12345")
        assert link.rest() == b""


def test_a_question_that_is_not_watched_goes_out_at_once() -> None:
    with Wire(b"", stays=True) as wire:
        wire.conn.send(b"12345")
        assert wire.heard() == b"12345"


def test_all_that_was_said_since_the_last_question_is_heard() -> None:
    with Wire(b"a\nb\nc\nd", stays=True) as wire:
        wire.conn.line()
        wire.conn.send(b"x")
        wire.conn.line()
        assert wire.conn.heard() == b"b\nc\nd"
        assert wire.conn.exactly(1) == b"c"


def test_what_was_there_before_the_question_makes_it_early() -> None:
    with Wire(b"a\nb\n", stays=True) as wire:
        wire.conn.line()
        wire.conn.send(b"x")
        assert wire.conn.early
        wire.conn.line()
        wire.conn.send(b"x")
        assert not wire.conn.early
