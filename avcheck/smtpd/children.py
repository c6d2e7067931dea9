"""The processes that serve the connections of a socket that listens, one after the other.

A process for each connection would cost six times what the message in it costs: after fork(2)
every page that is written to is copied, and that is some 760 pages (Linux 6, Python 3.11).  So
one that has served its connection waits for the next, as the daemons of Postfix do (max_use), and
is handed that by the process that accepts (SCM_RIGHTS, unix(7)).  It never has the socket that
listens.
"""

from __future__ import annotations

from select import POLLIN, poll
from sys import byteorder
from time import monotonic

from avcheck import process, unix
from avcheck.exits import HELD, Stopped
from avcheck.smtpd import session
from avcheck.smtpd.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from types import FrameType

    from avcheck.settings import Settings
else:
    import _signal as signal  # see process
    import _socket as socket  # see dial

# Connections that a child serves before it leaves (Postfix: max_use).
USES_MAX = 100

# Seconds that a child waits for the next connection (Postfix: max_idle).
IDLE_MAX = 100.0

# What is sent along with a connection, and what a child says when it has served one.
NEXT = b"."
READY = b"+"

_SIZE = 4  # of a descriptor in a control message, an int


class Child:
    """A process of ours, as the parent knows it; link is the parent's end of what connects them."""

    __slots__ = ("idle_since", "link", "pid", "uses")

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid = pid
        self.link = link
        self.uses = 1
        self.idle_since = 0.0

    def give(self, connection: int) -> bool:
        """Have it serve the connection, a descriptor; whether it will."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, connection.to_bytes(_SIZE, byteorder))]
        try:
            self.link.sendmsg([NEXT], rights)
        except OSError:  # it has died
            return False
        self.uses += 1
        return True

    def is_ready(self) -> bool:
        """Whether it wants another connection; if not, it has left."""
        try:
            return self.link.recv(1) == READY
        except OSError:
            return False

    def dismiss(self) -> None:
        """Have it leave, once it has served the connection in hand."""
        try:
            self.link.shutdown(socket.SHUT_WR)
        except OSError:  # it has left
            return


class Children:
    """Those of the parent, who waits for their words with this poll; at most so many."""

    def __init__(self, waiting: poll, most: int) -> None:
        self._waiting = waiting
        self._most = most
        self._running: dict[int, Child] = {}  # by process id
        self._heard: dict[int, Child] = {}  # by the descriptor of the link
        self._idle: list[Child] = []  # who has waited longest is the first
        self._none_more = False

    def __len__(self) -> int:
        return len(self._running)

    @property
    def have_room(self) -> bool:
        """Whether another connection could be served."""
        room = len(self._running) < self._most and not self._none_more
        return bool(self._idle) or room

    @property
    def are_busy(self) -> bool:
        """Whether one of them serves a connection, or is about to leave."""
        return len(self._running) > len(self._idle)

    def have_no_more(self) -> None:
        """There can be no other now, until one of these is idle or has ended."""
        self._none_more = True

    def add(self, pid: int, link: socket.socket) -> None:
        """Take in one that has been given its first connection."""
        link.setblocking(False)
        self._running[pid] = self._heard[link.fileno()] = Child(pid, link)
        self._waiting.register(link.fileno(), POLLIN)

    def give(self, connection: int) -> bool:
        """Have one that waits serve the connection, a descriptor; whether there is one."""
        while self._idle:
            child = self._idle.pop()
            if child.give(connection):
                return True
            self._forget(child)
        return False

    def hear(self, link: int) -> None:
        """Find out what one of them says, if this descriptor is the link to one."""
        child = self._heard.get(link)
        if child is None:
            return
        if child in self._idle or not child.is_ready():  # who waits says nothing but goodbye
            self._forget(child)
        elif child.uses >= USES_MAX:
            child.dismiss()
        else:
            child.idle_since = monotonic()
            self._idle.append(child)
            self._none_more = False

    def dismiss_idle(self) -> None:
        """Have those leave who have waited for too long."""
        while self._idle and monotonic() >= self._idle[0].idle_since + IDLE_MAX:
            self._idle.pop(0).dismiss()

    def stop(self) -> None:
        """Have all of them end after the message in hand."""
        for child in self._running.values():
            child.dismiss()
            unix.kill(child.pid, signal.SIGTERM)

    def reap(self) -> None:
        """Forget those that have ended."""
        while self._running:
            try:
                pid, _ = unix.waitpid(-1, unix.WNOHANG)
            except ChildProcessError:
                self._running.clear()
                return
            if not pid:
                return
            self._none_more = False
            child = self._running.pop(pid, None)
            if child is not None:
                self._forget(child)

    def disown(self) -> None:
        """In a new child: the others are the parent's."""
        for child in self._heard.values():
            child.link.close()

    def _forget(self, child: Child) -> None:
        """It will serve nobody any more; it may still run."""
        if child in self._idle:
            self._idle.remove(child)
        if self._heard.pop(child.link.fileno(), None):
            self._waiting.unregister(child.link.fileno())
        child.link.close()


class Worker:
    """In the child: serves one connection after the other, as long as the parent hands them.

    A signal ends that, but no connection is lost by it: one that has been handed over is served
    all the same, and hears of it.
    """

    def __init__(self, link: socket.socket, settings: Settings, called: bytes) -> None:
        link.setblocking(False)
        self._link = link
        self._ready = poll()
        self._ready.register(link.fileno(), POLLIN)
        self._settings = settings
        self._called = called
        self._waiting = False
        self._stopped = 0  # by this signal

    def serve(self, connection: int) -> None:
        """Serve this connection, a descriptor, and others."""
        session.begin()
        while connection >= 0:
            client = Client(connection, connection)
            # A signal from here on is for the session, which hears it when it is ready.
            with process.signals_blocked():
                served = session.serve(client, self._settings, self._called, self._stopped)
            client.close()
            process.tick_no_more()
            process.catch_signals(self._signal)
            # Asked only now: its own handler of signals was there until now.
            connection = self._next() if served.is_well else -1

    def _next(self) -> int:
        """The next connection; -1 if there will be none."""
        try:
            self._link.send(READY)
            self._wait()
            if self._stopped:
                self._link.shutdown(socket.SHUT_RD)  # what is there can be read all the same
            said = self._link.recvmsg(1, socket.CMSG_SPACE(_SIZE), socket.MSG_CMSG_CLOEXEC)
        except OSError:  # nothing is there, or the parent is gone
            return -1
        for _, _, descriptor in said[1]:
            return int.from_bytes(descriptor, byteorder)
        return -1

    def _wait(self) -> None:
        """Wait for a word of the parent, its end, or a signal.

        A signal that comes just before that is noticed with the next connection.
        """
        try:
            self._waiting = True
            if not self._stopped:
                self._ready.poll()
        except Stopped:
            return
        finally:
            self._waiting = False

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if number == process.ALARM:
            return
        self._stopped = int(number)
        if self._waiting:
            self._waiting = False
            raise Stopped(f"stopped by signal {int(number)}", HELD)
