"""ICAP with a server that does as it is told, for what a transcript cannot show."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask, conn, scanners
from avcheck.address import Address
from avcheck.exits import Defer, Usage
from avcheck.scanners import icap, rows
from avcheck.settings import Target
from avcheck.verdict import (
    CLEAN,
    INFECTED,
    UNSCANNABLE,
    Finding,
)
from tests.support.fakes import Server
from tests.support.wire import MESSAGE, PATIENCE, settings, spooled

ROW = rows.SCANNERS["icap"]


class Played(Server):
    """Each connection gets the next script: bytes to wait for, and then what to say."""

    def __init__(self, *scripts: Sequence[tuple[bytes, bytes]]) -> None:
        self.heard: list[bytes] = []
        self._scripts = iter(scripts)
        super().__init__()

    def play(self, client: socket.socket) -> None:
        heard = b""
        for awaited, said in next(self._scripts):
            while awaited not in heard:
                piece = client.recv(1 << 16)
                if not piece:
                    break
                # Only what awaited could begin with: the whole may be large.
                heard = heard[-len(awaited) :] + piece
            heard = heard.partition(awaited)[2]
            self.heard.append(awaited)
            client.sendall(said)


OPTIONS = (
    b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nAllow: 204\r\n%bEncapsulated: null-body=0\r\n\r\n"
)
ASKED = b"null-body=0\r\n\r\n"
END = b"\r\n0\r\n\r\n"
PASSED = b"ICAP/1.0 204 Unmodified\r\n\r\n"


# More than sockets hold.
LARGE = b"x" * 12_000_000


def verdict(tmp_path: Path, server: Server, content: bytes = MESSAGE) -> Finding:
    """What the module makes of a real conversation."""
    host, _, port = server.where.partition(":")
    address = Address(host=host.encode(), port=port.encode())
    with (
        spooled(tmp_path, content) as message,
        conn.connect([address], monotonic() + PATIENCE) as link,
    ):
        link.watch(message.seen)
        target = Target(address, rows.STREAM, False, b"/avscan")
        return ask.dialogue(icap, link, message, target)


def test_a_second_connection_is_made_when_the_first_is_closed(tmp_path: Path) -> None:
    with Played([(ASKED, OPTIONS % b"Connection: close\r\n")], [(END, PASSED)]) as server:
        assert verdict(tmp_path, server).verdict is CLEAN


def test_an_answer_before_the_end_is_none_to_the_message(tmp_path: Path) -> None:
    # The server looks at nothing but the heads.  More than a socket holds is still to
    # come then, so that it has surely answered before all of it is sent.
    script = [(ASKED, OPTIONS % b""), (b"res-body=", PASSED), (END, b"")]
    with Played(script) as server:
        finding = verdict(tmp_path, server, b"Subject: x\n\n" + LARGE)
    assert finding.verdict is UNSCANNABLE


@pytest.mark.parametrize("headers", [b"", b"Preview: 20\r\n"])
def test_an_answer_without_the_last_byte_is_none_to_a_small_message_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: bytes
) -> None:
    monkeypatch.setattr(icap, "GRACE", PATIENCE)
    rest = [(b"Subject: a let", PASSED), (END, b"")]
    if headers:
        rest = [(END, b"ICAP/1.0 100 Continue\r\n\r\n" + PASSED), (END, b"")]
    with Played([(ASKED, OPTIONS % headers), *rest]) as server:
        assert verdict(tmp_path, server).verdict is UNSCANNABLE


def test_who_has_the_last_byte_has_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who counts, and does not wait for the end of the chunks."""
    monkeypatch.setattr(icap, "GRACE", 0.5)
    assert MESSAGE.endswith(b"Bye.\n")
    with Played([(ASKED, OPTIONS % b""), (b"Bye.\n", PASSED), (END, b"")]) as server:
        assert verdict(tmp_path, server).verdict is CLEAN


def test_what_is_found_before_the_end_is_found(tmp_path: Path) -> None:
    words = b"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Threat=A;\r\n\r\n"
    # It hangs up at once, and does not care for the rest.
    with Played([(ASKED, OPTIONS % b""), (b"res-body=", words)]) as server:
        finding = verdict(tmp_path, server, b"Subject: x\n\n" + LARGE)
    assert (finding.verdict, finding.names) == (INFECTED, ("A",))


def test_who_hangs_up_early_has_not_said_that_it_may_pass(tmp_path: Path) -> None:
    with Played([(ASKED, OPTIONS % b""), (b"res-body=", PASSED)]) as server:
        try:
            finding = verdict(tmp_path, server, b"Subject: x\n\n" + LARGE)
        except Defer:  # his words were lost with the connection
            return
    assert finding.verdict is UNSCANNABLE


@pytest.mark.parametrize(
    ("where", "address", "path", "tls"),
    [
        (b"icap", b"127.0.0.1:1344", b"/avscan", False),
        (b"icap:av.example", b"av.example:1344", b"/avscan", False),
        (b"icap:av.example/", b"av.example:1344", b"/", False),
        (b"icap:av.example:99/a/b?c=d:/e", b"av.example:99", b"/a/b?c=d:/e", False),
        (b"icap:/run/i.sock", b"unix:/run/i.sock", b"/avscan", False),
        (b"icap:unix:/run/i.sock", b"unix:/run/i.sock", b"/avscan", False),
        (b"icap:/run/i.sock:/a?b=c", b"unix:/run/i.sock", b"/a?b=c", False),
        (b"icap:unix:/run/i.sock:/a", b"unix:/run/i.sock", b"/a", False),
        (b"icap:/run/i.sock:/", b"unix:/run/i.sock", b"/", False),
        (b"icap+tls:av.example/x", b"av.example:1344", b"/x", True),
        (b"icaps:av.example/x", b"av.example:11344", b"/x", True),
        (b"icaps+tls:av.example:99", b"av.example:99", b"/avscan", True),
    ],
)
def test_where(where: bytes, address: bytes, path: bytes, tls: bool) -> None:
    (target,) = settings(b"-s", where).scanners[-1].targets
    assert target.address
    assert (target.address.spelled(), target.path, target.tls) == (address, path, tls)


@pytest.mark.parametrize("where", [b"icaps", b"icaps:/run/i.sock", b"icap+tls:/run/i.sock:/a"])
def test_no_place_for_tls(where: bytes) -> None:
    with pytest.raises(Usage):
        settings(b"-s", where)


def test_the_row() -> None:
    assert scanners.load(ROW) is icap
    assert ROW.ways == (rows.STREAM,)
