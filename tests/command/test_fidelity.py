"""Nothing in a message is changed: what comes out, read by rules of our own, is what went in.

The rules (stuffed in avcheck/deliver/smtp_words.py): lines end in LF, or in CRLF if the first
one does; on the wire each ends in CRLF.  A bare CR is data.  A last line end that is missing is
added on the wire.  A sendmail program and the handler get the very same bytes.  The header
of -h comes first, but for the line that an mbox begins with.
"""

from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avcheck import spool
from avcheck.deliver import smtp_words
from avcheck.directory import Directory
from avcheck.incoming import Incoming
from tests.support.mta import Ended, Site
from tests.support.readings import seen_by_scanners, with_mark
from tests.support.servers.sink import Sink

# What is likely to go wrong, and what is between.
PARTS = [
    b"From ",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n.",
    b"\r\n.\r\n",
    b".",
    b"..",
    b"\0",
    b"\xff",
    b"a",
    b"X: y",
]
messages = st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=30).map(b"".join)

# A message in pieces, as reads from a pipe give them.
pieces = st.lists(st.sampled_from(PARTS) | st.binary(min_size=1, max_size=9), max_size=30)
headers = st.sampled_from([b"", b"X-AV-Checked: now here"])


def expected(message: bytes, header: bytes = b"") -> bytes:
    """The message as its recipient's server is to have it."""
    line = re.match(rb"[^\n]*\n", message)
    ends_in_crlf = line is not None and line[0].endswith(b"\r\n")
    lines = re.split(rb"\r?\n" if ends_in_crlf else rb"\n", message)
    if not lines[-1]:
        del lines[-1]
    if header:
        lines.insert(bool(mbox_line(message)), header)
    return b"".join(line + b"\r\n" for line in lines)


def mbox_line(message: bytes) -> bytes:
    """The line before the header that an mbox begins with, if the message has one."""
    line = re.match(rb">?From [^\n]*\n", message)
    return line[0] if line else b""


def received(wire: bytes) -> bytes:
    """The message that a server reads from the wire (RFC 5321, 4.1.1.4 and 4.5.2), byte by byte.

    Raises AssertionError unless the final dot is the end of it.
    """
    message = bytearray()
    line = bytearray()
    for at, byte in enumerate(wire):
        line.append(byte)
        if line.endswith(b"\r\n"):
            if line == b".\r\n":
                assert at == len(wire) - 1, "something after the final dot"
                return bytes(message)
            message += line[1:] if line[0] == ord(".") else line
            line.clear()
    raise AssertionError("no final dot")


def no_bare_line_feed(wire: bytes) -> bool:
    return not re.search(rb"(?<!\r)\n", wire)


class Packets:
    """A descriptor that gives one piece with each read(2)."""

    def __init__(self, content: Sequence[bytes]) -> None:
        self.reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with writing:
            for piece in content:
                writing.send(piece)

    def __enter__(self) -> int:
        return self.reading.fileno()

    def __exit__(self, *_: object) -> None:
        self.reading.close()


class Known:
    """A message whose line ends are known before it is sent, like one from the spool."""

    size = None
    eight_bit = None

    def __init__(self, content: Sequence[bytes]) -> None:
        self._content = content
        line = re.match(rb"[^\n]*\n", b"".join(content))
        self.crlf = line is not None and line[0].endswith(b"\r\n")

    def pieces(self, header: bytes) -> Iterator[bytes]:
        yield from self._content


@given(pieces)
@example([b"a\r", b"\n.\r", b"\n"])
@example([b"\r\n", b".", b"\r", b"\n"])
def test_what_is_read_from_the_wire_is_what_was_sent(content: list[bytes]) -> None:
    wire = list(smtp_words.stuffed(Known(content), b""))  # type: ignore[arg-type]
    assert received(b"".join(wire)) == expected(b"".join(content))
    assert no_bare_line_feed(b"".join(wire))
    # The final dot is in the last piece, so signals are ignored before it is sent.
    assert b"\r\n.\r\n" not in b"\r\n" + b"".join(wire[:-1])


@given(pieces)
@example([b"Subject: x", b"\r\n\r\nbody\r\n"])
@example([b"Subject: x\r", b"\n\r\nbody\r\n"])
@example([b"\r", b"\r", b"\n", b"x\n"])
@example([b"\r"])
@example([b"a", b"\r", b"b", b"\r", b"\n", b"\r", b"\n"])
def test_where_reads_end_makes_no_difference(content: list[bytes]) -> None:
    """-c sends what it reads, and learns on the way how lines end."""
    with Packets(content) as stdin:
        wire = b"".join(smtp_words.stuffed(Incoming(stdin), b""))
    assert received(wire) == expected(b"".join(content))
    assert no_bare_line_feed(wire)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    path = tmp_path_factory.mktemp("spool")
    path.chmod(0o700)
    with Directory(os.fsencode(path)) as opened:
        yield opened


@given(pieces, headers)
@example([b"Subject: x\r", b"\n\r\nbody\r\n"], b"X: y")
@example([b"From a\nb: c\n"], b"X: y")
@example([b">From a\r\nb: c\r\n"], b"X: y")
@example([b"From"], b"X: y")
def test_the_spool_gives_back_what_it_got(
    directory: Directory, content: list[bytes], header: bytes
) -> None:
    message = b"".join(content)
    with Packets(content) as stdin, received_in(directory, stdin) as saved:
        assert saved.size == len(message)
        assert saved.eight_bit == (not message.isascii())
        assert b"".join(saved.pieces()) == message
        wire = b"".join(smtp_words.stuffed(saved, header))
        assert received(wire) == expected(message, header)
        fd = saved.as_stdin(header)
        with os.fdopen(fd, "rb") as stdin_of_program:
            line = header + (b"\r\n" if saved.crlf else b"\n") if header else b""
            first = mbox_line(message) if header else b""
            assert stdin_of_program.read() == first + line + message[len(first) :]


def received_in(directory: Directory, stdin: int) -> spool.Message:
    message = spool.Message(directory, b"anna@example.com", named=False)
    message.fill(Incoming(stdin))
    return message


@given(pieces.map(b"".join).filter(len), st.integers(-3, 3), st.integers(0, 200_000))
@example(b"\n.", 0, 32_768)
@example(b".\r\n", 1, 65_536)
def test_messages_larger_than_what_is_sent_at_once(part: bytes, more: int, cut: int) -> None:
    message = part * (2 * smtp_words.WIRE_MAX // len(part) + more)
    wire = b"".join(smtp_words.stuffed(Known([message[:cut], message[cut:]]), b""))  # type: ignore[arg-type]
    assert received(wire) == expected(message)


# The whole way, through the installed command.

LETTERS = {
    "LF": b"Subject: x\n\nOne.\n.\n..\n...three\n\n",
    "CRLF": b"Subject: x\r\n\r\nOne.\r\n.\r\n..\r\n...three\r\n\r\n",
    "LF, then CRLF": b"Subject: x\n\nOne.\r\nTwo.\r\n",
    "CRLF, then LF": b"Subject: x\r\n\r\nOne.\nTwo.\n",
    "bare CR": b"Subject: x\n\nOne\rTwo\r\r\n\rThree\n\r",
    "NUL and eight bits": b"Subject: \0\xff\n\n\0\n" + bytes(range(256)) * 1000,
    "no last line end": b"Subject: x\n\n.",
    "a last CR": b"Subject: x\r\n\r\n.\r",
    "From lines": b"From me\n>From you\n\nFrom us\n",
    "nothing": b"",
    "dots around every boundary": b"\n." * 200_000,
    "lines around every boundary": b"\r\n" * 200_000,
    "random": random.Random(1).randbytes(1_000_000),
}


def deliver(site: Site, message: bytes, size: int, *options: str) -> Ended:
    """Have it read the message in pieces of that size."""
    with Packets([message[at : at + size] for at in range(0, len(message), size)]) as stdin:
        return site.start(site.words(*options), stdin=stdin).end()


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
@pytest.mark.parametrize("message", LETTERS.values(), ids=LETTERS)
def test_a_mail_server_gets_what_was_sent(site: Site, message: bytes, client: list[str]) -> None:
    with Sink() as sink:
        site.hop = ("-S", sink.address)
        assert site.deliver(*client, message=message).status == 0
        (kept,) = sink.take()
        assert kept.data == expected(message)
        short = message[:200]
        for size in (1, 2, 7, 12):
            assert deliver(site, short, size, *client).status == 0
            (kept,) = sink.take()
            assert kept.data == expected(short)


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
@pytest.mark.parametrize("message", LETTERS.values(), ids=LETTERS)
def test_a_sendmail_program_gets_what_was_sent(
    site: Site, message: bytes, client: list[str]
) -> None:
    sendmail = site.sendmail()
    assert site.deliver(*client, message=message).status == 0
    assert sendmail.stdin == message


@pytest.mark.parametrize("message", LETTERS.values(), ids=LETTERS)
def test_the_handler_gets_what_was_sent(site: Site, message: bytes) -> None:
    site.clamd(says=b"Eicar-Test-Signature FOUND")
    handler = site.handler()
    assert site.deliver("-h", "here", message=message).status == 0
    assert handler.note("message") == message


@pytest.mark.parametrize("way", ["descriptor", "stream", "path"])
@pytest.mark.parametrize("message", LETTERS.values(), ids=LETTERS)
def test_the_scanner_gets_what_was_sent(site: Site, message: bytes, way: str) -> None:
    assert (
        site.deliver("-n", message=message, scanners=[f"clamd+{way}:{site.scanner.where}"]).status
        == 0
    )
    assert [with_mark(each.content) for each in site.scanner.questions] == seen_by_scanners(message)


def test_a_file_is_as_good_as_a_pipe(site: Site, tmp_path: Path) -> None:
    message = random.Random(1).randbytes(300_000)
    (tmp_path / "message").write_bytes(b"skipped" + message)
    with open(tmp_path / "message", "rb") as file:
        os.lseek(file.fileno(), 7, os.SEEK_SET)
        assert site.start(site.words(), stdin=file.fileno()).end().status == 0
        os.lseek(file.fileno(), 7, os.SEEK_SET)
        sendmail = site.sendmail()
        assert site.start(site.words("-c"), stdin=file.fileno()).end().status == 0
    assert site.delivered == [expected(message)]
    assert sendmail.stdin == message
