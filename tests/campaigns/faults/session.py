"""A session of avcheck-smtp as a scene: three messages on one connection, and a strict client.

With a socket that listens the last of them comes on another connection, to the same child.
The client takes nothing but whole replies, sends what was not taken again in another session,
and never sends what was.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaigns.faults.scenes import FOUND, LONG, SHORT, STATE, Scene
from tests.support.fakes import PATIENCE
from tests.support.mta import Ended
from tests.support.program import Program
from tests.support.smtp_client import CONTENT, Talk

NUMBER = b"X-Number: %d\r\n"
VIRUS = b"X-Virus: yes\r\n"

MESSAGES = 3

# Seconds in which a session ends that has lost its parent.
SOON = 0.5
INFECTED = 1


def content(number: int) -> bytes:
    """The message of that number, on the wire, before dots are doubled."""
    return NUMBER % number + (VIRUS if number == INFECTED else b"") + CONTENT


class Mailer:
    """The client: what it was told of each message, and all that it heard.

    replies has the reply to the final dot, or what came in its place; nothing for a message
    whose client was hung up on.  With connect the last message is sent on a connection of its own.
    """

    def __init__(
        self,
        connected: socket.socket,
        numbers: Sequence[int],
        connect: Callable[[], socket.socket] | None = None,
    ) -> None:
        self.replies: dict[int, bytes] = {}
        self.heard: list[bytes] = []
        self.wrong = ""
        self._talk = Talk(connected)
        self._numbers = numbers
        self._connect = connect

    def run(self) -> None:
        """Send them all, as far as it goes."""
        apart = len(self._numbers) - 1 if self._connect else len(self._numbers)
        self._send_all(self._numbers[:apart])
        if self._connect and not self.wrong:
            with contextlib.suppress(ConnectionError):
                self._talk = Talk(self._connect())
                self._send_all(self._numbers[apart:])

    def _send_all(self, numbers: Sequence[int]) -> None:
        """Send these on one connection."""
        try:
            self._converse(numbers)
        except AssertionError as why:
            if not str(why).startswith("hung up after b''"):
                self.wrong = f"no reply: {why}"
        except TimeoutError:
            self.wrong = "it keeps silent"
        except OSError:  # it has hung up
            pass
        finally:
            self._talk.close()

    def _converse(self, numbers: Sequence[int]) -> None:
        if not self._hear().startswith(b"220"):
            return
        if not self._ask(b"EHLO client.example").startswith(b"250"):
            return
        for number in numbers:
            # A failure that a client meets once is nothing for it to hang up for.
            reply = self.replies[number] = self._send(number)
            if reply.startswith(b"421"):
                return
            if reply[:1] == b"4":
                self._ask(b"RSET")
        self._ask(b"QUIT")

    def _send(self, number: int) -> bytes:
        for command in (
            b"XFORWARD IDENT=4abc%d" % number,
            b"MAIL FROM:<anna@example.com>",
            b"RCPT TO:<bert@example.net>",
            b"DATA",
        ):
            reply = self._ask(command)
            if reply[:1] not in (b"2", b"3"):
                return reply
        self._talk.say(content(number).replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return self._hear()

    def _ask(self, command: bytes) -> bytes:
        self._talk.say(command + b"\r\n")
        return self._hear()

    def _hear(self) -> bytes:
        self.heard.append(self._talk.hear())
        return self.heard[-1]


def run(words: Sequence[str | bytes], connection: socket.socket) -> subprocess.Popen[bytes]:
    """The command, whose three descriptors are the connection, as for a service of spawn(8)."""
    fd = connection.fileno()
    return subprocess.Popen(
        words,
        stdin=fd,
        stdout=fd,
        stderr=fd,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LANG": "C"},
        start_new_session=True,
    )


class Conversation:
    """A session that runs, and its client."""

    def __init__(
        self, process: subprocess.Popen[bytes], connected: socket.socket, mailer: Mailer
    ) -> None:
        self.process = process
        self._thread = threading.Thread(target=mailer.run)
        self._mailer = mailer
        self._socket = connected

    def feed(self) -> Conversation:
        self._thread.start()
        return self

    def end(self, message: bytes = b"") -> Ended:
        """Wait for both to end; the output is the last that the client heard."""
        if not self._thread.ident:
            self.feed()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            self._thread.join(2 * PATIENCE)
        return Ended(status, b"".join(self._mailer.heard[-2:]))


class Listened(Conversation):
    """The same with a socket that listens: whoever owns it starts the plain command again."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connected: socket.socket,
        mailer: Mailer,
        again: Callable[[], subprocess.Popen[bytes]],
    ) -> None:
        super().__init__(process, connected, mailer)
        self._again = again

    def end(self, message: bytes = b"") -> Ended:
        if not self._thread.ident:
            self.feed()
        status = self.process.wait(PATIENCE)
        self._thread.join(SOON)  # a session may go on without its parent
        if self._thread.is_alive():
            self._again().wait(PATIENCE)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("the client", PATIENCE)
        return Ended(status, b"".join(self._mailer.heard[-2:]))


class SessionScene(Scene):
    """A site where avcheck-smtp is run as spawn(8) does it."""

    known_again = False

    def __init__(self, name: str, command: Path, directory: Path) -> None:
        super().__init__(name, command, directory)
        self.mailer: Mailer
        self.kept: list[int] = [*range(MESSAGES)]
        self.twice = False  # somebody has what the client keeps, too

    @property
    def end(self) -> str:
        return "session"

    def start(self, words: Sequence[str | bytes]) -> Conversation:  # type: ignore[override]
        ours, theirs = socket.socketpair()
        with theirs:
            self.mailer = Mailer(ours, self.kept)
            return Conversation(run(words, theirs), ours, self.mailer)

    def begin(self) -> None:
        super().begin()
        self.kept = [*range(MESSAGES)]
        for program in (self.program, self.handler):
            for file in program._notes.glob("message.*") if program else ():
                file.unlink()

    @property
    def delivered(self) -> list[bytes]:
        """What the next hop has, as it goes over the wire."""
        if self.smtp:
            return [letter.data for letter in self.smtp.messages]
        return [each.replace(b"\n", b"\r\n") for each in _noted(self.program)]

    @property
    def copies(self) -> list[bytes]:
        return [*self.delivered, *_noted(self.handler), *self.stored]

    def patiently(self, tool: Sequence[str] = ()) -> list[str | bytes]:
        words = list(self.words)
        for name, value in LONG.items():
            words[words.index(name) + 1] = value
        return [*tool, *words]

    def taken(self, number: int) -> list[bytes]:
        """Every copy of the message of that number."""
        mark = NUMBER % number
        return [each for each in self.copies if mark in each]

    def was_proved(self, number: int) -> bool:
        """Whether every scanner has seen all of the message of that number."""
        return all(
            any(question.content.endswith(content(number)) for question in scanner.questions)
            for scanner in self.scanners
        )


class ListeningScene(SessionScene):
    """A site where avcheck-smtp has a socket that listens."""

    def start(self, words: Sequence[str | bytes]) -> Conversation:  # type: ignore[override]
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = listening.getsockname()
            ours = socket.create_connection(address)
            self.mailer = Mailer(ours, self.kept, lambda: socket.create_connection(address))
            owner = listening.dup()
            process = run(words, listening)

        def again() -> subprocess.Popen[bytes]:
            with owner:
                return run(self.patiently(), owner)

        return Listened(process, ours, self.mailer, again)


def _noted(program: Program | None) -> list[bytes]:
    """What the program has taken."""
    return [file.read_bytes() for file in program._notes.glob("message.*")] if program else []


def _says(question: bytes) -> bytes:
    return FOUND if VIRUS in question else b"OK"


def _session(scene: Scene, *options: str) -> None:
    scene.mail_server()
    _commanded(scene, *options)


def _commanded(scene: Scene, *options: str) -> None:
    where = scene.clamd()
    scene.scanners[0]._says = _says
    command = str(Path(scene.site.command[0]).with_name("avcheck-smtp"))
    spool = ("-d", str(scene.site.spool))
    scene.words = [command, *spool, "-s", f"clamd:{where}", *scene.site.hop, *SHORT, *options]


def _refused(scene: Scene) -> None:
    _session(scene, "--on", "infected=reject")


def _stored(scene: Scene) -> None:
    state = [word for word in STATE if word not in ("--queue-id", "4abc")]
    metrics = ("--metrics", str(scene.directory / "metrics.prom"))
    _session(scene, "--on", f"infected=quarantine:{scene.quarantine}", *state, *metrics)


def _programs(scene: Scene) -> None:
    ending = 'mv "$notes/stdin" "$notes/message.$$"'
    scene.program = Program(scene.directory / "sendmail", ending)
    scene.site.hop = ("-S", str(scene.program.path))
    ending = 'cat "$1" >"$notes/part" && rm "$1" && mv "$notes/part" "$notes/message.$$"'
    scene.handler = Program(scene.directory / "handler", ending)
    scene.named = True
    _commanded(scene, "-i", str(scene.handler.path))


def _listening(scene: Scene) -> None:
    # The next connection waits until the only child is ready for it.
    _session(scene, "--on", "infected=reject", "--idle", "0.05", "--processes", "1")


SESSIONS: dict[str, Callable[[Scene], None]] = {
    "three in a session, one refused": _refused,
    "three in a session, one in quarantine": _stored,
    "three in a session, programs": _programs,
    "three in a session, a socket that listens": _listening,
}
