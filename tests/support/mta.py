"""The installed avcheck as an MTA runs it, and the site around it.

As Postfix's pipe(8) does: the message on a pipe, standard output and standard error
on one non-blocking pipe that is read at the end, a session of its own, an
environment with nothing of the caller's.  What a test may look at is the status,
the output, and where the message is afterwards.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.support.fakes import PATIENCE, FakeClamd, FakeSmtp, Server
from tests.support.program import Program

MAIL = b"Received: from there\nSubject: a test\n\nHello.\n.\n..dots\nFrom here\n"
SENDER = b"anna@example.com"
RECIPIENT = b"bert@example.net"

TEMPFAIL = 75

# How many runs of a site coverage may measure: it makes them take ten times as long.
MEASURED = 3

# Postfix's rule (dsn_valid), for what makes it keep the message.
KEEP = re.compile(rb"4\.\d{1,3}\.\d{1,3} ")


# Shell words that run the command after them with these descriptors closed.
CLOSING = {
    "".join(map(str, closed)): [
        "/bin/sh",
        "-c",
        'exec "$0" "$@" ' + " ".join(f"{fd}>&-" for fd in closed),
    ]
    for number in range(4)
    for closed in itertools.combinations((0, 1, 2), number)
}


@dataclass(frozen=True)
class Ended:
    """How a run ended; status is negative for a signal, output is what the MTA reads."""

    status: int
    output: bytes


class Running:
    """A run of avcheck that has not ended."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output

    @property
    def stdin(self) -> int:
        """The MTA's end of the pipe that the message goes through."""
        assert self.process.stdin
        return self.process.stdin.fileno()

    def feed(self, message: bytes = MAIL) -> Running:
        """Give it the message, and do not wait for the end."""
        pipe, self.process.stdin = self.process.stdin, None
        assert pipe
        with pipe:
            pipe.write(message)
        return self

    def end(self, message: bytes | None = None) -> Ended:
        """Wait for the end; give it the (rest of the) message before, if it has not had that."""
        try:
            self.process.communicate(message, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            place = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            children = place.read_text().split()  # of the guard: the interpreter
            for pid in (self.process.pid, *map(int, children)):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise
        return Ended(self.process.returncode, self.output())

    def wait(self) -> Ended:
        """Wait for the end, and give it no end of the message."""
        status = self.process.wait(PATIENCE)
        return Ended(status, self.output())

    def output(self) -> bytes:
        """What was written, once everybody who could write has ended: pipe(8) waits for that."""
        hung_up = select.poll()
        hung_up.register(self._output, 0)
        assert hung_up.poll(PATIENCE * 1000), "somebody keeps the output open"
        with os.fdopen(self._output, "rb") as output:
            return output.read()

    def is_in(self, function: str) -> bool:
        """Whether it is waiting in this function of the kernel."""
        with contextlib.suppress(FileNotFoundError):  # it has ended
            return function in Path(f"/proc/{self.process.pid}/wchan").read_text()
        return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


class Site:
    """A spool directory, a scanner, a next hop and a handler, and the command to run there.

    What clamd(), smtp(), sendmail() and handler() make is what the next runs use, and
    is stopped at the end.  user is the account that runs avcheck, None for this one.
    measured is what coverage needs in the environment of the first runs.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        *,
        user: int | None = None,
        environment: Mapping[str, str] | None = None,
        measured: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [os.fspath(word) for word in command]
        self.directory = directory
        self.user = user
        self._environment = {"PATH": "/usr/bin:/bin", "LANG": "C", **(environment or {})}
        self.measured = measured or {}
        self.spool = self.own(directory / "spool")
        self.scanner: FakeClamd
        self.hop: Sequence[str] = ()
        self.infected: str = ""
        self._servers: list[Server] = []
        self._programs: list[Program] = []
        self._running: list[Running] = []

    def own(self, path: Path, mode: int = 0o700) -> Path:
        """A directory of the account that runs avcheck."""
        path.mkdir(mode)
        path.chmod(mode)
        if self.user is not None:
            os.chown(path, self.user, self.user)
        return path

    def surround(self, environment: Mapping[str, str]) -> None:
        """Run it in this environment from now on, without PATH and without coverage."""
        self._environment, self.measured = dict(environment), {}

    def path(self, name: str) -> Path:
        """A path for a server or a program of this name, one that is free."""
        number = len(self._servers) + len(self._programs)
        return self.directory / f"{name}.{number}"

    def clamd(self, tcp: bool = False, hold: str = "", **how: object) -> FakeClamd:
        """The scanner, from now on."""
        path = None if tcp else self.path("clamd")
        self.scanner = FakeClamd(path, hold=hold, **how)  # type: ignore[arg-type]
        if path:
            path.chmod(0o777)
        self._servers.append(self.scanner)
        return self.scanner

    def smtp(self, unix: bool = False, hold: str = "", **how: object) -> FakeSmtp:
        """The next hop, from now on."""
        server = FakeSmtp(self.path("smtp") if unix else None, hold=hold, **how)  # type: ignore[arg-type]
        self._servers.append(server)
        self.hop = ("-S", f"unix:{server.where}" if unix else server.where)
        return server

    def program(self, name: str, ending: str = "exit 0") -> Program:
        program = Program(self.path(name), ending)
        self._programs.append(program)
        return program

    def sendmail(self, ending: str = "exit 0") -> Program:
        """The next hop, from now on."""
        program = self.program("sendmail", ending)
        self.hop = ("-S", str(program.path))
        return program

    def handler(self, ending: str = 'cat "$1" >"$notes/message"; rm "$1"') -> Program:
        """The handler, from now on; it takes the message over unless it is told otherwise."""
        program = self.program("handler", ending)
        self.infected = str(program.path)
        return program

    def words(
        self,
        *options: str | bytes,
        scanners: Sequence[str] | None = None,
        spool: str | Path | None = None,
        sender: str | bytes = SENDER,
        recipients: Sequence[str | bytes] = (RECIPIENT,),
    ) -> list[str | bytes]:
        """The command line: this site's, unless told otherwise, and the options after it."""
        if scanners is None:
            scanners = [f"clamd:{self.scanner.where}"]
        return [
            *self.command,
            *("-d", str(spool or self.spool)),
            *(word for scanner in scanners for word in ("-s", scanner)),
            *self.hop,
            *(("-i", self.infected) if self.infected else ()),
            *options,
            *("-f", sender, "--", *recipients),
        ]

    def start(
        self,
        words: Sequence[str | bytes],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.PIPE,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: str | Path = "/",
    ) -> Running:
        """Run it; what is not told otherwise is as pipe(8) has it."""
        output, theirs = os.pipe()
        os.set_blocking(output, False)
        os.set_blocking(theirs, False)
        measured = self.measured if len(self._running) < MEASURED else {}
        groups: list[str | int] | None = None if self.user is None else []
        try:
            process = subprocess.Popen(
                words,
                stdin=stdin,
                stdout=theirs if stdout is None else stdout,
                stderr=theirs if stderr is None else stderr,
                cwd=cwd,
                env={**self._environment, **measured, **(environment or {})},
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=groups,
            )
        finally:
            os.close(theirs)
        running = Running(process, output)
        self._running.append(running)
        return running

    def deliver(self, *options: str | bytes, message: bytes = MAIL, **line: object) -> Ended:
        """Give it a message, and wait for the end."""
        return self.start(self.words(*options, **line)).end(message)  # type: ignore[arg-type]

    def at_a_terminal(self, words: Sequence[str | bytes]) -> Ended:
        """Run it as a person does, with standard error on a terminal and nothing to read."""
        mine, theirs = pty.openpty()
        with open(os.devnull, "rb") as nothing, open(mine, "rb", buffering=0) as terminal:
            running = self.start(words, stdin=nothing.fileno(), stderr=theirs)
            os.close(theirs)
            ended = running.end()
            said = ended.output
            with contextlib.suppress(OSError):  # EIO, when everything is read and nobody writes
                while piece := terminal.read(65536):
                    said += piece
        return Ended(ended.status, said)

    @property
    def delivered(self) -> list[bytes]:
        """Every message that a server of this site has taken."""
        return [
            message.data
            for server in self._servers
            if isinstance(server, FakeSmtp)
            for message in server.messages
        ]

    @property
    def calls(self) -> int:
        """How many times a program of this site was run."""
        return sum(program.calls for program in self._programs)

    @property
    def left(self) -> list[str]:
        """What is in the spool directory."""
        return os.listdir(self.spool)

    def assert_deferred(self, ended: Ended, *words: str) -> None:
        """The MTA keeps the message and is told why, in these words; there is no trace of it."""
        assert ended.status == TEMPFAIL, ended
        assert KEEP.match(ended.output), ended
        for word in words:
            assert word in ended.output.decode("ascii"), (word, ended)
        assert b"bug" not in ended.output, ended
        assert self.left == []

    def assert_kept(self, ended: Ended, *words: str) -> None:
        """The same, and nobody else has the message."""
        self.assert_deferred(ended, *words)
        assert self.delivered == []

    def close(self) -> None:
        for running in self._running:
            if running.process.poll() is None:  # the test has failed
                running.process.kill()
                running.process.wait()
        for server in self._servers:
            server.stop()
        for program in self._programs:
            program.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; for what the kernel tells in no other way."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        os.sched_yield()


def is_connecting(pid: int) -> bool:
    """Whether that avcheck is ready for signals, and has a socket open."""
    with contextlib.suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
        status = Path(f"/proc/{pid}/status").read_text()
        caught = re.search(r"^SigCgt:\t(\w+)$", status, re.M)
        # The interpreter opens and closes sockets before that: to look for its user's home.
        if caught and int(caught[1], 16) & 1 << (signal.SIGALRM - 1):
            files = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
            return any(file.startswith("socket:") for file in files)
    return False
