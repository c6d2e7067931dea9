"""The one in the middle: passes on what two sides say to each other, and spoils a byte of it."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.campaigns.rot.kinds import BACK, CUT, HALF, IDLE, NEAR, RESET, THERE, Line, Rot
from tests.support.fakes import ONE_DESCRIPTOR, PATIENCE

PIECE = 64 * 1024

# Seconds between two looks at a process that is to come to wait.
LOOK = 0.001

# NEAR: seconds before the end of the patience, another number of steps for each byte, so
# that the byte comes a little before it, or a little after.
STEP = 0.01
STEPS = 9
AFTER = 3

Place = Path | tuple[str, int]


def connected(to: Place) -> socket.socket:
    """A connection to a path, or to host and port."""
    if isinstance(to, tuple):
        return socket.create_connection(to, PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(to))
    return sock


@dataclass
class Conversation:
    """What was said in one connection, and what arrived: a step for each piece."""

    there: Line
    back: Line
    steps: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def arrived(self, way: str) -> bytes:
        """All that has arrived in this direction."""
        return b"".join(arrived for each, _, arrived in self.steps if each == way)

    @property
    def struck(self) -> bool:
        return self.there.struck or self.back.struck


class Middle:
    """Listens for avcheck, on the path `at` or else on a port, and talks to the daemon for it.

    Between begin() and end() there is one run; its first connection is the one that rots.
    A descriptor that comes with the words goes on with the first of them.
    """

    def __init__(self, daemon: Place, at: Path | None = None) -> None:
        self._daemon = daemon
        if at:
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(str(at))
            self._server.listen(8)
            self.address = str(at)
        else:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread()
        self._ended, self._end = os.pipe()
        self._conversations: list[Conversation] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> Middle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.close()
        os.close(self._ended)
        os.close(self._end)

    def begin(self, rot: Rot | None, waits: Callable[[], bool], patience: float = 0.0) -> None:
        """Expect a run.

        waits tells whether avcheck does nothing but wait for an answer; patience is how many
        seconds it does.
        """
        self._conversations = []
        run = (rot, waits, patience)
        self._thread = threading.Thread(target=self._serve, args=run, daemon=True)
        self._thread.start()

    def end(self) -> list[Conversation]:
        """When avcheck has ended: all conversations, once the daemon has ended them as well."""
        os.write(self._end, b".")
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive(), "the daemon does not take what is said"
        os.read(self._ended, 1)
        if self._failure:
            raise self._failure
        return self._conversations

    def _serve(self, rot: Rot | None, waits: Callable[[], bool], patience: float) -> None:
        try:
            self._pass_on(rot, waits, patience)
        except BaseException as why:  # end() raises it
            self._failure = why

    def _pass_on(self, rot: Rot | None, waits: Callable[[], bool], patience: float) -> None:
        while True:
            # A connection that avcheck has made is there when avcheck has ended.
            first, _, _ = select.select([self._server.fileno(), self._ended], [], [])
            if self._server.fileno() not in first:
                return
            client, _ = self._server.accept()
            spoilt = rot if not self._conversations else None
            talk = _Talk(client, self._daemon, spoilt, waits, patience, self._ended)
            self._conversations.append(talk.conversation)
            with contextlib.suppress(OSError):  # the line is dead
                talk.through()
            talk.close()


class _Talk:
    """One conversation."""

    def __init__(
        self,
        client: socket.socket,
        daemon: Place,
        rot: Rot | None,
        waits: Callable[[], bool],
        patience: float,
        ended: int,
    ) -> None:
        self.rot = rot
        self.conversation = Conversation(
            Line(rot if rot and rot.way == THERE else None),
            Line(rot if rot and rot.way == BACK else None),
        )
        self.sockets = {THERE: client, BACK: connected(daemon)}  # by who speaks there
        self.waits = waits
        self.moment = time.monotonic() + patience
        if rot:
            self.moment += (AFTER - rot.at % STEPS) * STEP
        self.ended = ended
        self.rights: list[int] = []
        self.closed: set[str] = set()  # whose end was heard
        self.told: set[str] = set()  # to whom the other's end was passed on
        self.poll = select.poll()
        for sock in self.sockets.values():
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(sock, select.POLLIN)
        if rot:
            self.poll.register(ended, select.POLLIN)

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()
        for right in self.rights:
            os.close(right)

    def through(self) -> None:
        """Pass on everything, until both have hung up."""
        speakers = {sock.fileno(): way for way, sock in self.sockets.items()}
        until = time.monotonic() + PATIENCE
        self._break()
        while len(self.closed) < len(self.sockets):
            assert time.monotonic() < until, f"nobody hangs up: {self.conversation}"
            ready = [fd for fd, _ in self.poll.poll(self._timeout())]
            for fd in ready:
                if fd in speakers:
                    self._hear(speakers[fd])
                    if self._break():
                        return
            over = self.ended in ready
            if over:
                self.poll.unregister(self.ended)
            self._release(over)

    def _timeout(self) -> float:
        """Milliseconds until there is something to do, even if nobody says anything."""
        if self._held() and self.rot:
            if self.rot.kind == IDLE:
                return LOOK * 1000
            if self.rot.kind == NEAR:
                return max(self.moment - time.monotonic(), 0.0) * 1000
        return PATIENCE * 1000

    def _held(self) -> bool:
        return bool(self.conversation.there.held or self.conversation.back.held)

    def _release(self, over: bool) -> None:
        """Let go what is held, if it is time for that; over: avcheck has ended."""
        if not self._held() or not self.rot:
            return
        if over or self._due(self.rot):
            line = self._line(self.rot.way)
            held = line.release()
            self.conversation.steps.append((self.rot.way, b"", held))
            self._send(self.rot.way, held)
            if self.rot.way in self.closed:
                self._tell(self.rot.way)

    def _due(self, rot: Rot) -> bool:
        if rot.kind == NEAR:
            return time.monotonic() >= self.moment
        return rot.kind == IDLE and self.waits()

    def _line(self, way: str) -> Line:
        return self.conversation.there if way == THERE else self.conversation.back

    def _hear(self, way: str) -> None:
        """Take what that side says, and pass it on as the line lets it."""
        line, other = self._line(way), self._line(_other(way))
        try:
            piece = self._receive(self.sockets[way])
        except ConnectionResetError:
            # avcheck does that to a mail server that answers its goodbye.  What the server
            # has to say is listened to all the same, for it tells what it has taken.
            piece = b""
            if way == BACK:
                self._abort(THERE)
        if not piece:
            self.closed.add(way)
            self.poll.unregister(self.sockets[way])
            if not line.held:
                self._tell(way)
            return
        other.other_side_spoke()
        arrived = b""
        for each in line.arrives(piece):
            self._send(way, each)
            arrived += each
        self.conversation.steps.append((way, piece, arrived))

    def _receive(self, sock: socket.socket) -> bytes:
        if sock.family != socket.AF_UNIX:
            return sock.recv(PIECE)
        piece, more, _, _ = sock.recvmsg(PIECE, ONE_DESCRIPTOR)
        for _, _, numbers in more:
            self.rights += array.array("i", numbers)
        return piece

    def _send(self, way: str, words: bytes) -> None:
        """Pass the words on to the other side, which may be gone."""
        sock = self.sockets[_other(way)]
        with contextlib.suppress(OSError):
            if self.rights and way == THERE and words:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self.rights))]
                sock.sendmsg([words], rights)
                while self.rights:
                    os.close(self.rights.pop())
            else:
                sock.sendall(words)

    def _tell(self, way: str) -> None:
        """Let the other side know that this one says nothing more."""
        if way not in self.told:
            self.told.add(way)
            with contextlib.suppress(OSError):
                self.sockets[_other(way)].shutdown(socket.SHUT_WR)

    def _abort(self, way: str) -> None:
        """Hang up on that side as somebody who has crashed; what was passed on arrives."""
        sock = self.sockets[way]
        if sock.family == socket.AF_INET:
            if way not in self.closed:
                self.poll.unregister(sock)
                self.closed.add(way)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def _break(self) -> bool:
        """Break the line if it is to break now; returns whether nothing is left to do."""
        if not any([self.conversation.there.breaks_now(), self.conversation.back.breaks_now()]):
            return False
        assert self.rot
        if self.rot.kind == HALF:
            self._tell(self.rot.way)
            return False
        if self.rot.kind == CUT:
            self.conversation.there.over = self.conversation.back.over = True
            self._tell(THERE)
            self._tell(BACK)
            return False
        assert self.rot.kind == RESET, self.rot
        self._abort(THERE)
        self._abort(BACK)
        return True


def _other(way: str) -> str:
    return BACK if way == THERE else THERE
