"""The installed avcheck and a real clamd, with every way to hand over a message."""

from __future__ import annotations

import base64
import gzip
import io
import os
import quopri
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import clamd as oracle
import pytest

from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers import packages
from tests.support.servers.clamd import TESTFILES, Clamd
from tests.support.servers.daemon import suspend

TEMPFAIL = 75

# A handler that writes down what it is told, and takes the message over.
HANDLER = """\
#!/bin/sh
printf '%s\\n' "$AVCHECK_VERDICT" "$AVCHECK_VIRUS" >"$(dirname "$0")/told"
mv "$1" "$(dirname "$0")/taken"
"""


@dataclass(frozen=True)
class Ended:
    """How a run of avcheck ended."""

    status: int
    said: str
    verdict: str = ""
    names: str = ""


class Desk:
    """A spool directory and a handler, to check messages with and deliver none."""

    def __init__(self, avcheck: Path, directory: Path) -> None:
        self.avcheck = avcheck
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.handler = directory / "handler"
        self.handler.write_text(HANDLER)
        self.handler.chmod(0o700)
        self.told = directory / "told"
        self.taken = directory / "taken"

    def words(self, scanner: str, *more: str, spool: str | None = None) -> list[str]:
        """The command line for a scanner."""
        return [
            *(str(self.avcheck), "-n", "-d", spool or str(self.spool), "-i", str(self.handler)),
            *("-s", scanner, *more, "-f", "anna@example.com", "--", "bert@example.net"),
        ]

    def check(self, message: bytes, words: Sequence[str]) -> Ended:
        """Run it on a message as an MTA does, with LF line ends."""
        done = subprocess.run(
            words,
            input=message.replace(b"\r\n", b"\n"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode()
        assert os.listdir(self.spool) == []
        if not self.told.exists():
            return Ended(done.returncode, said)
        assert self.taken.read_bytes() == message.replace(b"\r\n", b"\n")
        verdict, names = self.told.read_text().splitlines()
        self.told.unlink()
        return Ended(done.returncode, said, verdict, names)


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


WAYS = ("descriptor", "stream", "TCP", "path", "chrooted path")


@pytest.fixture(params=WAYS)
def words(request: pytest.FixtureRequest, desk: Desk, clamd: Clamd, tmp_path: Path) -> list[str]:
    """The command line for each way in which clamd can be given a message."""
    # The daemon that is to stand for a chrooted one is in no chroot.  So the directory
    # that avcheck leaves off the path is one that leads to /.
    (tmp_path / "root").symlink_to("/")
    return {
        "descriptor": desk.words(f"clamd:{clamd.socket}"),
        "stream": desk.words(f"clamd+stream:{clamd.socket}"),
        "TCP": desk.words(f"clamd:127.0.0.1:{clamd.port}"),
        "path": desk.words(f"clamd+path:{clamd.socket}"),
        "chrooted path": desk.words(
            f"clamd:{clamd.socket}", spool=f"{tmp_path}/root/.{desk.spool}"
        ),
    }[request.param]


def test_a_clean_message_is_clean(desk: Desk, words: list[str]) -> None:
    ended = desk.check(letter(), words)
    assert (ended.status, ended.verdict) == (0, "")
    assert ended.said.startswith("clean: clamd")


def test_an_empty_message_is_clean(desk: Desk, words: list[str]) -> None:
    assert desk.check(b"", words).status == 0


def test_the_test_virus_is_found_in_an_attachment(desk: Desk, words: list[str]) -> None:
    ended = desk.check(with_attachment(EICAR, "eicar.com"), words)
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", server.EICAR)


def test_a_program_is_found_in_an_attachment(desk: Desk, words: list[str]) -> None:
    packages.need("clamav-testfiles", files=[str(TESTFILES / "clam.zip")])
    message = with_attachment((TESTFILES / "clam.zip").read_bytes(), "clam.zip")
    ended = desk.check(message, words)
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", server.CLAM)


def test_mail_that_does_not_look_like_mail_is_unpacked(desk: Desk, words: list[str]) -> None:
    # clamd knows mail by its first line, and these are not on its list.
    shouted = re.sub(rb"^[\w-]+:", lambda name: name[0].upper(), with_attachment(EICAR), flags=re.M)
    assert desk.check(b"X-FIRST: 1\r\n" + shouted, words).verdict == "infected"


@pytest.mark.parametrize("where", ["Unix", "TCP"])
def test_a_stream_above_the_limit_is_unscannable(desk: Desk, clamd: Clamd, where: str) -> None:
    scanner = f"stream:{clamd.socket}" if where == "Unix" else f"stream:127.0.0.1:{clamd.port}"
    message = with_attachment(os.urandom(3_000_000))
    ended = desk.check(message, desk.words(f"clamd+{scanner}"))
    assert (ended.status, ended.verdict, ended.names) == (0, "unscannable", "")
    assert "INSTREAM size limit exceeded" in ended.said


def test_a_descriptor_knows_no_such_limit(desk: Desk, clamd: Clamd) -> None:
    message = with_attachment(os.urandom(3_000_000))
    assert desk.check(message, desk.words(f"clamd:{clamd.socket}")).status == 0


def test_what_is_too_deep_is_unscannable(desk: Desk, tmp_path: Path) -> None:
    with Clamd(tmp_path / "d", settings={"AlertExceedsMax": "yes", "MaxRecursion": "3"}) as clamd:
        content = b"text"
        for _ in range(4):
            content = gzip.compress(content)
        ended = desk.check(with_attachment(content), desk.words(f"clamd:{clamd.socket}"))
    assert (ended.verdict, ended.names) == (
        "unscannable",
        "Heuristics.Limits.Exceeded.MaxRecursion",
    )


def test_the_next_daemon_is_asked_when_one_is_gone(desk: Desk, clamd: Clamd) -> None:
    scanner = f"clamd:{desk.spool.parent}/gone.ctl,{clamd.socket}"
    assert desk.check(letter(), desk.words(scanner)).status == 0


def test_a_silent_daemon_is_not_waited_for_longer_than_told(desk: Desk, tmp_path: Path) -> None:
    with Clamd(tmp_path / "d") as clamd:
        suspend(clamd.pid)
        ended = desk.check(letter(), desk.words(f"clamd:{clamd.socket}", "-t", "1"))
    assert ended.status == TEMPFAIL
    assert str(clamd.socket) in ended.said


@pytest.mark.parametrize("way", ["descriptor", "stream", "TCP", "path"])
def test_a_daemon_that_dies_during_a_scan_has_not_said_clean(
    desk: Desk, tmp_path: Path, way: str
) -> None:
    with Clamd(tmp_path / "d", tcp=True) as clamd:
        scanner = f"clamd:127.0.0.1:{clamd.port}" if way == "TCP" else f"clamd+{way}:{clamd.socket}"
        suspend(clamd.pid)
        with subprocess.Popen(
            desk.words(scanner),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as run:
            assert run.stdin and run.stdout
            run.stdin.write(letter())
            run.stdin.close()
            wait_until_asked(clamd)
            clamd.kill()
            said = run.stdout.read()
    assert run.returncode == TEMPFAIL
    assert said.startswith(b"4.")
    assert os.listdir(desk.spool) == []


def wait_until_asked(clamd: Clamd) -> None:
    """Wait until somebody is connected to a clamd; raises TimeoutError if nobody is."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        # The first entry with the path is the daemon's own, listening.
        unix = Path("/proc/net/unix").read_text().count(f" {clamd.socket}\n") - 1
        established = re.compile(rf"^ *\d+: 0100007F:{clamd.port:04X} \S+ 01 ", re.M)
        if unix > 0 or established.search(Path("/proc/net/tcp").read_text()):
            return
        time.sleep(0.01)  # the daemon is stopped and cannot say
    raise TimeoutError("nobody has asked this clamd")


def generated() -> Iterator[tuple[str, bytes]]:
    """Messages in which a virus is hidden in ways that mail has, and their innocent twins."""
    for content, kind in ((EICAR, "infected"), (EICAR[::-1], "innocent")):
        for encoding in ("base64", "quoted-printable", "8bit"):
            yield (
                f"{kind}, {encoding}",
                letter(
                    mime_body(content, encoding), *MIME, f"Content-Transfer-Encoding: {encoding}"
                ),
            )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.com", content)
        yield f"{kind}, zip", with_attachment(packed.getvalue(), "a.zip")
        yield f"{kind}, gzip", with_attachment(gzip.compress(content), "a.gz")
        inner = with_attachment(content)
        yield f"{kind}, message in a message", with_attachment(inner, "a.eml")
        yield f"{kind}, forwarded", letter(inner, "Content-Type: message/rfc822")


MIME = ("MIME-Version: 1.0", "Content-Type: application/octet-stream")


def mime_body(content: bytes, encoding: str) -> bytes:
    """The content in a transfer encoding of MIME."""
    if encoding == "base64":
        return base64.encodebytes(content)
    if encoding == "quoted-printable":
        return quopri.encodestring(content)
    return content


@pytest.mark.parametrize("message", [pytest.param(each, id=name) for name, each in generated()])
def test_avcheck_and_the_clamd_package_agree(desk: Desk, clamd: Clamd, message: bytes) -> None:
    unix = message.replace(b"\r\n", b"\n")
    word, name = oracle.ClamdUnixSocket(str(clamd.socket)).instream(io.BytesIO(unix))["stream"]
    ended = desk.check(message, desk.words(f"clamd:{clamd.socket}"))
    assert ended.status == 0
    assert (ended.verdict, ended.names) == (("infected", name) if word == "FOUND" else ("", ""))
