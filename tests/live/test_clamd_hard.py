"""A real clamd at its limits, in trouble, and against an oracle, in every way to hand it a message.

tests/live/test_clamd.py has the ordinary cases.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import os
import quopri
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import clamd as oracle
import pytest

from avcheck import ask, spool
from avcheck.seen import FRONT
from avcheck.verdict import Finding
from tests.live.relay import Relay
from tests.live.test_clamd import TEMPFAIL, Desk
from tests.support import wire
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers import packages
from tests.support.servers.clamd import TESTFILES, Clamd

WAYS = ("descriptor", "stream", "TCP", "path")

# How much of the spool file is ours.
OURS = len(FRONT)


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


def where(clamd: Clamd, way: str) -> str:
    """The -s for a way."""
    if way == "TCP":
        return f"clamd:127.0.0.1:{clamd.port}"
    return f"clamd+{way}:{clamd.socket}"


def encrypted_zip(content: bytes) -> bytes:
    """An archive that says it is encrypted: bit 0 of the flags of a stored file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("secret.com", content)
    words = bytearray(packed.getvalue())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        words[words.index(mark) + flags] |= 1
    return bytes(words)


# What clamd says instead of OK, when told to.


@pytest.fixture(scope="module")
def strict(open_directory: Path) -> Iterator[Clamd]:
    """A clamd with small limits that tells when they are reached."""
    limits = {
        "AlertExceedsMax": "yes",
        "AlertEncrypted": "yes",
        "AlertOLE2Macros": "yes",
        "MaxFileSize": "1M",
        "MaxScanSize": "2M",
        "MaxFiles": "10",
        "StreamMaxLength": "3M",
    }
    with Clamd(open_directory / "strict", settings=limits, tcp=True) as daemon:
        yield daemon


@pytest.mark.parametrize("way", WAYS)
def test_what_is_encrypted_is_said_to_be(desk: Desk, strict: Clamd, way: str) -> None:
    message = with_attachment(encrypted_zip(b"x" * 100), "a.zip")
    ended = desk.check(message, desk.words(where(strict, way)))
    assert (ended.status, ended.verdict) == (0, "encrypted"), ended
    assert ended.names == "Heuristics.Encrypted.Zip"


def test_without_the_setting_it_is_clean_to_clamd(desk: Desk, clamd: Clamd) -> None:
    # Which is why avcheck(1) asks for the setting.
    message = with_attachment(encrypted_zip(b"x" * 100), "a.zip")
    assert desk.check(message, desk.words(where(clamd, "descriptor"))).said.startswith("clean:")


@pytest.mark.parametrize("way", WAYS)
def test_a_virus_beside_what_is_encrypted_is_a_virus(desk: Desk, strict: Clamd, way: str) -> None:
    message = with_attachment(EICAR + encrypted_zip(b"x"), "a.bin")
    ended = desk.check(message, desk.words(where(strict, way)))
    assert (ended.verdict, ended.names) == ("infected", server.EICAR)


def archive(count: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        for number in range(count):
            files.writestr(f"{number}.txt", f"file {number}\n" * 3)
    return packed.getvalue()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("content", "limit"),
    [
        pytest.param(lambda: os.urandom(1_500_000), "MaxFileSize", id="MaxFileSize"),
        pytest.param(lambda: archive(40), "MaxFiles", id="MaxFiles"),
    ],
)
def test_what_is_over_a_limit_is_unscannable(
    desk: Desk, strict: Clamd, way: str, content: Callable[[], bytes], limit: str
) -> None:
    message = with_attachment(content())
    ended = desk.check(message, desk.words(where(strict, way)))
    assert (ended.status, ended.verdict) == (0, "unscannable"), ended
    assert ended.names == f"Heuristics.Limits.Exceeded.{limit}"


@pytest.mark.parametrize("way", ["stream", "TCP"])
def test_the_limit_for_streams_is_exact(desk: Desk, tmp_path: Path, way: str) -> None:
    limit = 256 * 1024
    with Clamd(tmp_path / "d", settings={"StreamMaxLength": "256K"}, tcp=True) as clamd:
        head = b"Subject: x\n\n"
        fits = head + b"x" * (limit - OURS - len(head))
        assert desk.check(fits, desk.words(where(clamd, way))).status == 0
        ended = desk.check(fits + b"x", desk.words(where(clamd, way)))
    assert (ended.status, ended.verdict, ended.names) == (0, "unscannable", "")
    assert "INSTREAM size limit exceeded" in ended.said


# A clamd that loses its patience, or its life, in the middle.


@pytest.fixture(scope="module")
def hasty(open_directory: Path) -> Iterator[Clamd]:
    settings = {"CommandReadTimeout": "1", "ReadTimeout": "1"}
    with Clamd(open_directory / "hasty", settings=settings, tcp=True) as daemon:
        yield daemon


@pytest.mark.parametrize("there", [0, 5, 30], ids=["nothing", "command", "stream"])
@pytest.mark.parametrize("where", ["Unix", "TCP"])
def test_what_clamd_did_not_wait_for_is_kept(
    desk: Desk, hasty: Clamd, tmp_path: Path, where: str, there: int
) -> None:
    daemon = hasty.socket if where == "Unix" else ("127.0.0.1", hasty.port)
    at = tmp_path / "relay" if where == "Unix" else None
    with Relay(daemon, at=at, there=there) as relay:
        ended = desk.check(letter("x" * 70 + "\n"), desk.words(f"clamd+stream:{relay.address}"))
    assert ended.status == TEMPFAIL
    assert ended.said.startswith("4.")
    assert "COMMAND READ TIMED OUT" in ended.said or "closed the connection" in ended.said


@pytest.mark.parametrize("where", ["Unix", "TCP"])
def test_a_clamd_that_is_killed_in_the_middle_of_a_stream_has_not_said_clean(
    desk: Desk, tmp_path: Path, where: str
) -> None:
    with Clamd(tmp_path / "d", tcp=True) as clamd:
        daemon = clamd.socket if where == "Unix" else ("127.0.0.1", clamd.port)
        at = tmp_path / "relay" if where == "Unix" else None
        with Relay(daemon, at=at, there=500_000, reached=clamd.kill) as relay:
            message = letter("x" * 70 + "\n") + b"x" * 1_000_000
            ended = desk.check(message, desk.words(f"clamd+stream:{relay.address}"))
    assert ended.status == TEMPFAIL
    assert ended.said.startswith("4.")


@pytest.mark.parametrize("way", ["descriptor", "path", "stream"])
def test_answers_that_are_cut_off_are_never_clean(
    desk: Desk, clamd: Clamd, tmp_path: Path, way: str
) -> None:
    # A relay passes on no descriptor; it is for the streams, and clamd opens a path itself.
    if way == "descriptor":
        with Relay(clamd.socket, at=tmp_path / "relay") as relay:
            ended = desk.check(letter(), desk.words(f"clamd+descriptor:{relay.address}"))
        assert ended.status == TEMPFAIL
        assert "No file descriptor received" in ended.said
        return
    with Relay(clamd.socket, at=tmp_path / "whole") as relay:
        ended = desk.check(letter(), desk.words(f"clamd+{way}:{relay.address}"))
    assert ended.status == 0
    for size in range(1, relay.said):
        with Relay(clamd.socket, at=tmp_path / f"{size}", back=size) as relay:
            ended = desk.check(letter(), desk.words(f"clamd+{way}:{relay.address}"))
        assert ended.status == TEMPFAIL, (size, ended)


# A clamd that loads its signatures anew.


@pytest.mark.parametrize("concurrent", ["yes", "no"])
def test_during_a_reload_every_answer_is_right(desk: Desk, tmp_path: Path, concurrent: str) -> None:
    settings = {"ConcurrentDatabaseReload": concurrent, "SelfCheck": "0"}
    with Clamd(tmp_path / "d", settings=settings, tcp=True) as clamd:
        database = clamd.directory / "signatures"
        # Enough that loading them takes a second or so.
        hashes = random.Random(7)
        (database / "many.hdb").write_text(
            "".join(f"{hashes.getrandbits(128):032x}:{n}:Many-{n}\n" for n in range(1, 250_000))
        )
        (database / "new.ndb").write_text(f"New-Signature:0:*:{b'brand new words'.hex()}\n")
        daemon = oracle.ClamdUnixSocket(str(clamd.socket))
        assert daemon.reload() == "RELOADING"
        new: dict[str, list[bool]] = {way: [] for way in WAYS}

        def ask_on(way: str, desk: Desk) -> None:
            """Until the new signatures are there, both others are found, and what is clean is."""
            words = desk.words(where(clamd, way))
            while not (new[way] and new[way][-1]):
                assert desk.check(letter(EICAR), words).names == server.EICAR
                assert desk.check(letter(), words).said.startswith("clean:")
                ended = desk.check(letter("These are brand new words.\n"), words)
                assert ended.status == 0, ended
                assert ended.names in ("", "New-Signature.UNOFFICIAL")
                new[way].append(bool(ended.names))
                assert len(new[way]) < 2000, "the reload never ends"

        failed: list[BaseException] = []

        def guarded(way: str, desk: Desk) -> None:
            try:
                ask_on(way, desk)
            except BaseException as why:
                failed.append(why)
                new[way].append(True)

        threads = []
        for way in WAYS:
            (tmp_path / way).mkdir()
            own = Desk(desk.avcheck, tmp_path / way)
            threads.append(threading.Thread(target=guarded, args=(way, own)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failed
        assert all(answers[-1] for answers in new.values())


# The oracle: the package clamd, with the same bytes.


class Generator:
    """Messages as nobody writes them, some with something in them; the same ones every time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        packages.need("clamav-testfiles", files=[str(TESTFILES / "clam.zip")])
        self.program = zipfile.ZipFile(TESTFILES / "clam.zip").read("clam.exe")

    def message(self) -> bytes:
        text = self.part(self.random.randrange(1, 4))
        first = self.random.choice(
            [b"Received: from a by b\n", b"", b"X-UPPER: CASE\n", b"From a@b Mon Jan  1\n", b"\n"]
        )
        text = first + b"Subject: x\nMIME-Version: 1.0\n" + text
        end = self.random.choice([b"", b"", b"\n", b"\0\xff", b"."])
        whole = text + end
        return whole.replace(b"\n", b"\r\n") if self.random.random() < 0.3 else whole

    def content(self) -> bytes:
        choose = self.random
        plain = choose.randbytes(choose.randrange(2000))
        something = choose.choice([plain, plain, plain, EICAR, self.program])
        packers: list[Callable[[bytes], bytes]] = [zipped, gzip.compress, bz2.compress, tarred]
        for _ in range(choose.choice([0, 0, 1, 1, 2, 3])):
            something = choose.choice(packers)(something)
        return something

    def part(self, depth: int) -> bytes:
        """An entity: headers, an empty line, a body."""
        kinds = ["leaf", "leaf", "multipart", "message"] if depth else ["leaf"]
        kind = self.random.choice(kinds)
        if kind == "multipart":
            mark = b"b%d" % self.random.randrange(10**9)
            parts = [self.part(depth - 1) for _ in range(self.random.randrange(1, 4))]
            body = b"".join(b"--" + mark + b"\n" + part + b"\n" for part in parts)
            close = self.random.choice([b"--" + mark + b"--\n", b""])
            head = b'Content-Type: multipart/mixed; boundary="' + mark + b'"\n\n'
            return head + body + close
        if kind == "message":
            return b"Content-Type: message/rfc822\n\nSubject: inner\n" + self.part(depth - 1)
        encoding = self.random.choice(
            ["base64", "quoted-printable", "8bit", "x-uuencode", "binary"]
        )
        body = self.content()
        if encoding == "base64":
            body = base64.encodebytes(body)
        elif encoding == "quoted-printable":
            body = quopri.encodestring(body)
        name = self.random.choice([b"a.exe", b"a.zip", b"=?utf-8?B?YQ==?=", b"", b'a"b'])
        return (
            b'Content-Type: application/octet-stream; name="%b"\n'
            b"Content-Transfer-Encoding: %b\n\n%b" % (name, encoding.encode(), body)
        )


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("a", content)
    return packed.getvalue()


def tarred(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        member = tarfile.TarInfo("a")
        member.size = len(content)
        files.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("seed", range(6))
def test_three_ways_and_the_package_agree(clamd: Clamd, tmp_path: Path, seed: int) -> None:
    generator = Generator(seed)
    package = oracle.ClamdUnixSocket(str(clamd.socket))
    found = 0
    for number in range(60):
        content = generator.message()
        with wire.spooled(tmp_path, content, named=True) as message:
            word, name = "OK", None
            for reading in (message, message.other_reading):
                if reading and word != "FOUND":
                    whole = os.pread(reading.fd, reading.seen, 0)
                    word, name = package.instream(io.BytesIO(whole))["stream"]
            for way in WAYS:
                finding = asked(clamd, way, message)
                said = (finding.verdict.name, finding.names)
                expected = ("infected", (name,)) if word == "FOUND" else ("clean", ())
                assert said == expected, (seed, number, way, finding.text)
        found += word == "FOUND"
    # It would be no test if clamd found nothing, or something in each.
    assert 5 < found < 55


def asked(clamd: Clamd, way: str, message: spool.Message) -> Finding:
    """What avcheck's own code makes of a message, without a process for each."""
    how = wire.settings(b"-s", where(clamd, way).encode())
    return ask.ask_scanner(how.scanners[-1], message, how, monotonic() + wire.PATIENCE).finding
