"""What is found is found, also in an answer that is cut, odd, or late; clean never is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import ask, scanners
from avcheck.exits import Defer
from avcheck.scanners.rows import PATH, SCANNERS, STREAM
from avcheck.settings import Target
from avcheck.spool import Message
from avcheck.verdict import (
    ALERTS,
    CLEAN,
    FAILED,
    INFECTED,
    SUSPICIOUS,
    Finding,
    Verdict,
)
from tests.support.wire import Wire, settings, spooled
from tests.unit.scanners.test_transcripts import DIALOGUES, Dialogue, asked, said_by_server

PAGE = b"ICAP/1.0 200 OK\r\n%bEncapsulated: res-hdr=0, res-body=50\r\n\r\n%b"
OPTIONS = b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\n\r\n"
FOUND = b"X-Infection-Found: Type=0; Resolution=2; Threat=A;\r\n"
AVAST = b"220 DAEMON\r\n210 SCAN DATA\r\n"
FSAV = b"OK\tServer configured.\n" * 4
SSSP = b"OK SSSP/1.0\r\nACC 1/1\r\nACC 1/2\r\n"

# Type, way, what the daemon says in all before it hangs up, and what that means.
ODD: list[tuple[str, str, bytes, Verdict, tuple[str, ...]]] = [
    ("clamd", STREAM, b"stream: A FOUND\n", INFECTED, ("A",)),
    ("clamd", STREAM, b"stream: A FOUND \r\n", INFECTED, ("A",)),
    ("clamd", STREAM, b"stream: A FOUND", INFECTED, ("A",)),
    ("clamd", STREAM, b"stream: OK\0stream: A FOUND\0", INFECTED, ("A",)),
    ("clamd", STREAM, b"stream: OK\n", FAILED, ()),
    ("clamd", PATH, b"{path}: A FOUND\n", INFECTED, ("A",)),
    ("clamd", PATH, b"{path}: OK\n", FAILED, ()),
    ("sophie", PATH, b"1:A", INFECTED, ("A",)),
    ("sophie", PATH, b"0\n1:A", INFECTED, ("A",)),
    ("sophie", PATH, b"0", FAILED, ()),
    ("mksd", PATH, b"VIR A /x", INFECTED, ("A",)),
    ("mksd", PATH, b"OK", FAILED, ()),
    ("fsecure", PATH, FSAV + b"xxxINFECTED\tblah\tA\tblah\nOK\tScan ok.\n", INFECTED, ("A",)),
    ("fsecure", PATH, FSAV + b"ARCH_INFECTED\t{path}\tA\tX\nOK\tScan ok.\n", INFECTED, ("A",)),
    ("fsecure", PATH, FSAV + b"SUSPICION\t{path}\tA\tX\nOK\tScan ok.\n", SUSPICIOUS, ("A",)),
    ("fsecure", PATH, FSAV + b"INFECTED\t{path}\tA", INFECTED, ("A",)),
    ("fsecure", PATH, FSAV + b"CLEAN\t{path}", FAILED, ()),
    ("avast", PATH, AVAST + b"SCAN {path}\t[L]0.0\t0 A", INFECTED, ("A",)),
    ("avast", PATH, AVAST + b"{path}\t[+]2.0\t0 A\r\n200 SCAN OK\r\n", INFECTED, ("A",)),
    ("avast", PATH, AVAST + b"{path}\t[+]2.0 0 A\r\n200 SCAN OK\r\n", INFECTED, ("A",)),
    ("avast", PATH, AVAST + b"{path}\t[+]2.0 x\r\n200 SCAN OK\r\n", FAILED, ()),
    ("avast", PATH, AVAST + b"{path}\t[+]2.0\tx\r\n200 SCAN OK\r\n", FAILED, ()),
    ("savapi", PATH, b"100 SAVAPI:4\n" + b"100 X\n" * 3 + b"310 x <<< A ; virus", INFECTED, ("A",)),
    ("aveserver", PATH, b"201 x\r\n322-A {path}", INFECTED, ("A",)),
    ("aveserver", PATH, b"201 x\r\n220 clean", FAILED, ()),
    ("avp", PATH, b"\x34\x01\xff\0\0\0{path} infected: A", INFECTED, ("A",)),
    ("fpscand", PATH, b"1 <infected: A> {path}", INFECTED, ("A",)),
    ("fpscand", PATH, b"0 <clean> {path}\n1 <infected: A> x", INFECTED, ("A",)),
    ("fpscand", PATH, b"what\n1 <infected: A> {path}\n", INFECTED, ("A",)),
    ("fpscand", PATH, b"64 <encrypted> {path}->infected: A", FAILED, ()),
    ("fpscand", PATH, b"0 <clean> {path}", FAILED, ()),
    ("f-protd", PATH, b'HTTP/1.0 200 OK\r\n\r\n<summary code="11">inf', INFECTED, ()),
    (
        "f-protd",
        PATH,
        b'HTTP/1.0 200 OK\r\n\r\n<summary code="9">Clean</summary></fprot-results>',
        CLEAN,
        (),
    ),
    ("kse", STREAM, b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nDETECT A", INFECTED, ("A",)),
    ("kse", STREAM, b"HTTP/1.0 200 OK\r\n\r\nDETECT A", INFECTED, ("A",)),
    ("kse", STREAM, b"HTTP/1.0 200 OK\r\n\r\nCLEAN", FAILED, ()),
    ("drweb", STREAM, b"\0\0\0\x20", INFECTED, ()),
    ("drweb", STREAM, b"\0\0\0\x20\0\0\0\x01\0\0\0\x09A", INFECTED, ("A",)),
    ("drweb", STREAM, b"\0\x10\0\0", FAILED, ()),
    ("sssp", STREAM, SSSP + b"VIRUS A /x", INFECTED, ("A",)),
    ("sssp", STREAM, SSSP + b"DONE OK 0000 x\r\n", FAILED, ()),
    ("icap", STREAM, OPTIONS + PAGE % (FOUND, b"HTTP/1.1 403"), INFECTED, ("A",)),
    ("icap", STREAM, OPTIONS + b"ICAP/1.0 200 OK\r\n" + FOUND, INFECTED, ("A",)),
    ("icap", STREAM, OPTIONS + b"ICAP/1.0 200 OK\r\nodd\r\n" + FOUND + b"\r\n", INFECTED, ("A",)),
    ("icap", STREAM, OPTIONS + PAGE % (b"", b"HTTP/1.1 200 OK\r\n" + FOUND), INFECTED, ("A",)),
    ("icap", STREAM, OPTIONS + PAGE % (b"", b"HTTP/1.1 200 OK\r\n\r\n" + FOUND), FAILED, ()),
    ("icap", STREAM, b"ICAP/1.0 403 Forbidden\r\n\r\n", FAILED, ()),
]


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    with spooled(tmp_path, named=True) as letter:
        yield letter


def verdict(type_: str, way: str, reply: bytes, message: Message) -> Finding:
    where = b"/run/x?product=1" if type_ == "savapi" else b"/run/x"
    scanner = f"{type_}+{way}:".encode() + where
    target = settings(b"--backup", scanner).backups[-1].targets[0]
    with Wire(reply, steps=[len(reply)]) as wire:
        try:
            module = scanners.load(SCANNERS[type_])
            return ask.dialogue(module, wire.conn, message, target)
        except Defer as why:
            return Finding(FAILED, (), why.text, why.code)


@pytest.mark.parametrize(("type_", "way", "reply", "expected", "names"), ODD)
def test_odd_answers(
    type_: str,
    way: str,
    reply: bytes,
    expected: Verdict,
    names: tuple[str, ...],
    message: Message,
) -> None:
    finding = verdict(type_, way, reply.replace(b"{path}", message.path), message)
    assert (finding.verdict, finding.names) == (expected, names), finding.text


INFECTIONS = [each for each in DIALOGUES if each.verdict in ALERTS]


@pytest.fixture(params=INFECTIONS, ids=str)
def infection(request: pytest.FixtureRequest) -> Dialogue:
    played: Dialogue = request.param
    return played


class NoMore(socket.socket):
    """A socket whose peer says no more than so many bytes, and whose time is up then."""

    left: int

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if not self.left:
            raise TimeoutError
        data = super().recv(min(size, self.left), flags)
        self.left -= len(data)
        return data


# Where it is: a part of the word or of the status itself.
NEEDED = ("avp/", "icap/blocked", "icap/changed", "kse/disinfected", "kse/policy")


def test_the_last_byte_is_not_needed_to_find(infection: Dialogue, tmp_path: Path) -> None:
    with spooled(tmp_path, named=infection.way == PATH) as message:
        reply = said_by_server(infection, message)
        finding, _, _ = asked(infection, message, reply[:-1])
        assert finding.verdict in ALERTS or infection.id.startswith(NEEDED), finding.text


def test_what_was_found_when_time_is_up_is_found(message: Message) -> None:
    reply = b"fd[1]: A FOUND\0"
    with Wire(reply, stays=True) as wire:
        sock = NoMore(fileno=wire.conn.sock.detach())
        sock.left = len(reply)
        wire.conn.sock = sock
        module = scanners.load(SCANNERS["clamd"])
        finding = ask.dialogue(module, wire.conn, message, Target(None, PATH))
    assert (finding.verdict, finding.names) == (INFECTED, ("A",))


@pytest.mark.parametrize("type_", [type_ for type_, row in SCANNERS.items() if not row.program])
@given(
    reply=st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            (
                *(b"OK", b"0", b"1", b":", b" ", b"\t", b"FOUND", b"INFECTED", b"VIR", b"<", b"> "),
                *(b"clean", b"infected: ", b"\r\n", b"\n", b"\0", b"[+]", b"[L]", b"220 ", b"310 "),
                *(b"DONE OK 0000", b"VIRUS ", b"X-Virus-ID: ", b"DETECT ", b"ICAP/1.0 204 No\r\n"),
            )
        ),
        max_size=12,
    ).map(b"".join)
)
def test_the_second_reading_never_says_clean_and_never_breaks(type_: str, reply: bytes) -> None:
    module = scanners.load(SCANNERS[type_])
    target = Target(None, PATH, False, b"", {"clean": b"OK", "infected": b"VIR.*"})

    class Letter:
        path = b"/spool/avcheck.x"

    finding = ask._found(module, reply, Letter, target)  # type: ignore[arg-type]
    assert finding is None or finding.verdict in ALERTS
    assert hasattr(module, "found")
