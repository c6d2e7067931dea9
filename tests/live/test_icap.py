"""The installed avcheck and a real c-icap, whose antivirus service asks a real clamd."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask
from avcheck.scanners import icap as icap_module
from avcheck.verdict import UNSCANNABLE
from tests.live.relay import PIECE, Relay
from tests.live.test_clamd import TEMPFAIL, Desk, wait_until_asked
from tests.support import wire
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers import packages
from tests.support.servers.cicap import CIcap
from tests.support.servers.clamd import Clamd
from tests.support.servers.daemon import suspend
from tests.support.servers.tls import Authority, TlsProxy

# With everything turned off that lets a file pass unseen.
FORCED = "/virus_scan?allow204=on&force=on&sizelimit=off&mode=simple"

# The services of Debian's configuration: the name, an old one, and one with arguments.
SERVICES = ("", "/avscan", "/srv_clamav", "/virus_scan", FORCED, "/virus_scan?allow204=off")

# Debian's limits: over 2M a file begins to come back before it is scanned, over 5M it passes.
TRICKLED = 3_000_000
OVERSIZE = 6_000_000

PDF = b"%PDF-1.4\n"


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


@pytest.fixture(scope="module")
def engine(open_directory: Path) -> Iterator[Clamd]:
    with Clamd(open_directory / "engine") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def cicap(open_directory: Path, engine: Clamd) -> Iterator[CIcap]:
    """As Debian configures it, with the clamd engine."""
    with CIcap(open_directory / "cicap", clamd=engine) as daemon:
        yield daemon


def icap(place: CIcap, service: str = "") -> str:
    return f"icap:{place.address}{service}"


def large(size: int, end: bytes = b"") -> bytes:
    """A letter of about this size, with something at its end."""
    return letter(b"0123456789abcde\n" * (size // 17) + end)


@pytest.mark.parametrize("service", SERVICES)
def test_a_clean_message_is_clean(desk: Desk, cicap: CIcap, service: str) -> None:
    ended = desk.check(letter(), desk.words(icap(cicap, service)))
    assert (ended.status, ended.verdict) == (0, ""), ended
    assert ended.said.startswith("clean: icap")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("way", ["plain", "base64"])
def test_the_test_virus_is_found(desk: Desk, cicap: CIcap, service: str, way: str) -> None:
    message = letter(EICAR) if way == "plain" else with_attachment(EICAR, "eicar.com")
    ended = desk.check(message, desk.words(icap(cicap, service)))
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", server.EICAR), ended


def test_an_empty_message_is_clean(desk: Desk, cicap: CIcap) -> None:
    assert desk.check(b"", desk.words(icap(cicap))).status == 0


def test_an_unknown_service_is_named(desk: Desk, cicap: CIcap) -> None:
    ended = desk.check(letter(), desk.words(icap(cicap, "/nosuch")))
    assert ended.status == TEMPFAIL
    assert ended.said.startswith("4.3.5 ")
    assert "404 Service not found" in ended.said


def test_a_service_that_does_not_scan_is_no_scanner(desk: Desk, cicap: CIcap) -> None:
    ended = desk.check(letter(), desk.words(icap(cicap, "/echo")))
    assert ended.status == TEMPFAIL
    assert "scans nothing" in ended.said


# The traps.


@pytest.mark.parametrize("end", [b"", EICAR], ids=["clean", "infected"])
def test_what_is_over_the_limit_was_not_scanned(desk: Desk, cicap: CIcap, end: bytes) -> None:
    ended = desk.check(large(OVERSIZE, end), desk.words(icap(cicap, "/virus_scan")))
    assert (ended.status, ended.verdict) == (0, "unscannable"), ended


@pytest.mark.parametrize("service", ["/avscan", FORCED, "/virus_scan?sizelimit=off"])
def test_without_the_limit_it_is_scanned(desk: Desk, cicap: CIcap, service: str) -> None:
    clean = desk.check(large(OVERSIZE), desk.words(icap(cicap, service)))
    assert (clean.status, clean.verdict) == (0, "")
    infected = desk.check(large(OVERSIZE, EICAR), desk.words(icap(cicap, service)))
    assert (infected.status, infected.verdict) == (0, "infected")
    # In a mode other than "simple" c-icap has returned the beginning by then.
    assert infected.names == (server.EICAR if "simple" in service + cicap_alias(service) else "")


def cicap_alias(service: str) -> str:
    """The arguments of the alias in Debian's configuration."""
    return "mode=simple" if service == "/avscan" else ""


def test_a_virus_that_is_found_too_late_for_a_header_is_seen(desk: Desk, cicap: CIcap) -> None:
    ended = desk.check(large(TRICKLED, EICAR), desk.words(icap(cicap, "/virus_scan")))
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", "")
    assert "cut short" in ended.said
    ended = desk.check(large(TRICKLED), desk.words(icap(cicap, "/virus_scan")))
    assert (ended.status, ended.verdict) == (0, "")


def test_the_filter_lets_a_pdf_pass_unseen_but_not_in_a_mail(desk: Desk, cicap: CIcap) -> None:
    # What somebody else's client hears of it: c-icap's own.
    assert client(cicap, "virus_scan", PDF + EICAR, desk) == "204"
    assert client(cicap, "virus_scan?force=on", PDF + EICAR, desk) == "403"
    # Our first line makes any file a text, which is on Debian's list.
    ended = desk.check(PDF + EICAR, desk.words(icap(cicap, "/virus_scan")))
    assert (ended.verdict, ended.names) == ("infected", server.EICAR)


def client(place: CIcap, service: str, content: bytes, desk: Desk) -> str:
    """What c-icap-client hears: 204, or the status of the page that comes back."""
    file = desk.spool.parent / "file"
    file.write_bytes(content)
    done = subprocess.run(
        [packages.find("c-icap-client"), "-i", "127.0.0.1", "-p", str(place.port), "-s", service,
         "-f", str(file), "-o", str(file) + ".out", "-resp", "http://mail.invalid/a.pdf", "-v"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"^\s*ICAP/1.0 (204)|^\s*HTTP/1.. (\d+) [FO]", done.stdout, re.MULTILINE)
    if found is None:
        raise AssertionError(done.stdout)
    return found[1] or found[2]


@pytest.fixture
def no_text(tmp_path: Path, open_directory: Path, engine: Clamd) -> Iterator[CIcap]:
    """One whose list has programs and archives only, as for a proxy."""
    settings = {"ScanFileTypes": "EXECUTABLE ARCHIVE"}
    directory = open_directory / f"filter-{tmp_path.name}"
    with CIcap(directory, clamd=engine, settings=settings) as daemon:
        yield daemon


@pytest.mark.parametrize("end", [b"", EICAR], ids=["clean", "infected"])
def test_a_filter_that_mail_does_not_pass_is_seen(desk: Desk, no_text: CIcap, end: bytes) -> None:
    for service in ("/virus_scan", "/avscan", "/avscan?force=on"):  # an alias ignores arguments
        ended = desk.check(letter(b"x\n" + end), desk.words(icap(no_text, service)))
        assert (ended.status, ended.verdict) == (0, "unscannable"), (service, ended)
    ended = desk.check(letter(b"x\n" + end), desk.words(icap(no_text, FORCED)))
    assert (ended.status, ended.verdict) == (0, "infected" if end else "")


def test_a_server_without_an_engine_is_seen(desk: Desk, open_directory: Path) -> None:
    with CIcap(open_directory / "no-engine") as place:
        ended = desk.check(letter(EICAR), desk.words(icap(place)))
        assert (ended.status, ended.verdict) == (0, "unscannable")
        ended = desk.check(letter(EICAR), desk.words(icap(place, FORCED)))
    assert ended.status == TEMPFAIL
    assert "has the server an engine" in ended.said


def test_the_servers_trouble_is_no_verdict(
    desk: Desk, tmp_path: Path, open_directory: Path
) -> None:
    with Clamd(tmp_path / "d") as engine:
        directory = open_directory / "stopped"
        with CIcap(directory, clamd=engine) as place:
            assert desk.check(letter(), desk.words(icap(place))).status == 0
            engine.stop()
            for service in SERVICES:
                ended = desk.check(letter(), desk.words(icap(place, service)))
                assert ended.status == TEMPFAIL
                assert "500 Server error" in ended.said
            engine.start()
            ended = desk.check(letter(EICAR), desk.words(icap(place)))
            assert ended.verdict == "infected"


def test_pass_on_error_cannot_be_seen(desk: Desk, tmp_path: Path, open_directory: Path) -> None:
    # docs/scanners.md says so.  When this fails, the page is to be corrected.
    with Clamd(tmp_path / "d") as engine:
        settings = {"PassOnError": "on"}
        with CIcap(open_directory / "pass", clamd=engine, settings=settings) as place:
            engine.stop()
            ended = desk.check(letter(EICAR), desk.words(icap(place, FORCED)))
    assert (ended.status, ended.verdict) == (0, "")


# Connections that end.


@pytest.mark.parametrize("stage", ["clamd asked", "nobody there"])
def test_a_server_that_dies_has_not_said_clean(
    desk: Desk, tmp_path: Path, open_directory: Path, stage: str
) -> None:
    with Clamd(tmp_path / "d") as engine, CIcap(open_directory / f"dies-{stage[:5]}") as place:
        place.stop()
        place.clamd = engine
        place.start()
        if stage == "nobody there":
            place.kill()
            ended = desk.check(letter(), desk.words(icap(place)))
            assert ended.status == TEMPFAIL
            return
        suspend(engine.pid)
        with subprocess.Popen(
            desk.words(icap(place)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as run:
            assert run.stdin and run.stdout
            run.stdin.write(letter())
            run.stdin.close()
            wait_until_asked(engine)
            place.kill()
            said = run.stdout.read()
    assert run.returncode == TEMPFAIL
    assert said.startswith(b"4.")
    assert os.listdir(desk.spool) == []


@pytest.mark.parametrize("service", ["/avscan", "/virus_scan?allow204=off"])
def test_answers_that_are_cut_off_are_never_clean(desk: Desk, cicap: CIcap, service: str) -> None:
    message = letter()
    daemon = ("127.0.0.1", cicap.port)
    with Relay(daemon) as relay:
        assert desk.check(message, desk.words(f"icap:{relay.address}{service}")).status == 0
        whole = relay.said
    assert whole > 300
    for size in [1, 10, 100, 250, *range(whole - 40, whole)]:
        with Relay(daemon, back=size) as relay:
            ended = desk.check(message, desk.words(f"icap:{relay.address}{service}"))
        assert ended.status == TEMPFAIL, (size, whole, ended)


# What the protocol leaves to a server, and this one has in another way.  Only its answer to
# OPTIONS is changed on the way; the rest is its own.


class Altering(Relay):
    """A relay that changes words in what the daemon says."""

    def __init__(self, daemon: tuple[str, int], words: dict[bytes, bytes]) -> None:
        self._words = words
        self.heard = b""
        super().__init__(daemon)

    def _answer(self, daemon: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := daemon.recv(PIECE):
                for theirs, ours in self._words.items():
                    piece = piece.replace(theirs, ours)
                client.sendall(piece)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _ask(self, client: socket.socket, daemon: socket.socket) -> None:
        while piece := client.recv(PIECE):
            self.heard += piece
            daemon.sendall(piece)


METHODS = (b"Methods: RESPMOD, REQMOD", b"Methods: REQMOD")
NO_PREVIEW = (b"Preview: 1024\r\n", b"")
CHOICES = {
    "as it is": ({}, b"RESPMOD ", b"Preview: "),
    "uploads only": (dict([METHODS]), b"REQMOD ", b"Preview: "),
    "preview 0": ({b"Preview: 1024": b"Preview: 0"}, b"RESPMOD ", b"Preview: 0\r\n"),
    "no preview": (dict([NO_PREVIEW]), b"RESPMOD ", b"\r\nAllow: 204\r\nEncapsulated"),
    "no 204": ({b"Allow: 204\r\n": b""}, b"RESPMOD ", b"127.0.0.1\r\nPreview: "),
    "none of it": (
        {b"Allow: 204\r\n": b"", **dict([METHODS, NO_PREVIEW])},
        b"REQMOD ",
        b"127.0.0.1\r\nEncapsulated",
    ),
}


@pytest.mark.parametrize(
    ("choice", "service"), [*((choice, FORCED) for choice in CHOICES), ("none of it", "/avscan")]
)
def test_every_way_of_asking(desk: Desk, cicap: CIcap, choice: str, service: str) -> None:
    words, method, header = CHOICES[choice]
    for message, expected in (
        (letter(), ""),
        (with_attachment(EICAR, "eicar.com"), "infected"),
        (large(TRICKLED), ""),
        (large(TRICKLED, EICAR), "infected"),
    ):
        with Altering(("127.0.0.1", cicap.port), words) as relay:
            assert isinstance(relay, Altering)
            ended = desk.check(message, desk.words(f"icap:{relay.address}{service}"))
        assert (ended.status, ended.verdict) == (0, expected), (choice, ended)
        asked = relay.heard.partition(b"null-body=0\r\n\r\n")[2]
        assert asked.startswith(method)
        assert header in asked.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_without_a_preview_a_server_that_has_not_looked_is_seen_by_its_haste(
    tmp_path: Path, open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icap_module, "GRACE", wire.PATIENCE)  # however busy the machine is
    with (
        CIcap(open_directory / "no-preview") as place,
        Altering(("127.0.0.1", place.port), dict([NO_PREVIEW])) as relay,
        wire.spooled(tmp_path, letter(EICAR)) as message,
    ):
        how = wire.settings(b"-s", f"icap:{relay.address}/avscan".encode())
        answer = ask.ask_scanner(how.scanners[-1], message, how, monotonic() + wire.PATIENCE)
    assert answer.finding.verdict is UNSCANNABLE, answer.finding.text


@pytest.mark.parametrize(
    ("name", "expired", "known", "why"),
    [
        ("other.example", False, True, "Hostname mismatch"),
        ("localhost", True, True, "certificate has expired"),
        ("localhost", False, False, "unable to get local issuer certificate"),
    ],
)
def test_icaps_from_somebody_else_is_refused(
    desk: Desk, cicap: CIcap, tmp_path: Path, name: str, expired: bool, known: bool, why: str
) -> None:
    authority = Authority(tmp_path / "authority")
    issuer = authority if known else Authority(tmp_path / "stranger")
    with TlsProxy(("127.0.0.1", cicap.port), issuer.issue(name, expired=expired)) as place:
        words = desk.words(
            f"icaps:localhost:{place.port}{FORCED}", "--scanner-ca", str(authority.file)
        )
        ended = desk.check(letter(), words)
    assert ended.status == TEMPFAIL
    assert why in ended.said


@pytest.mark.parametrize("type_", ["icaps", "icap+tls"])
def test_icap_through_tls(desk: Desk, cicap: CIcap, tmp_path: Path, type_: str) -> None:
    authority = Authority(tmp_path / "authority")
    daemon = ("127.0.0.1", cicap.port)
    with TlsProxy(daemon, authority.issue("localhost")) as place:
        words = desk.words(
            f"{type_}:localhost:{place.port}{FORCED}", "--scanner-ca", str(authority.file)
        )
        assert desk.check(letter(), words).said.startswith("clean: icap")
        assert desk.check(with_attachment(EICAR), words).names == server.EICAR
        assert desk.check(large(OVERSIZE), words).said.startswith("clean: icap")
        assert desk.check(large(OVERSIZE, EICAR), words).names == server.EICAR
