"""The marks by which the installed libclamav tells what a file is, and where it looks for them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.servers import packages

# A line of its table, as filetypes_int.h and daily.ftm have it:
# kind:offset:bytes in hexadecimal:description:type before:type then[:from level[:to level]]
_ROW = re.compile(
    rb"\0([014]):(\*|EOF-\d+|\d+(?:,\d+)?):([0-9a-fA-F?*(){}|-]+):([^:\0]+):CL_TYPE_(?:PART_)?ANY:"
)

# A pattern: two hexadecimal digits, one of several, a gap of so many bytes, any number of them.
_PIECE = re.compile(r"([0-9a-f?]{2})|\(([0-9a-f?|]+)\)|\{(\d*)-?\d*\}|\*", re.IGNORECASE)


@dataclass(frozen=True)
class Magic:
    """Some bytes that make a type, and the offsets of the file at which they do so.

    A negative offset counts from the end of the file.
    """

    name: str
    content: bytes
    offsets: tuple[int, ...]


@cache
def library() -> Path:
    """The libclamav that clamd is linked with."""
    packages.need("clamav-daemon", commands=["clamd"])
    command = ["ldd", packages.find("clamd")]
    linked = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(r"libclamav\.so\S* => (\S+)", linked)
    assert found, linked
    return Path(found[1])


@cache
def words() -> tuple[bytes, ...]:
    """The strings in libclamav."""
    return tuple(re.findall(rb"[\x20-\x7e]{4,}(?=\0)", library().read_bytes()))


def table() -> Iterator[Magic]:
    """The table built into the library; daily.ftm of the official signatures mirrors it."""
    for _, offset, pattern, name in _ROW.findall(library().read_bytes()):
        content = example(pattern.decode())
        yield Magic(name.decode(), content, offsets(offset.decode()))


def offsets(words: str) -> tuple[int, ...]:
    """Where a pattern may stand: a range has both of its ends."""
    if words == "*":
        return (0, 600, 5000)
    if words.startswith("EOF-"):
        return (-int(words.removeprefix("EOF-")),)
    first, _, shift = words.partition(",")
    return (int(first), int(first) + int(shift)) if shift else (int(first),)


def example(pattern: str) -> bytes:
    """Bytes that fit the pattern: the first of each choice, the least of each gap."""
    found = bytearray()
    end = 0
    for piece in _PIECE.finditer(pattern):
        assert piece.start() == end, pattern
        end = piece.end()
        pair = piece[1] or (piece[2] or "").partition("|")[0]
        if pair:
            found.append(int(pair.replace("?", "0"), 16))
        else:
            # Blanks, so that what stands before and after stays in one line.
            found += b" " * int(piece[3] or 0)
    assert end == len(pattern), pattern
    return bytes(found)


def tar(posix: bool) -> bytes:
    """The first 512 bytes of a tar as is_tar() knows it: by its checksum."""
    head = bytearray(b"a" * 512)
    head[257:265] = b"ustar\x0000" if posix else b"x" * 8
    head[148:156] = b" " * 8
    head[148:155] = b"%06o " % sum(head)
    return bytes(head)


def by_code() -> Iterator[Magic]:
    """Those that the library's code looks for beside its table (is_tar.c, mbr.c, gpt.c, apm.c)."""
    yield Magic("tar by its checksum", tar(posix=False), (0,))
    yield Magic("POSIX tar by its checksum", tar(posix=True), (0,))
    yield Magic("GPT, all sizes of a sector", b"EFI PART", (512, 1024, 2048, 4096))
    yield Magic("a table of partitions", b"\0\x20\x21\0\xee\xfe\xff\xff\1" + bytes(55), (446,))
    yield Magic("Apple's driver descriptor", b"ER", (0,))
    yield Magic("Apple's partition map", b"PM\0\0", (512, 1024, 2048, 4096))
    yield Magic("HFS+", b"H+\0\4", (1024,))
    yield Magic("ISO 9660", b"\1CD001\1", (32768, 34816, 37633))
    yield Magic("ISO 9660, two of them", b"\1CD001" + b" " * 2043 + b"CD001", (32768,))
    yield Magic("UDF", b"\0BEA01\1" + b" " * 2041 + b"\0NSR02\1", (32768,))
    yield Magic("DMG", b"koly\0\0\0\4\0\0\2\0" + bytes(488), (-512,))


def everything() -> tuple[Magic, ...]:
    """All of them, each once."""
    found = tuple(dict.fromkeys((*table(), *by_code())))
    assert len(found) > 200, "the table of this libclamav looks otherwise; read its source"
    return found
