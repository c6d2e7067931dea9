"""Whether a client waits for its reply: by a pair of pipes, a Unix-domain socket and TCP."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from avcheck import process
from avcheck.smtpd.client import Client
from avcheck.smtpd.dialogue import Dialogue
from avcheck.smtpd.message import Origin

RESET = struct.pack("ii", 1, 0)  # on, and no time to linger


class Wire:
    """A connection: client is ours, far_in and far_out are what the other end writes and reads."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        if kind == "pipes":
            ours, self.far_in = os.pipe()
            self.far_out, out = os.pipe()
            self.client = Client(ours, out)
            return
        near, far = socket.socketpair() if kind == "unix" else over_tcp()
        self.far = far
        self.far_in = self.far_out = far.fileno()
        fd = near.detach()
        self.client = Client(fd, fd)

    def say(self, words: bytes) -> None:
        os.write(self.far_in, words)

    def close_its_side(self) -> None:
        if self.kind == "pipes":
            os.close(self.far_in)
        else:
            self.far.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        if self.kind == "pipes":
            os.close(self.far_in)
            os.close(self.far_out)
            return
        if self.kind == "tcp":
            self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.far.close()


def over_tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        return listening.accept()[0], far


@pytest.fixture(params=["pipes", "tcp", "unix"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.param)
    yield wire
    wire.client.close()
    if wire.kind == "pipes":
        process.close(wire.far_in)
        process.close(wire.far_out)
    else:
        wire.far.close()


Act = Callable[[Wire], None]


@pytest.mark.parametrize(
    ("said", "act", "gone"),
    [
        (b"", None, False),
        (b"QUIT\r\n", None, False),
        (b"", Wire.close_its_side, True),
        (b"QUIT", Wire.close_its_side, True),
        (b"QUIT\r\n", Wire.close_its_side, False),
        (b"RSET\r\nquit\r\n", Wire.close_its_side, False),
        (b"QUIT\r\nRSET\r\n", Wire.close_its_side, True),
        (b"", Wire.hang_up, True),
        (b"QUIT\r\n", Wire.hang_up, True),
    ],
)
@pytest.mark.parametrize("read_before", [False, True])
def test_who_waits(wire: Wire, said: bytes, act: Act | None, gone: bool, read_before: bool) -> None:
    dialogue = Dialogue(b"mx.example")
    origin = Origin(dialogue, wire.client)
    if said:
        wire.say(said)
    if said and read_before:
        dialogue.receive(wire.client.read(float("inf")))
    if act:
        act(wire)
    for _ in range(2):
        assert origin.is_gone() is gone
