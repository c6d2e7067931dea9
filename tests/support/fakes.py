"""Those whom avcheck meets, played: a daemon, a mail server; for a program see program.py.

    FakeClamd   takes messages in all three ways, and answers as told or not at all
    FakeSmtp    a mail server that can go wrong at every step of the dialogue

They play in threads of the test.  They tell when a stage is reached (arrived), and can be
made to wait there (release), so no test ever sleeps.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

# Seconds until a test gives up.  A test that passes never waits for it to end.
PATIENCE = 30.0

# Seconds in which what has been sent to a server is read.
READING = 2.0

HANG_UP = b""  # in place of an answer

# Handed to SCM_RIGHTS: room for the one descriptor that avcheck sends.
ONE_DESCRIPTOR = socket.CMSG_LEN(4)


class Server:
    """A listening socket, on a path or on a free port of 127.0.0.1.

    play() is called for each client in a thread of its own.  hold names the stage at
    which it keeps silent until release(), which stop() does at the latest.
    """

    def __init__(self, path: Path | None = None, hold: str = "", listens: bool = True) -> None:
        self._socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.where = str(path) if path else f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._hold = hold
        self._released = threading.Event()
        self._reached: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        # With listens=False: the one connection that fits in is never accepted.
        self._socket.listen(64 if listens else 0)
        if listens:
            self.serve()

    def serve(self) -> None:
        self._run(self._accept)

    def play(self, client: socket.socket) -> None:
        raise NotImplementedError

    def arrived(self, stage: str = "") -> None:
        """Return when a client has reached the stage (the one of hold, unless given)."""
        stage = stage or self._hold
        assert self._reached[stage].wait(PATIENCE), f"{self.where}: nobody reached {stage}"

    def release(self) -> None:
        """Go on after the stage of hold."""
        self._released.set()

    def stop(self) -> None:
        """End, when everything that clients have sent is read."""
        self.release()
        # After SHUT_RDWR the kernel resets a connection on which more is on its way to us (Linux
        # 6): what is read before that is all of it only where nobody is stuck in sending.
        for how, seconds in ((socket.SHUT_RD, READING), (socket.SHUT_RDWR, PATIENCE)):
            for each in [self._socket, *self._clients]:
                with contextlib.suppress(OSError):  # not connected, or not any more
                    each.shutdown(how)
            until = time.monotonic() + seconds
            for thread in self._threads:
                thread.join(max(until - time.monotonic(), 0))
        self._socket.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def reach(self, stage: str) -> None:
        """In play(): tell that the stage is reached, and wait there if hold says so."""
        self._reached[stage].set()
        if stage == self._hold:
            self._released.wait(PATIENCE)

    def _run(self, what: Callable[[], None]) -> None:
        thread = threading.Thread(target=what, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # stop()
            while True:
                client, _ = self._socket.accept()
                if client.family == socket.AF_INET:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients.append(client)
                self._run(lambda client=client: self._play(client))  # type: ignore[misc]

    def _play(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # a client may go at any time
            self.play(client)


@dataclass(frozen=True)
class Question:
    """What clamd was asked: how, and with which bytes.

    path is what SCAN named, status that of the file which came by path or descriptor,
    writable whether the descriptor could be written to.
    """

    way: str
    content: bytes
    path: bytes = b""
    status: os.stat_result | None = None
    writable: bool = False


class FakeClamd(Server):
    """clamd, which says what it is told after the name of the object, maybe by its content.

    Or it says reply, in which @ is the name; cut ends the reply there.  takes is how many
    bytes of a stream it takes before it answers and hangs up; root is the directory it is
    chrooted in.  Stages: connected, asked.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        says: bytes | Callable[[bytes], bytes] = b"OK",
        reply: bytes | None = None,
        cut: int | None = None,
        one_by_one: bool = False,
        takes: int | None = None,
        hangs_up: bool = False,
        root: str = "",
        hold: str = "",
        listens: bool = True,
    ) -> None:
        self.questions: list[Question] = []
        self._says = says
        self._reply = reply
        self._cut = cut
        self._one_by_one = one_by_one
        self._takes = takes
        self._hangs_up = hangs_up
        self._root = root
        super().__init__(path, hold, listens)

    def play(self, client: socket.socket) -> None:
        self.reach("connected")
        if self._hangs_up:
            return
        question, name = self._question(client)
        self.questions.append(question)
        self.reach("asked")
        said = b"@: " + self.says(question.content) + b"\0"
        reply = said if self._reply is None else self._reply
        reply = reply.replace(b"@", name)
        _send(client, reply[: self._cut], self._one_by_one)

    def says(self, content: bytes) -> bytes:
        """What it says of the content, after the name of the object."""
        return self._says if isinstance(self._says, bytes) else self._says(content)

    def _question(self, client: socket.socket) -> tuple[Question, bytes]:
        """The question, and clamd's name for the object that it is about."""
        words, rights, _, _ = client.recvmsg(4096, ONE_DESCRIPTOR)
        command, nul, more = words.partition(b"\0")
        if not nul:
            raise ConnectionError("hung up without a question")
        if command == b"zFILDES":
            assert more, "one byte has to come with the descriptor"
            ((_, _, number),) = rights
            return _by_descriptor(int.from_bytes(number, "little")), b"fd[10]"
        if command == b"zINSTREAM":
            return Question("INSTREAM", self._stream(client, more)), b"stream"
        name = command.removeprefix(b"zSCAN ")
        file = os.fsencode(self._root) + name
        with open(file, "rb") as content:
            return Question("SCAN", content.read(), name, os.stat(file)), name

    def _stream(self, client: socket.socket, begun: bytes) -> bytes:
        """The bytes of the stream, without the sizes of its chunks."""
        if self._takes is not None:
            return _exactly(client, begun, self._takes)
        content = b""
        while size := int.from_bytes((begun := _exactly(client, begun, 4))[:4], "big"):
            begun = _exactly(client, begun[4:], size)
            content += begun[:size]
            begun = begun[size:]
        return content


def _by_descriptor(fd: int) -> Question:
    status = os.fstat(fd)
    content = os.pread(fd, status.st_size, 0)
    try:
        os.pwrite(fd, content[:1], 0)
        writable = True
    except OSError:
        writable = False
    os.close(fd)
    return Question("FILDES", content, status=status, writable=writable)


def _exactly(client: socket.socket, begun: bytes, size: int) -> bytes:
    """At least so many bytes, the ones that have come already included."""
    pieces, have = [begun], len(begun)
    while have < size:
        piece = client.recv(1 << 20)
        if not piece:
            raise ConnectionError("hung up in the middle")
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)


def _send(client: socket.socket, words: bytes, one_by_one: bool) -> None:
    for piece in [words[at : at + 1] for at in range(len(words))] if one_by_one else [words]:
        client.sendall(piece)


@dataclass(frozen=True)
class Letter:
    """A message that a server took: envelope, and data with the dots unstuffed."""

    sender: bytes
    recipients: tuple[bytes, ...]
    data: bytes


class FakeSmtp(Server):
    """A mail server.

    answers has the words for a step that are to replace the usual ones, HANG_UP to
    hang up there without any; quits is a step after whose answer it hangs up.  Steps, which
    are the stages, too: greeting, EHLO, HELO, MAIL, RCPT 1 and so on, DATA, body (when the
    first bytes have come, and no answer is usual), dot, QUIT.  A message is in `messages`
    when the answer to its dot is a yes, and in `cut_short` when the client hangs up before
    the dot; `early` has the steps whose answer the client did not wait for.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        answers: Mapping[str, bytes] | None = None,
        offers: tuple[bytes, ...] = (b"PIPELINING", b"8BITMIME", b"SIZE 0"),
        one_by_one: bool = False,
        quits: str = "",
        hold: str = "",
    ) -> None:
        self.messages: list[Letter] = []
        self.commands: list[bytes] = []
        self.cut_short: list[bytes] = []
        self.early: list[str] = []
        self._answers = answers or {}
        self._offers = offers
        self._one_by_one = one_by_one
        self._quits = quits
        super().__init__(path, hold)

    def play(self, client: socket.socket) -> None:
        sender, recipients = b"", list[bytes]()
        lines = _Lines(client)
        going = self._answer(lines, "greeting", b"220 fake ESMTP\r\n")
        while going and (line := lines.next()):
            line = line.removesuffix(b"\r\n")
            self.commands.append(line)
            verb = line[:4].decode()
            if verb == "EHLO":
                words = (b"fake", *self._offers)
                said = b"".join(b"250-" + word + b"\r\n" for word in words[:-1])
                going = self._answer(lines, verb, said + b"250 " + words[-1] + b"\r\n")
            elif verb == "MAIL":
                sender, recipients = line.removeprefix(b"MAIL FROM:"), []
                going = self._answer(lines, verb, b"250 2.1.0 sender ok\r\n")
            elif verb == "RCPT":
                recipients.append(line.removeprefix(b"RCPT TO:<").removesuffix(b">"))
                step = f"RCPT {len(recipients)}"
                going = self._answer(lines, step, b"250 2.1.5 recipient ok\r\n")
            elif verb == "DATA":
                going = self._answer(lines, verb, b"354 go ahead\r\n")
                if going and self._answers.get(verb, b"3").startswith(b"3"):
                    lines.wait()
                    going = self._answer(lines, "body", None)
                    if going:
                        letter = Letter(sender, tuple(recipients), self._data(lines))
                        self.reach("dot")
                        if self._answers.get("dot", b"2").startswith(b"2"):
                            self.messages.append(letter)
                        going = self._answer(lines, "dot", b"250 2.0.0 taken\r\n")
            else:
                usual = b"221 2.0.0 bye\r\n" if verb == "QUIT" else b"250 2.0.0 yes\r\n"
                going = self._answer(lines, verb, usual) and verb != "QUIT"

    def _answer(self, lines: _Lines, step: str, usual: bytes | None) -> bool:
        """Say it; returns whether the conversation goes on."""
        self.reach(step)
        if step != "body" and lines.waiting():
            self.early.append(step)
        words = self._answers.get(step, usual)
        if words:
            _send(lines.client, words, self._one_by_one)
        return words != HANG_UP and step != self._quits

    def _data(self, lines: _Lines) -> bytes:
        """The message up to the final dot, leading dots unstuffed, CRLF kept."""
        found: list[bytes] = []
        at_start = True
        while line := lines.next():
            if at_start and line == b".\r\n":
                return b"".join(found)
            found.append(line[1:] if at_start and line.startswith(b".") else line)
            at_start = line.endswith(b"\r\n")
        self.cut_short.append(b"".join(found))
        raise ConnectionError("hung up before the final dot")


class _Lines:
    """The lines that a client sends; unlike a file it tells whether there is one already."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self._come = bytearray()

    def next(self) -> bytes:
        """The next line with its end, or what there is when the client hangs up."""
        searched = 0
        while (end := self._come.find(b"\n", searched)) < 0:
            searched = len(self._come)
            if not self._receive():
                end = searched
                break
        line = bytes(self._come[: end + 1])
        del self._come[: end + 1]
        return line

    def wait(self) -> None:
        """Return when there is something to read."""
        if not self._come:
            self._receive()

    def waiting(self) -> bool:
        """Whether the client has sent more than was read."""
        with contextlib.suppress(BlockingIOError):
            return bool(self._come or self.client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False

    def _receive(self) -> bool:
        piece = self.client.recv(1 << 20)
        self._come += piece
        return bool(piece)
