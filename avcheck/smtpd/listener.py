"""Standard input is a listening socket: children serve its connections, and no daemon does.

Who listens (systemd, inetd) starts us with the first connection, and again with the next one
after we have left.  This process holds no message and opens nothing; all it keeps are the
socket, what connects it with its children, and a pipe by which signals wake it.
"""

from __future__ import annotations

from select import POLLIN, poll
from time import monotonic, sleep

from avcheck import process, report, scanners, unix
from avcheck.smtpd.children import Children, Worker

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
        self._stopped = False
        self._kept = -1  # a connection that waits for a child, for there can be no more of them
        self._wake, self._woken = unix.pipe()
        for fd in (self._wake, self._woken):
            unix.set_blocking(fd, False)
        self._waiting = poll()
        self._waiting.register(self._wake, POLLIN)
        self._children = Children(self._waiting, settings.processes)

    def serve(self) -> None:
        """Accept, until nobody comes for --idle seconds or a signal comes."""
        process.catch_signals(self._signal)
        signal.signal(signal.SIGCHLD, self._signal)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        last = monotonic()
        while not self._stopped:
            if self._wait(last + self._settings.idle):
                self._accept()
                last = monotonic()
            self._children.dismiss_idle()
            if self._children.are_busy:
                last = monotonic()
            elif monotonic() >= last + self._settings.idle:
                break
        self._socket.close()
        self._refuse_kept()
        self._children.stop()
        self._wait_for_children()

    def _wait(self, until: float) -> bool:
        """Wait for a connection (if there is room for one), a word of a child, or a signal.

        Returns whether there is a connection.
        """
        listening = self._socket.fileno()
        # What is registered without an event tells of errors, of which it has none.
        self._waiting.register(listening, POLLIN if self._children.have_room else 0)
        ready = self._hear(until)
        return listening in ready or (self._kept >= 0 and self._children.have_room)

    def _hear(self, until: float) -> list[int]:
        """Wait until then for words of the children and for a signal, and follow them.

        Returns the descriptors that are ready.
        """
        left = max(until - monotonic(), 0.0)
        # While there are children, it is they who end first.
        if self._children:
            left = min(left, LOOK)
        ready = [fd for fd, _ in self._waiting.poll(None if left > 1e6 else left * 1000)]
        for fd in ready:
            if fd == self._wake:
                unix.read(self._wake, 4096)
            else:
                self._children.hear(fd)
        self._children.reap()
        return ready

    def _accept(self) -> None:
        """Take one connection, and have a process for it."""
        fd, self._kept = self._kept, -1
        try:
            if fd < 0:
                fd, _ = self._socket._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):  # it is gone, or somebody else's
            return
        except OSError as why:
            report.note(f"accept: {why.strerror}")
            sleep(PAUSE)
            return
        try:
            if not self._children.give(fd):
                self._fork(fd)
        except OSError as why:
            report.note(f"fork: {why.strerror}")
            self._kept = fd
            if self._children:  # one of them will serve it
                self._children.have_no_more()
            else:
                self._refuse_kept()
                sleep(PAUSE)
        else:
            process.close(fd)

    def _refuse_kept(self) -> None:
        """Let the one that waits for a child come again later."""
        if self._kept >= 0:
            _say(self._kept, BUSY)
            process.close(self._kept)
            self._kept = -1

    def _fork(self, fd: int) -> None:
        """Have a new child for the connection; raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            # A signal for the child is not to come before it can hear it: the session ends this.
            with process.signals_blocked():
                pid = unix.fork()
                if not pid:
                    ours.close()
                    self._become_worker(theirs, fd)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._children.add(pid, ours)

    def _become_worker(self, link: socket.socket, fd: int) -> NoReturn:
        """In the child: serve the connection, and those that follow, and leave."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._socket.close()
            self._children.disown()
            process.close(self._wake)
            process.close(self._woken)
            Worker(link, self._settings, self._called).serve(fd)
        finally:
            raise Served

    def _wait_for_children(self) -> None:
        """Wait for their end; who does not end in time goes on alone."""
        until = monotonic() + CHILDREN_MAX
        self._children.reap()
        while self._children and monotonic() < until:
            self._hear(until)

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
        except Exception as why:  # who needs it will say so, too
            report.note(f"{name}: {type(why).__name__}: {why}")
    for scanner in (*settings.scanners, *settings.backups):
        try:
            scanners.load(scanner.row)
        except Exception as why:  # asking it will say so, too
            report.note(f"{scanner.type}: {type(why).__name__}: {why}")


def _say(fd: int, words: bytes) -> None:
    try:
        unix.write(fd, words)
    except OSError:
        return
