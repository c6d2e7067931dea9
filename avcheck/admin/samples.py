"""Mails to try a scanner with, each with the EICAR test file in it somewhere.

They are made when they are needed: no file of this package is taken for a virus.
EICAR is no virus, only 68 bytes that scanners have agreed to find (www.eicar.org).
"""

from __future__ import annotations

import binascii
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from avcheck.admin import archives
from avcheck.admin.archives import EICAR, MEGABYTE
from avcheck.state import canary

RECEIVED = b"Received: from localhost by localhost; Thu, 1 Jan 2026 00:00:00 +0000\n"
FROM = b"From: avcheck <postmaster@localhost>\nTo: postmaster@localhost\nSubject: avcheck probe\n"

# Larger than this takes minutes to make and to scan.
LARGE = 600 * MEGABYTE

# A mail, in pieces: a large one has the same piece many times.
Mail = list[bytes]

# clamd's limits by their names in clamd.conf; 0 is none.
Limits = Mapping[str, int]


@dataclass(frozen=True)
class Sample:
    """A mail to try: what it is, how to make it, and what to change if it gets through.

    Without a virus, getting through is what it should do.  limit is the setting that it
    goes beyond, and makes no sense without; stream tells that this is one for streams.
    """

    name: str
    what: str
    make: Callable[[Limits], Mail]
    setting: str = ""
    virus: bool = True
    limit: str = ""
    stream: bool = False


def mail(content: bytes, name: str, *, header: bytes = RECEIVED + FROM) -> Mail:
    """A mail with an attachment in base64."""
    return [
        header
        + b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="avcheck"\n\n'
        + attached(content, name)
        + b"--avcheck--\n"
    ]


def attached(content: bytes, name: str) -> bytes:
    return (
        b'--avcheck\nContent-Type: application/octet-stream; name="%b"\n'
        b"Content-Transfer-Encoding: base64\n\n" % name.encode()
    ) + encoded(content)


def encoded(content: bytes) -> bytes:
    """Base64 in lines."""
    return b"".join(binascii.b2a_base64(content[at : at + 57]) for at in range(0, len(content), 57))


def uuencoded(content: bytes, name: str) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 %b\n" % name.encode() + b"".join(lines) + b"`\nend\n"


def _shouted() -> Mail:
    head = (RECEIVED + FROM).upper()
    (body,) = mail(EICAR, "eicar.com", header=b"")
    fields, blank, rest = body.partition(b"\n\n")
    return [head + fields.upper().replace(b"AVCHECK", b"avcheck") + blank + rest]


def _two_boundaries() -> Mail:
    (text,) = mail(EICAR, "eicar.com")
    return [
        text.replace(b"MIME-Version", b'Content-Type: multipart/mixed; boundary="x"\nMIME-Version')
    ]


def _signed() -> Mail:
    (text,) = mail(EICAR, "eicar.com", header=RECEIVED + FROM)
    first = b"\n\n--avcheck\nContent-Type: text/plain\n\nHello.\n--avcheck\n"
    return [text.replace(b"mixed", b"signed").replace(b"\n\n--avcheck\n", first, 1)]


def _folded() -> Mail:
    (text,) = mail(EICAR, "eicar.com")
    return [text.replace(b"octet-stream; ", b"octet-stream;\n \n ")]


def _alone(more: bytes, name: bytes = b'"eicar.com"') -> Mail:
    """A mail that is the attachment, with more at the end of its header."""
    fields = (
        b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n"
        b"Content-Type: application/octet-stream; name=" + name + more + b"\n\n"
    )
    return [RECEIVED + FROM + fields + encoded(EICAR)]


def _long(limits: Limits, name: str) -> Mail:
    """A mail that is longer than the limit, with the virus at its beginning."""
    padding = (b"x" * 75 + b"\n") * (MEGABYTE // 76)
    (text,) = mail(EICAR, "eicar.com")
    first = text.removesuffix(b"--avcheck--\n")
    rest = [b"--avcheck\nContent-Type: text/plain\n\n"]
    return [first, *rest, *[padding] * (limits[name] // len(padding) + 2), b"--avcheck--\n"]


SHOWN_OTHERWISE = "avcheck's second reading of such a mail is to prevent that"

SAMPLES = (
    Sample(
        "innocent", "a mail with nothing wrong in it", lambda limits: [canary.INNOCENT],
        "a scanner that finds a virus in everything stops all mail", virus=False,
    ),
    Sample(
        "plain", "the test virus in the text", lambda limits: [RECEIVED + FROM + b"\n" + EICAR],
        "its signatures: is the database there?",
    ),
    Sample(
        "base64", "as an attachment", lambda limits: mail(EICAR, "eicar.com"),
        "ScanMail yes",
    ),
    Sample(
        "zip", "in a zip", lambda limits: mail(archives.zipped(EICAR), "a.zip"),
        "ScanArchive yes",
    ),
    Sample(
        "nested-zip", "in a zip in a zip in a zip",
        lambda limits: mail(archives.nested(3), "a.zip"),
        "MaxRecursion",
    ),
    Sample(
        "zip64", "in a zip in the ZIP64 format",
        lambda limits: mail(archives.zip64(EICAR), "a.zip"),
        "a signature: docs/postfix.md, section 3 (clamav#1527)",
    ),
    Sample(
        "tar-gz", "in a tar.gz", lambda limits: mail(archives.targz(EICAR), "a.tar.gz"),
        "ScanArchive yes",
    ),
    Sample(
        "gzip", "in a gz", lambda limits: mail(gzip.compress(EICAR), "a.gz"),
        "ScanArchive yes",
    ),
    Sample(
        "encrypted-zip", "in a zip with a password",
        lambda limits: mail(archives.encrypted(EICAR), "a.zip"),
        "AlertEncrypted yes, or AlertEncryptedArchive yes",
    ),
    Sample(
        "upper-case", "under header names in upper case", lambda limits: _shouted(),
        "the lines that avcheck puts before each mail are to prevent that",
    ),
    Sample(
        "unknown-first", "under a first header that nobody knows",
        lambda limits: mail(EICAR, "eicar.com", header=b"X-Unheard-Of: 1\n" + FROM),
        "the lines that avcheck puts before each mail are to prevent that",
    ),
    Sample(
        "no-header", "with Content-Type as the first header",
        lambda limits: mail(EICAR, "eicar.com", header=b""),
        "the lines that avcheck puts before each mail are to prevent that",
    ),
    Sample(
        "uuencoded", "as it was attached before MIME, in a mail that names no sender",
        lambda limits: [b"Subject: x\n\n" + uuencoded(EICAR, "eicar.com")],
        "the lines that avcheck puts before each mail are to prevent that",
    ),
    Sample(
        "no-end", "in MIME without its last boundary",
        lambda limits: [mail(EICAR, "eicar.com")[0].removesuffix(b"--avcheck--\n")],
        "nothing; ask who makes it",
    ),
    Sample(
        "two-boundaries", "in MIME that names two boundaries", lambda limits: _two_boundaries(),
        "nothing (CVE-2024-28054 was about this); ask who makes it",
    ),
    Sample(
        "signed", "as an attachment of a signed mail", lambda limits: _signed(), SHOWN_OTHERWISE,
    ),
    Sample(
        "folded", "under a header with a line of blanks", lambda limits: _folded(),
        SHOWN_OTHERWISE,
    ),
    Sample(
        "semicolon", "under a header that ends with a semicolon", lambda limits: _alone(b";"),
        SHOWN_OTHERWISE,
    ),
    Sample(
        "open-quote", "under a header with a quote that is not closed",
        lambda limits: _alone(b"", b'"eicar.com'), SHOWN_OTHERWISE,
    ),
    Sample(
        "two-types", "under a header with two types",
        lambda limits: _alone(b"\nContent-Type: message/rfc822"),
        SHOWN_OTHERWISE,
    ),
    Sample(
        "long-mail", "in a mail over MaxFileSize", lambda limits: _long(limits, "MaxFileSize"),
        "AlertExceedsMax yes, and MaxFileSize above message_size_limit", limit="MaxFileSize",
    ),
    Sample(
        "long-stream", "in a mail over StreamMaxLength",
        lambda limits: _long(limits, "StreamMaxLength"),
        "StreamMaxLength above message_size_limit", limit="StreamMaxLength", stream=True,
    ),
    Sample(
        "large-file", "after a file over MaxFileSize, in a small zip",
        lambda limits: mail(archives.blown_up(limits["MaxFileSize"] + MEGABYTE), "a.zip"),
        "MaxScanSize equal to MaxFileSize, with AlertExceedsMax yes (clamav#633)",
        limit="MaxFileSize",
    ),
    Sample(
        "large-scan", "after files over MaxScanSize, in a small zip",
        lambda limits: mail(archives.blown_up(limits["MaxScanSize"] + MEGABYTE, 8), "a.zip"),
        "AlertExceedsMax yes", limit="MaxScanSize",
    ),
    Sample(
        "deep", "in more zips in one another than MaxRecursion",
        lambda limits: mail(archives.nested(limits["MaxRecursion"] + 2), "a.zip"),
        "AlertExceedsMax yes", limit="MaxRecursion",
    ),
    Sample(
        "many-files", "after more files in a zip than MaxFiles",
        lambda limits: mail(archives.many(limits["MaxFiles"] + 1), "a.zip"),
        "AlertExceedsMax yes", limit="MaxFiles",
    ),
)  # fmt: skip
