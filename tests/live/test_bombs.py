"""Messages made to hurt whoever takes them apart, through a real clamd that tells its limits.

What avcheck makes of them is the verdict class that is meant, and its own memory is that of any
message, because it takes nothing apart.
"""

from __future__ import annotations

import base64
import functools
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaigns.load.mta import Agent
from tests.live.test_clamd import Desk
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.clamd import Clamd

MIB = 1024 * 1024

# KiB: what a run may take at its peak beyond that for a small message; pieces are 64 KiB.
MORE = 1536

CLEAN = "clean"
INFECTED = "infected"
UNSCANNABLE = "unscannable"
TOO_MUCH = (UNSCANNABLE,)


def archive(*members: bytes) -> bytes:
    """A zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as files:
        for number, content in enumerate(members):
            files.writestr(f"{number}.zip", content)
    return packed.getvalue()


def nested(layers: int, copies: int, size: int, first: int = 0) -> bytes:
    """Archives in archives, so many deep and in each so many, as in 42.zip.

    No two are the same: clamd looks into a file that it has seen only once.
    """
    if not layers:
        return b"%d" % first + bytes(size)
    step = copies ** (layers - 1)
    return archive(
        *(nested(layers - 1, copies, size, first + number * step) for number in range(copies))
    )


def deep(content: bytes, layers: int) -> bytes:
    """Archives in archives, so many deep."""
    for _ in range(layers):
        content = archive(content)
    return content


def parts(count: int, last: bytes) -> bytes:
    """A message of so many parts, the last of which has that as an attachment."""
    body = "".join(f"--part\n\nThis is number {number}.\n" for number in range(count - 1))
    body += "--part\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
    body += base64.encodebytes(last).decode() + "\n--part--\n"
    return letter(body, "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="part"')


def multiparts(depth: int, last: bytes) -> bytes:
    """Multiparts in multiparts, so many deep, and an attachment in the innermost."""
    inner = (
        "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(last).decode()
    )
    for level in range(depth):
        inner = (
            f'Content-Type: multipart/mixed; boundary="b{level}"\n\n'
            f"--b{level}\n{inner}\n--b{level}--\n"
        )
    head, _, body = inner.partition("\n\n")
    return letter(body, "MIME-Version: 1.0", head)


def forwarded(depth: int, last: bytes) -> bytes:
    """Messages in messages, so many deep."""
    message = with_attachment(last)
    for _ in range(depth):
        message = letter(message, "MIME-Version: 1.0", "Content-Type: message/rfc822")
    return message


def headers(count: int, content: bytes) -> bytes:
    """A message with so many header lines before those that matter."""
    message = with_attachment(content)
    return b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(count)) + message


INNOCENT = b"Nothing is wrong with this."

# Each with the verdict that is meant, or the ones of which any will do.
MESSAGES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "a zip bomb of 8 files": (lambda: with_attachment(nested(1, 8, 16 * MIB)), TOO_MUCH),
    # Of a file that is too large clamd 1.4.6 looks at the beginning, and says no more.
    "a zip bomb of one file": (
        lambda: with_attachment(archive(bytes(64 * MIB))),
        (CLEAN, UNSCANNABLE),
    ),
    "a zip bomb of one file, and a virus": (
        lambda: with_attachment(archive(EICAR + bytes(64 * MIB))),
        (INFECTED,),
    ),
    "a zip bomb, 12 in 12 in 12": (lambda: with_attachment(nested(3, 12, MIB // 6)), TOO_MUCH),
    "archives, 40 deep": (lambda: with_attachment(deep(EICAR, 40)), TOO_MUCH),
    "10 000 parts": (lambda: parts(10_000, INNOCENT), (CLEAN, UNSCANNABLE)),
    "10 000 parts and a virus": (lambda: parts(10_000, EICAR), (INFECTED, UNSCANNABLE)),
    "1000 parts and a virus": (lambda: parts(1000, EICAR), (INFECTED,)),
    "100 000 headers": (lambda: headers(100_000, INNOCENT), (CLEAN,)),
    "100 000 headers and a virus": (lambda: headers(100_000, EICAR), (INFECTED,)),
    "a line of 20 MB": (lambda: letter(b"x" * 20 * MIB), (CLEAN,)),
    "a line of 20 MB in a header": (
        lambda: letter("Hello.\n", "X-Long: " + "x" * 20 * MIB),
        (CLEAN, UNSCANNABLE),
    ),
    "a megabyte of NUL": (lambda: letter(bytes(MIB)), (CLEAN,)),
    "NUL in every line, and a virus": (
        lambda: with_attachment(EICAR).replace(b"See", b"\0See\0"),
        (INFECTED,),
    ),
    "multiparts, 200 deep": (lambda: multiparts(200, INNOCENT), (CLEAN, UNSCANNABLE)),
    "multiparts, 200 deep, and a virus": (lambda: multiparts(200, EICAR), (INFECTED, UNSCANNABLE)),
    "messages in messages, 100 deep": (lambda: forwarded(100, EICAR), (INFECTED, UNSCANNABLE)),
}


@pytest.fixture(scope="module")
def telling(open_directory: Path) -> Iterator[Clamd]:
    """A clamd with a quarter of the usual limits, which says when one is reached."""
    with Clamd(
        open_directory / "telling",
        settings={
            "AlertExceedsMax": "yes",
            "MaxScanTime": "20000",
            "MaxScanSize": "100M",
            "MaxFileSize": "25M",
        },
        tcp=True,
    ) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """Who runs avcheck and knows its memory afterwards."""
    each = Agent()
    yield each
    each.close()


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


def peak(agent: Agent, desk: Desk, scanner: str, message: bytes) -> tuple[int, str]:
    """The peak memory in KiB of a run that ends well, and its verdict."""
    file = desk.spool.parent / "letter"
    file.write_bytes(message.replace(b"\r\n", b"\n"))
    answer = agent.carry_out(str(file), "120", "", *desk.words(scanner))
    status, memory, _, output = answer
    said = bytes.fromhex(output).decode()
    assert int(status) == 0, said
    assert not list(desk.spool.iterdir())
    if desk.told.exists():
        desk.told.unlink()
    return int(memory), said.partition(":")[0]


@functools.lru_cache(maxsize=1)  # one way after the other
def made(name: str) -> bytes:
    make, _ = MESSAGES[name]
    return make()


@pytest.mark.parametrize("way", ["descriptor", "TCP"])
@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_made_to_hurt_is_what_it_is(
    desk: Desk, telling: Clamd, agent: Agent, name: str, way: str
) -> None:
    _, meant = MESSAGES[name]
    scanner = f"clamd:{telling.socket}" if way == "descriptor" else f"clamd::{telling.port}"
    message = made(name)
    # By the handler, which takes modules that a clean one does not need.
    small, _ = peak(agent, desk, scanner, with_attachment(EICAR))
    memory, verdict = peak(agent, desk, scanner, message)
    assert verdict in meant
    assert memory <= small + MORE
