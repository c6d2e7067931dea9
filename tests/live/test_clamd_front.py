"""A real clamd, and mail that would be taken for something else: every one is looked into."""

from __future__ import annotations

import base64
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
        message.complete()
        finding = ask.ask_scanner(scanner, message, how, monotonic() + wire.PATIENCE).finding
    assert finding.verdict.name in ("infected", "clean"), finding.text
    return finding.verdict.name == "infected"


def of_ours(place: Path) -> int:
    """How many bytes of the file that clamd gets are not a stranger's."""
    with wire.spooled(place, b"Subject: x\n") as message:
        return message.seen - message.size


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
    assert found(tmp_path, b"From: a@b.org\nSubject: x\n" + first + uuencoded(program()), how)


# What clamd 1.4.6 takes for the header's, for lack of an empty line, and for what is to be
# done with all that follows.
IN_THE_PLACE_OF_AN_EMPTY_LINE = [
    b"junk\n",
    b"junk\n--part\nContent-Type: text/plain\n\nHello.\n",
    b"junk\n--part\nContent-Type: message/rfc822\n\nSubject: x\n\nHello.\n",
    b"junk\nContent-Type: message/partial; id=1; number=1; total=2\n\n",
    b"junk\nContent-Type: message/external-body; access-type=x\n\n",
    b"junk\nContent-Type: multipart/mixed; boundary=another\n\n",
    b"--part\nContent-Type: message/rfc822\n\nSubject: x\n\nHello.\n",
    b"\0: x\nContent-Type: message/partial; id=1; number=1; total=2\n\n",
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("lines", IN_THE_PLACE_OF_AN_EMPTY_LINE)
def test_a_header_ends_where_mail_systems_end_it(
    how: Settings, tmp_path: Path, lines: bytes, end: bytes
) -> None:
    mail = b"From: a@b.org\nMIME-Version: 1.0\n" + multipart(part(EICAR, "base64"))
    mail = mail.replace(b"\n\n--part\n", b"\n" + lines + b"--part\n", 1)
    assert found(tmp_path, mail.replace(b"\n", end), how)


# The header of a part, where clamd 1.4.6 takes a line of blanks, and two bare CRs, for its end.
HEADERS_OF_A_PART = [
    b"Content-Type: application/octet-stream;\n \n name=a.com\n",
    b"Content-Type: application/octet-stream;\n\t\n name=a.com\n",
    b"X-A: b\n \nContent-Type: application/octet-stream; name=a.com\n",
    b"X-A: b\n \n c\nContent-Type: application/octet-stream; name=a.com\n",
    b"Content-Type: application/octet-stream; name=a.com\r\rx\n",
    b"X-A: \r\r\nContent-Type: application/octet-stream; name=a.com\n",
    b"X-A: x\r\r\r\nContent-Type: application/octet-stream; name=a.com\n",
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("header", HEADERS_OF_A_PART)
def test_a_line_of_blanks_or_a_bare_cr_ends_no_header(
    how: Settings, tmp_path: Path, header: bytes, end: bytes
) -> None:
    attachment = header + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(EICAR)
    inner = b"Content-Type: message/rfc822\n\n" + b"MIME-Version: 1.0\n" + attachment
    for entity in (attachment, inner, multipart(attachment, mark=b"inner")):
        mail = b"From: a@b.org\nMIME-Version: 1.0\n" + multipart(b"\nHello.\n", entity)
        assert found(tmp_path, mail.replace(b"\n", end), how)
    mail = b"From: a@b.org\nMIME-Version: 1.0\n" + attachment
    assert found(tmp_path, mail.replace(b"\n", end), how)
