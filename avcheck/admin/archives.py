"""Archives with the EICAR test file in them, made in memory.

EICAR is no virus, only 68 bytes that scanners have agreed to find (www.eicar.org); it
stands here the other way round, so that no file of this package is taken for one.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib

EICAR = b"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"[::-1]

MEGABYTE = 1 << 20


def zipped(content: bytes, name: str = "eicar.com") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def zip64(content: bytes) -> bytes:
    """A zip whose sizes stand in the extra field, as in one of more than 4 GB."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("eicar.com", "w", force_zip64=True) as out,
    ):
        out.write(content)
    return file.getvalue()


def nested(depth: int) -> bytes:
    """A zip in a zip, so many deep."""
    content = zipped(EICAR)
    for level in range(1, depth):
        content = zipped(content, f"{level}.zip")
    return content


def targz(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        entry = tarfile.TarInfo("eicar.com")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def many(number: int) -> bytes:
    """A zip with so many small files, and the virus last."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for each in range(number):
            archive.writestr(f"{each}.txt", b"%d\n" % each)
        archive.writestr("eicar.com", EICAR)
    return file.getvalue()


def blown_up(size: int, pieces: int = 1) -> bytes:
    """A zip with files of so many bytes altogether, and the virus after them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(pieces):
            with archive.open(f"{number}.bin", "w") as out:
                left = size // pieces
                while left > 0:
                    out.write(bytes(min(left, MEGABYTE)))
                    left -= MEGABYTE
                if number == pieces - 1 == 0:
                    out.write(EICAR)
        if pieces > 1:
            archive.writestr("eicar.com", EICAR)
    return file.getvalue()


def encrypted(content: bytes, password: bytes = b"infected") -> bytes:
    """A zip with a password: PKWARE's own cipher, which Python reads and does not write."""
    plain = zipped(content)
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        (entry,) = archive.infolist()
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = compress.compress(content) + compress.flush()
    keys = _Keys(password)
    check = entry.CRC >> 24 & 0xFF
    body = keys.encrypt(os.urandom(11) + bytes([check]) + body)
    name = entry.filename.encode()
    facts = (
        (20).to_bytes(2, "little")
        + (1).to_bytes(2, "little")  # it is encrypted
        + (8).to_bytes(2, "little")
        + b"\0\0\x21\x5c"
        + entry.CRC.to_bytes(4, "little")
        + len(body).to_bytes(4, "little")
        + len(content).to_bytes(4, "little")
        + len(name).to_bytes(2, "little")
        + b"\0\0"
    )
    local = b"PK\3\4" + facts + name
    central = b"PK\1\2" + b"\x14\0" + facts + bytes(14) + name
    end = (
        b"PK\5\6\0\0\0\0\1\0\1\0"
        + len(central).to_bytes(4, "little")
        + (len(local) + len(body)).to_bytes(4, "little")
        + b"\0\0"
    )
    return local + body + central + end


class _Keys:
    """The three keys of PKWARE's cipher (APPNOTE.TXT 6.1)."""

    def __init__(self, password: bytes) -> None:
        self.key = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self._update(byte)

    def _update(self, byte: int) -> None:
        first, second, third = self.key
        first = _crc(first, byte)
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        self.key = [first, second, _crc(third, second >> 24)]

    def encrypt(self, content: bytes) -> bytes:
        found = bytearray()
        for byte in content:
            mask = (self.key[2] | 2) & 0xFFFF
            found.append(byte ^ ((mask * (mask ^ 1)) >> 8 & 0xFF))
            self._update(byte)
        return bytes(found)


def _crc(old: int, byte: int) -> int:
    # zlib's has both ends turned over, and PKWARE's has not.
    return zlib.crc32(bytes([byte]), old ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
