"""Standard input is a listening socket: a process for each connection, and no daemon.

Who listens (systemd, inetd) starts us with the first connection, and again with the next one
after we have left.  This process holds no message and opens nothing; all it keeps are the
socket, and a pipe by which signals wake it.
"""

from __future__ import annotations

import os
from select import POLLIN, poll
from time import monotonic, sleep

from avcheck import process, report, scanners
from avcheck.smtpd import session
from avcheck.smtpd.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from types import FrameType
    from typing import NoReturn

    from avcheck.settings import Settings
else:
    import _signal as signal  # see process
    import _socket as socket  # see dial

# Seconds that the children are waited for at the end; systemd kills after 90.
CHILDREN_MAX = 80.0

# Seconds before another try when no connection can be accepted, for want of descriptors or memory.
PAUSE = 0.2

# Seconds between two looks at the children, for a signal that could not wake us.
LOOK = 5.0

BUSY = b"421 4.3.2 Too busy, try again later\r\n"

# What a child may need: modules that are loaded here, once, and before an upgrade of the package
# can change them.
_LATER = (
    *("child", "draft", "entry", "files", "handle", "mime", "program", "quarantine", "rendering"),
    *("deliver.sendmail", "state.attempts", "state.canary", "state.metrics", "state.slots"),
    *("state.waitfile", "tls"),
)
_STANDARD = ("binascii", "hashlib", "json", "shutil")


class Served(BaseException):
    """We are a child, and have served our connection."""


class Listener:
    """Accepts from the socket, by these settings; called is the path of avcheck."""

    def __init__(self, listening: int, settings: Settings, called: bytes) -> None:
        self._socket = socket.socket(fileno=listening)
        self._socket.setblocking(False)
        self._settings = settings
        self._called = called
        self._children: set[int] = set()
        self._stopped = False
        self._wake, self._woken = os.pipe()
        for fd in (self._wake, self._woken):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Accept, until nobody comes for --idle seconds or a signal comes."""
        process.catch_signals(self._signal)
        signal.signal(signal.SIGCHLD, self._signal)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        last = monotonic()
        while not self._stopped:
            accepting = len(self._children) < self._settings.processes
            if self._wait(last + self._settings.idle, accepting):
                self._accept()
                last = monotonic()
            self._reap()
            if self._children:
                last = monotonic()
            elif monotonic() >= last + self._settings.idle:
                break
        self._socket.close()
        self._wait_for_children()

    def _wait(self, until: float, accepting: bool) -> bool:
        """Wait for a connection (if there is room for one), the end of a child, or a signal."""
        waiting = poll()
        waiting.register(self._wake, POLLIN)
        if accepting:
            waiting.register(self._socket.fileno(), POLLIN)
        # While there are children, it is they who end first.
        left = LOOK if self._children else max(until - monotonic(), 0.0)
        ready = [fd for fd, _ in waiting.poll(None if left > 1e6 else left * 1000)]
        if self._wake in ready:
            os.read(self._wake, 4096)
        return self._socket.fileno() in ready

    def _accept(self) -> None:
        """Take one connection, and have a process for it."""
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):  # it is gone, or somebody else's
            return
        except OSError as why:
            report.note(f"accept: {why.strerror}")
            sleep(PAUSE)
            return
        try:
            # A signal for the child is not to come before it can hear it: the session ends this.
            with process.signals_blocked():
                pid = os.fork()
                if not pid:
                    self._become_session(fd)
        except OSError as why:
            report.note(f"fork: {why.strerror}")
            _say(fd, BUSY)
            process.close(fd)
            sleep(PAUSE)
            return
        self._children.add(pid)
        process.close(fd)

    def _become_session(self, fd: int) -> NoReturn:
        """In the child: serve the connection, and leave."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._socket.close()
            process.close(self._wake)
            process.close(self._woken)
            session.serve(Client(fd, fd), self._settings, self._called)
        finally:
            raise Served

    def _reap(self) -> None:
        while self._children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._children.clear()
                return
            if not pid:
                return
            self._children.discard(pid)

    def _wait_for_children(self) -> None:
        """Have them end after the message in hand; who does not in time goes on alone."""
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        until = monotonic() + CHILDREN_MAX
        waiting = poll()
        waiting.register(self._wake, POLLIN)
        self._reap()
        while self._children and (left := until - monotonic()) > 0:
            if waiting.poll(min(left, LOOK) * 1000):
                os.read(self._wake, 4096)
            self._reap()

    def _signal(self, number: int, frame: FrameType | None) -> None:
        """By its number alone it has woken us."""
        if number not in (signal.SIGCHLD, process.ALARM):
            self._stopped = True


def serve(listening: int, settings: Settings, called: bytes) -> None:
    """Serve the connections of a listening socket, a descriptor."""
    _load(settings)
    try:
        Listener(listening, settings, called).serve()
    except Served:
        return


def _load(settings: Settings) -> None:
    """Load what a child may need."""
    for name in [*(f"avcheck.{each}" for each in _LATER), *_STANDARD]:
        try:
            __import__(name)
        except ImportError:  # who needs it will say so
            continue
    for scanner in (*settings.scanners, *settings.backups):
        try:
            scanners.load(scanner.row)
        except Exception as why:  # asking it will say so, too
            report.note(f"{scanner.type}: {type(why).__name__}: {why}")


def _say(fd: int, words: bytes) -> None:
    try:
        os.write(fd, words)
    except OSError:
        return
