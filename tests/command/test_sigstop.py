"""A run that is stopped (SIGSTOP, a laptop, a snapshot) until its time is up, and goes on then.

What has arrived meanwhile is read; what has not is too late.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.run import GRACE
from tests.support.fakes import PATIENCE
from tests.support.mta import Running, Site, until

# Seconds for the whole run: more than it needs to come to where it is stopped.
DEADLINE = 2.0


class Hop:
    """A mail server that answers when it is told to; what it has said is there to be read."""

    def __init__(self, path: Path) -> None:
        self.where = path
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._listening.settimeout(PATIENCE)

    def __enter__(self) -> Hop:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    @contextlib.contextmanager
    def client(self) -> Iterator[socket.socket]:
        client, _ = self._listening.accept()
        with client:
            client.settimeout(PATIENCE)
            yield client


def converse(client: socket.socket, until_said: bytes) -> None:
    """Answer everything with a yes until the client has said that, which is not answered."""
    client.sendall(b"220 hop\r\n")
    while not (said := client.recv(65536)).endswith(until_said):
        assert said, "hung up"
        go = said.endswith(b"DATA\r\n")
        client.sendall(b"354 go\r\n" if go else b"250 ok\r\n" * said.count(b"\r\n"))


def state(running: Running) -> str:
    stat = Path(f"/proc/{running.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


@contextlib.contextmanager
def stopped(running: Running) -> Iterator[None]:
    """It is stopped in the block, which is left when all its clocks have run out."""
    began = time.monotonic()
    running.signal(signal.SIGSTOP)
    until(lambda: state(running) == "T")
    yield
    # The alarm comes a second after the deadline, and is the later of the two.
    while (left := began + DEADLINE + GRACE + 0.1 - time.monotonic()) > 0:
        time.sleep(left)
    running.signal(signal.SIGCONT)


OPTIONS = ("--deadline", str(DEADLINE))

ANSWERS = {
    "yes": (b"250 2.0.0 taken\r\n", 0, b"clean: "),
    "yes and goodbye": (b"250 2.0.0 taken\r\n221 bye\r\n", 0, b"clean: "),
    "no": (b"451 4.3.9 later\r\n", 75, b"4.3.9 "),
    "two answers": (b"250 taken\r\n554 no\r\n", 75, b"4.4.2 "),
    "half of one": (b"250 2.0.0 ta", 75, b"4.4.7 "),
    "none": (b"", 75, b"4.4.7 "),
}


@pytest.mark.parametrize(("answer", "status", "output"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_to_the_dot_that_is_there_counts(
    site: Site, tmp_path: Path, answer: bytes, status: int, output: bytes
) -> None:
    with Hop(tmp_path / "hop") as hop:
        site.hop = ("-S", f"unix:{hop.where}")
        running = site.start(site.words(*OPTIONS)).feed()
        with hop.client() as client:
            converse(client, b"\r\n.\r\n")
            until(lambda: running.is_in("poll_schedule"))
            with stopped(running):
                client.sendall(answer)
            ended = running.wait()
    assert ended.status == status, ended
    assert ended.output.startswith(output), ended
    doubtful = status != 0 and not answer.startswith(b"4")
    assert (b"possible duplicate" in ended.output) == doubtful, ended
    assert site.left == []


@pytest.mark.parametrize("step", [b"DATA\r\n", b"RCPT TO:<bert@example.net>\r\n"])
def test_before_the_dot_it_is_too_late_for_anything(
    site: Site, tmp_path: Path, step: bytes
) -> None:
    with Hop(tmp_path / "hop") as hop:
        site.hop = ("-S", f"unix:{hop.where}")
        running = site.start(site.words(*OPTIONS)).feed()
        with hop.client() as client:
            converse(client, step)
            until(lambda: running.is_in("poll_schedule"))
            with stopped(running):
                client.sendall(b"354 go\r\n" if step == b"DATA\r\n" else b"250 ok\r\n")
            ended = running.wait()
            with contextlib.suppress(ConnectionResetError):  # it has not read our answer
                assert client.recv(65536) in (b"", b"QUIT\r\n")
    site.assert_kept(ended, "4.4.7")
    assert b"possible duplicate" not in ended.output
