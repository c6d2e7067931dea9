"""Mail in many shapes, good and bad, and each with something in it that clamd knows."""

from __future__ import annotations

import base64
import binascii
import itertools
import quopri
import zipfile
from collections.abc import Iterator
from functools import cache

from tests.support.letters import EICAR
from tests.support.servers import packages
from tests.support.servers.clamd import TESTFILES

# What a mail may begin with, before its header.
BEGINNINGS = {
    "nothing": b"",
    "a From_ line": b"From anna@example.com Mon Jan  1 00:00:00 2026\n",
    "a quoted From_ line": b">From anna@example.com Mon Jan  1 00:00:00 2026\n",
    "one that goes on": b" as if there were a header above\n",
}

# Its header.
HEADERS = {
    "usual": b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\nFrom: a@b.org\nTo: c@d.org\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\nSubject: x\n",
    "without Received": b"From: a@b.org\nTo: c@d.org\nSubject: x\n",
    "without From": b"Received: from a by b\nTo: c@d.org\nSubject: x\n",
    "Subject alone": b"Subject: x\n",
    "none": b"",
    "unknown": b"X-Unheard-Of: 1\n",
    "upper case": b"FROM: a@b.org\nTO: c@d.org\nSUBJECT: x\n",
    "lower case": b"from: a@b.org\nto: c@d.org\nsubject: x\n",
    "8-bit": b"Subject: \xe4\xf6\xfc\nFrom: \xff\xfe <a@b.org>\n",
    "UTF-8": "Subject: \u00fc\u20ac\nFrom: \u00fc <a@b.org>\n".encode(),
    "folded": b"Subject: x\n y\n\tz\nFrom:\n a@b.org\n",
    "a blank before the colon": b"Subject : x\nFrom : a@b.org\n",
    "a line without a colon": b"Subject: x\nno header at all\nFrom: a@b.org\n",
    "long lines": b"Subject: " + b"x" * 980 + b"\nX-Long: " + b"y" * 5000 + b"\n",
    "many lines": b"X-Many: 1\n" * 500 + b"Subject: x\n",
    "NUL": b"Subject: a\0b\nX-N: \0\0\0\n",
    "Return-Path": b"Return-Path: <a@b.org>\nSubject: x\n",
    "resent": b"Resent-From: a@b.org\nResent-To: c@d.org\nSubject: x\n",
    "nobody's names": b"De: a@b.org\nAn: c@d.org\nBetreff: x\n",
}


@cache
def program() -> bytes:
    """ClamAV's own test file, which clamd knows by its digest: only if it is whole."""
    packages.need("clamav-testfiles", files=[str(TESTFILES / "clam.zip")])
    return zipfile.ZipFile(TESTFILES / "clam.zip").read("clam.exe")


def uuencoded(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 clam.exe\n" + b"".join(lines) + b"`\nend\n"


def part(content: bytes, encoding: str) -> bytes:
    """An entity of MIME, its header included."""
    body = content
    if encoding == "base64":
        body = base64.encodebytes(content)
    elif encoding == "quoted-printable":
        body = quopri.encodestring(content)
    elif encoding == "x-uuencode":
        body = uuencoded(content)
    return (
        b'Content-Type: application/octet-stream; name="a.exe"\n'
        b"Content-Transfer-Encoding: %b\n\n%b" % (encoding.encode(), body)
    )


def multipart(*parts: bytes, kind: bytes = b"mixed", mark: bytes = b"part") -> bytes:
    body = b"".join(b"\n--" + mark + b"\n" + each for each in parts)
    head = b"Content-Type: multipart/" + kind + b'; boundary="' + mark + b'"\n'
    return head + body + b"\n--" + mark + b"--\n"


def bodies() -> dict[str, bytes]:
    """The end of the header, an empty line, and the body."""
    text = b"Content-Type: text/plain\n\nHello.\n"
    eicar = part(EICAR, "base64")
    whole = part(program(), "base64")
    inner = multipart(text, eicar, mark=b"inner", kind=b"alternative")
    version = b"MIME-Version: 1.0\n"
    return {
        "uuencoded": b"\n" + uuencoded(program()),
        "text and uuencoded": b"\nHello.\n\n" + uuencoded(program()),
        "base64": version + eicar,
        "base64, a program": version + whole,
        "quoted-printable": version + part(EICAR, "quoted-printable"),
        "x-uuencode": version + part(program(), "x-uuencode"),
        "multipart": version + multipart(text, eicar),
        "multipart, a program": version + multipart(text, whole),
        "multipart without a version": multipart(text, eicar),
        "multipart in multipart": version + multipart(text, inner),
        "digest": version + multipart(b"\nSubject: y\n" + eicar, kind=b"digest"),
        "forwarded": version + b"Content-Type: message/rfc822\n\nSubject: y\n" + eicar,
        "no last boundary": (version + multipart(eicar)).removesuffix(b"--part--\n"),
        "no last line end": (version + multipart(eicar)).removesuffix(b"\n"),
        "plain": b"\n" + EICAR + b"\n",
    }


def shapes() -> Iterator[tuple[str, bytes]]:
    """All of them, with their names."""
    parts = itertools.product(BEGINNINGS.items(), HEADERS.items(), bodies().items())
    for (beginning, first), (name, header), (body, rest) in parts:
        mail = first + header + rest
        words = f"{body}; header {name}; beginning with {beginning}"
        yield words, mail
        yield words + "; CRLF", mail.replace(b"\n", b"\r\n")
    for (body, rest), empty in itertools.product(bodies().items(), (b"\n", b"\n\n\n", b" \n")):
        yield f"{body}; after {empty!r}", empty + HEADERS["usual"] + rest
