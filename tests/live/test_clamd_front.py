"""A real clamd, and mail that would be taken for something else: every one is looked into."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from avcheck import ask, spool
from avcheck.directory import Directory
from avcheck.settings import Settings
from tests.live.magics import Magic, everything
from tests.live.shapes import multipart, part, program, shapes, uuencoded
from tests.live.test_clamd import Desk, desk  # noqa: F401 - a fixture
from tests.live.test_clamd_hard import where
from tests.support import wire
from tests.support.letters import EICAR, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers.clamd import Clamd

WAYS = ("descriptor", "stream", "path")

# Where the address began in the file when avcheck put it first.
RETURN_PATH = len(b"Return-Path: <")

# RFC 5321 4.5.3.1.3: 256, with its < and >.
ADDRESS_MAX = 254

# What an address may be made of without quotes (RFC 5321 4.1.2).
ATEXT = (string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~.").encode()


def with_virus() -> Iterator[tuple[str, bytes]]:
    """A mail with a test virus in MIME, and one that nobody sent, with a program as of old."""
    yield "MIME", b"MIME-Version: 1.0\n" + multipart(part(EICAR, "base64"))
    yield "uuencoded", b"Subject: x\n\n" + uuencoded(program())


def filled(size: int) -> bytes:
    """So many bytes of header lines, the last of which goes on."""
    line = b"X-Filler: " + b"x" * 60 + b"\n"
    return (line * (size // len(line) + 1))[:size]


def mails(magic: Magic, ours: int) -> Iterator[tuple[str, bytes]]:
    """Mail with the magic at each of its offsets, in the file that clamd gets and in the mail.

    It stands in the header, or behind the last part for an offset from the end; ours is
    how much of the file is not a stranger's.
    """
    for kind, mail in with_virus():
        for offset in magic.offsets:
            name = f"{magic.name} at {offset}, {kind}"
            if offset < 0:
                yield name, mail + b"\n" + magic.content.ljust(-offset)
                continue
            yield f"{name}, of the mail", filled(offset) + magic.content + b"\n" + mail
            if offset >= ours:
                yield f"{name}, of the file", filled(offset - ours) + magic.content + b"\n" + mail


def found(place: Path, mail: bytes, how: Settings, sender: bytes = b"a@example.org") -> bool:
    """Whether clamd finds a virus in the mail."""
    scanner = how.scanners[-1]
    with (
        Directory(os.fsencode(place)) as directory,
        spool.Message(directory, sender, scanner.opens_path) as message,
    ):
        message.add(mail)
        finding = ask.one(scanner, message, how, monotonic() + wire.PATIENCE).finding
    assert finding.verdict.name in ("infected", "clean"), finding.text
    return finding.verdict.name == "infected"


def of_ours(place: Path) -> int:
    """How many bytes of the file that clamd gets are not a stranger's."""
    with wire.spooled(place, b"Subject: x\n") as message:
        return message.start


@pytest.fixture(params=WAYS)
def how(request: pytest.FixtureRequest, clamd: Clamd) -> Settings:
    """Settings for each way in which clamd is given a message."""
    return wire.settings(b"-s", where(clamd, request.param).encode())


def test_no_magic_in_a_mail_hides_a_virus(how: Settings, tmp_path: Path) -> None:
    ours = of_ours(tmp_path)
    lost = [
        name
        for magic in everything()
        for name, mail in mails(magic, ours)
        if not found(tmp_path, mail, how)
    ]
    assert lost == []


def addresses(magic: Magic) -> Iterator[bytes]:
    """The longest that holds the magic where its offset was when the address came first."""
    for offset in magic.offsets:
        local = b"x@" + b".".join([b"a" * 60] * 4)
        at = offset - RETURN_PATH
        if set(magic.content) <= set(ATEXT) and 2 < at < ADDRESS_MAX - len(magic.content):
            yield local[:at] + magic.content + b".org"


def test_no_magic_in_the_address_hides_a_virus(how: Settings, tmp_path: Path) -> None:
    senders = [sender for magic in everything() for sender in addresses(magic)]
    assert any(sender.find(b"ustar") == 257 - RETURN_PATH for sender in senders)
    for sender in senders:
        for kind, mail in with_virus():
            assert found(tmp_path, mail, how, sender), (sender, kind)


@pytest.mark.parametrize("way", WAYS)
def test_an_address_that_looks_like_a_tar(
    desk: Desk,  # noqa: F811
    clamd: Clamd,
    way: str,
) -> None:
    labels = ".".join("a" * 60 for _ in range(3))
    sender = f"x@{labels}.{'b' * 58}ustar.org"
    assert sender.index("ustar") == 257 - RETURN_PATH
    words = desk.words(where(clamd, way))
    words[words.index("-f") + 1] = sender
    ended = desk.check(with_attachment(EICAR), words)
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", server.EICAR)


def test_a_virus_is_found_in_mail_of_every_shape(how: Settings, tmp_path: Path) -> None:
    every = list(shapes())
    assert len(every) > 2000
    lost = [name for name, mail in every if not found(tmp_path, mail, how)]
    assert lost == []


@pytest.mark.parametrize("first", [b"", b"no header line\n", b"\xff\n", b": x\n"])
def test_what_begins_with_no_header_line_is_a_body(
    how: Settings, tmp_path: Path, first: bytes
) -> None:
    """As a mail system has it, which puts an empty line before it."""
    assert found(tmp_path, first + uuencoded(program()), how)
