"""Mail for the tests: bytes with CRLF, each with a token that tells it from all others."""

from __future__ import annotations

import base64
import os
import re
import textwrap

# The test file that every scanner knows, in two halves: a scanner that looks
# at this source is not to find it.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

TOKEN = re.compile(rb"^X-Token: (\w+)\r?$", re.MULTILINE)


def letter(body: str | bytes = "Hello.\n", *headers: str) -> bytes:
    """A message with this body; line ends become CRLF."""
    head = [
        "From: Anna <anna@example.com>",
        "To: Bert <bert@example.net>",
        "Subject: a test",
        "Date: Fri, 02 Jan 2026 03:04:05 +0000",
        f"Message-ID: <{(token := os.urandom(8).hex())}@example.com>",
        f"X-Token: {token}",
        *headers,
    ]
    raw = body.encode() if isinstance(body, str) else body
    return "\r\n".join(head).encode() + b"\r\n\r\n" + re.sub(rb"\r?\n", b"\r\n", raw)


def with_attachment(content: bytes, name: str = "a.bin") -> bytes:
    """A MIME message with a text and an attachment in base64."""
    encoded = base64.encodebytes(content).decode()
    body = textwrap.dedent(
        f"""\
        --part
        Content-Type: text/plain; charset=us-ascii

        See the attachment.

        --part
        Content-Type: application/octet-stream; name="{name}"
        Content-Transfer-Encoding: base64
        Content-Disposition: attachment; filename="{name}"

        @
        --part--
        """
    ).replace("@\n", encoded)
    return letter(body, "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="part"')


def token(message: bytes) -> str | None:
    """The token in the header of a message, or None; one in its body does not count."""
    head = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0]
    found = TOKEN.search(head)
    return found[1].decode() if found else None
