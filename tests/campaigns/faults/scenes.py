"""What avcheck is told to do, and among whom.

A scene is used again for each run: begin() takes away what the one before has left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.fakes import PATIENCE, FakeClamd, FakeSmtp, Question, Server
from tests.support.mta import MAIL, Running, Site, until
from tests.support.program import Program

FOUND = b"Eicar-Test-Signature FOUND"

# Seconds: where the fault has left nobody who would say anything, a run waits so long.
SHORT = ("-t", "1", "--deadline", "2")

# For a run without a fault, which is to end well on a busy machine, too.
LONG = {"-t": "25", "--deadline": "25"}

ON_THE_WIRE = b"".join(line + b"\r\n" for line in MAIL.splitlines())


class Clamd(FakeClamd):
    """clamd, which knows the virus of --canary when it sees it."""

    def _question(self, client: socket.socket) -> tuple[Question, bytes]:
        try:
            question, name = super()._question(client)
        except AssertionError as why:  # in two pieces, which is more than this one understands
            raise ConnectionError from why
        if b"known-answer test" in question.content and b"multipart" in question.content:
            return question, name + b": Eicar-Test-Signature FOUND\0"
        return question, name + b": " + self.says(question.content) + b"\0"


def wait_until_read(server: Server) -> None:
    """Return when the server has read everything that was sent by those who have hung up."""
    unix = server.where.startswith("/")
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as last:
        host, _, port = server.where.partition(":")
        last.settimeout(PATIENCE)
        last.connect(server.where if unix else (host, int(port)))
        last.shutdown(socket.SHUT_WR)
        # Clients are taken in their order, so the others have been taken now.
        while last.recv(4096):
            pass
    for thread in server._threads[1:]:
        thread.join(PATIENCE)
    del server._threads[1:]


class Scene:
    """A site with the words of the command line, and what has become of the message there."""

    def __init__(self, name: str, command: Path, directory: Path) -> None:
        self.name = name
        self.directory = directory
        directory.mkdir()
        self.site = Site([command], directory)
        self.scanners: list[Clamd] = []
        self.smtp: FakeSmtp | None = None
        self.program: Program | None = None
        self.handler: Program | None = None
        self.quarantine = directory / "quarantine"
        self.known_again = False  # the next try finds what the first has stored
        self.named = False  # a file with a name is in the spool at times
        self.words: Sequence[str | bytes] = ()
        self._inner: Path | None = None

    @property
    def end(self) -> str:
        """In a word what becomes of the message, and of nothing before that without a scanner."""
        if self.guarded or not self.scanners:
            return self.name
        ends = {"handler": self.handler, "sendmail": self.program, "SMTP": self.smtp}
        if any(str(self.quarantine) in os.fsdecode(word) for word in self.words):
            return "quarantine"
        return next(word for word, who in ends.items() if who)

    @property
    def guarded(self) -> bool:
        """Whether avcheck-guard.sh stands between the MTA and avcheck."""
        return self._inner is not None

    def guard(self, command: Path) -> None:
        """Have it called by avcheck-guard.sh, which runs the Python that lies beside it."""
        directory = self.directory / "bin"
        directory.mkdir()
        self._inner = directory / "python3"
        (self.directory / "pyvenv.cfg").touch()
        (self.directory / "lib").symlink_to(command.parents[1] / "lib")
        guard = directory / "avcheck-guard.sh"
        shutil.copy(command.with_name(guard.name), guard)
        self.words = [str(guard), *self.words[1:]]

    def start(self, words: Sequence[str | bytes]) -> Running:
        """Run that; the scene forgets it."""
        running = self.site.start(words)
        self.site._running.clear()
        return running

    def under(self, tool: Sequence[str]) -> Sequence[str | bytes]:
        """The command line with avcheck run by the tool."""
        if self._inner is None:
            return [*tool, *self.words]
        words = shlex.join([*tool, str(Path(self.site.command[0]).with_name("python3"))])
        self._inner.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self._inner.chmod(0o755)
        return self.words

    def patiently(self, tool: Sequence[str] = ()) -> list[str | bytes]:
        """The command line for a run without a fault, and without the guard."""
        words = [*self.site.command, *self.words[1:]]
        for name, value in LONG.items():
            if name in words:
                words[words.index(name) + 1] = value
        return [*tool, *words]

    def clamd(self, tcp: bool = False, says: bytes = b"OK") -> str:
        """One more scanner; returns its WHERE."""
        path = None if tcp else self.directory / "clamd"
        self.scanners.append(Clamd(path, says=says, reply=b"@"))
        self.site.scanner = self.scanners[-1]
        return self.scanners[-1].where

    def mail_server(self) -> None:
        self.smtp = FakeSmtp()
        self.site.hop = ("-S", self.smtp.where)

    def begin(self) -> None:
        """As if nothing had ever happened here."""
        for scanner in self.scanners:
            scanner.questions.clear()
        if self.smtp:
            self.smtp.messages.clear()
        for program in (self.program, self.handler):
            if program:
                for name in ("calls", "argv", "stdin", "message"):
                    (program._notes / name).unlink(missing_ok=True)
        shutil.rmtree(self.quarantine, ignore_errors=True)
        for file in self.site.spool.iterdir():
            file.unlink()
        for file in self.directory.glob("metrics*"):
            file.unlink()

    def wait_until_idle(self) -> None:
        """Return when nobody does anything any more."""
        if self.program or self.handler:
            until(lambda: not self._running())
        for server in (*self.scanners, self.smtp):
            if server:
                wait_until_read(server)

    def _running(self) -> bool:
        """Whether a program of this scene is running, or a child that is to become it."""
        mark = os.fsencode(self.directory) + b"/"
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{entry.name}/cmdline").read_bytes():
                        return True
        return False

    @property
    def copies(self) -> list[bytes]:
        """Every copy of the message that somebody has taken, as MAIL if it is whole."""
        found = []
        if self.smtp:
            found += [
                MAIL if letter.data == ON_THE_WIRE else letter.data for letter in self.smtp.messages
            ]
        for program in (self.program, self.handler):
            if program:  # one that is killed before that has taken nothing
                with contextlib.suppress(FileNotFoundError):
                    found.append(_without_header(program.note("message")))
        return found + self.stored

    @property
    def stored(self) -> list[bytes]:
        """The messages in the quarantine."""
        found = []
        if self.quarantine.is_dir():
            for entry in self.quarantine.iterdir():
                if entry.name != ".new":
                    about = entry / "about.json"
                    found.append(
                        (entry / "message").read_bytes() if about.exists() else b"no sidecar"
                    )
        return found

    @property
    def proved(self) -> bool:
        """Whether every scanner has seen the whole message."""
        return all(
            any(question.content.endswith(MAIL) for question in scanner.questions)
            for scanner in self.scanners
        )

    @property
    def left(self) -> list[str]:
        """What is in the spool, without the state that stays there, and unfinished entries."""
        state = ("slot.", "canary.", "attempts.")
        found = [name for name in self.site.left if not name.startswith(state)]
        new = self.quarantine / ".new"
        return found + ([f".new/{name}" for name in os.listdir(new)] if new.is_dir() else [])

    def close(self) -> None:
        self.site.close()
        for each in (*self.scanners, self.smtp):
            if each:
                each.stop()
        for program in (self.program, self.handler):
            if program:
                program.close()


def _without_header(message: bytes) -> bytes:
    """The message without the line of -h, which is there if it is the one of the manual page."""
    return re.sub(rb"\AX-AV-Checked: [^\n]+ by us\n", b"", message)


def _clean(scene: Scene, *options: str, tcp: bool = False, way: str = "descriptor") -> None:
    scene.mail_server()
    where = scene.clamd(tcp)
    scene.named = way == "path"
    scene.words = scene.site.words(*SHORT, *options, scanners=[f"clamd+{way}:{where}"])


def _stream(scene: Scene) -> None:
    _clean(scene, tcp=True, way="stream")


def _path(scene: Scene) -> None:
    _clean(scene, way="path")


def _sendmail(scene: Scene) -> None:
    scene.clamd()
    ending = 'mv "$notes/stdin" "$notes/message"'
    scene.program = Program(scene.directory / "sendmail", ending)
    scene.site.hop = ("-S", str(scene.program.path))
    scene.words = scene.site.words(*SHORT)


def _header(scene: Scene) -> None:
    _sendmail(scene)
    scene.words = scene.site.words(*SHORT, "-h", "by us")


def _handler(scene: Scene) -> None:
    scene.clamd(says=FOUND)
    scene.mail_server()
    ending = 'cat "$1" >"$notes/part" && rm "$1" && mv "$notes/part" "$notes/message"'
    scene.handler = Program(scene.directory / "handler", ending)
    scene.named = True
    scene.site.infected = str(scene.handler.path)
    scene.words = scene.site.words(*SHORT)


def _quarantine(scene: Scene) -> None:
    scene.clamd(says=FOUND)
    scene.mail_server()
    scene.words = scene.site.words(*SHORT, "--on", f"infected=quarantine:{scene.quarantine}")


def _quarantine_by_id(scene: Scene) -> None:
    _quarantine(scene)
    scene.known_again = True
    end = list(scene.words).index("-f")
    scene.words = [*scene.words[:end], "--queue-id", "4abc", *scene.words[end:]]


def _client(scene: Scene) -> None:
    scene.mail_server()
    command, hop = scene.site.command, scene.site.hop
    scene.words = [*command, "-c", *hop, "-f", "anna@example.com", "--", "bert@example.net"]


STATE = ("--slots", "2", "--canary", "60", "--attempts", "3", "--queue-id", "4abc")


def _everything(scene: Scene) -> None:
    _clean(scene, *STATE, "--metrics", str(scene.directory / "metrics.prom"))


def _configured(scene: Scene) -> None:
    _everything(scene)
    # The limits of time stay on the command line.
    words = list(scene.words)
    kept, end = words.index(SHORT[0]), words.index("-f")
    first = kept + len(SHORT)
    options = [os.fsdecode(word) for word in [*words[1:kept], *words[first:end]]]
    names = {"-d": "spool", "-s": "scanner", "-S": "sendmail"}
    file = scene.directory / "avcheck.conf"
    with open(file, "w") as lines:
        for name, value in zip(options[::2], options[1::2], strict=True):
            lines.write(f"{names.get(name, name[2:])} {value}\n")
    scene.words = [words[0], "--config", str(file), *SHORT, *words[end:]]


def _two(scene: Scene) -> None:
    scene.mail_server()
    scanners = [f"clamd:{scene.clamd()}", f"clamd+stream:{scene.clamd(tcp=True)}"]
    scene.words = scene.site.words(*SHORT, scanners=scanners)


def _guarded(scene: Scene) -> None:
    _clean(scene)
    scene.guard(Path(scene.site.command[0]))


SCENES: dict[str, Callable[[Scene], None]] = {
    "clean by descriptor, SMTP": _clean,
    "clean by stream, SMTP": _stream,
    "clean by path, SMTP": _path,
    "clean by descriptor, sendmail": _sendmail,
    "clean, header, sendmail": _header,
    "infected, handler": _handler,
    "infected, quarantine": _quarantine,
    "infected, quarantine, --queue-id": _quarantine_by_id,
    "-c, SMTP": _client,
    "slots, canary, attempts, metrics": _everything,
    "the same from a file": _configured,
    "two scanners at once": _two,
    "Python's own start, avcheck-guard.sh": _guarded,
}
