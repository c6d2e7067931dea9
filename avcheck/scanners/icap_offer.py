"""What an ICAP service says of itself, and the request that it is sent.  Pure.

Source: RFC 3507, 4.5 (preview), 4.6 (204), 4.10 (OPTIONS).
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, Defer
from avcheck.printable import printable
from avcheck.scanners.icap_found import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.scanners.icap_head import Head

_REQUEST = b"GET http://mail.invalid/message.eml HTTP/1.1\r\nHost: mail.invalid\r\n\r\n"
_UPLOAD = b"POST http://mail.invalid/message.eml HTTP/1.1\r\nHost: mail.invalid\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\n"
_CONTENT = b"Content-Type: message/rfc822\r\nContent-Length: %d\r\n\r\n"


# Headers that list files by the ending of their names: not to be sent, to be sent at once, and
# after a preview.
IGNORE, COMPLETE, PREVIEW = b"transfer-ignore", b"transfer-complete", b"transfer-preview"


class Offer:
    """What the service says of itself: how to ask it.  preview is -1 if it wants none."""

    __slots__ = ("allow_204", "closes", "method", "preview")

    def __init__(self, method: bytes, preview: int, allow_204: bool, closes: bool) -> None:
        self.method = method
        self.preview = preview
        self.allow_204 = allow_204
        self.closes = closes


def parse_options(head: Head) -> Offer:
    """How to ask the service; Defer if it cannot be asked."""
    refused(head)
    if not head.first.startswith(b"ICAP/") or head.status != 200 or head.odd:
        raise Defer(f"unexpected reply to OPTIONS {printable(head.first, 200)!r}", BROKEN)
    methods = head.items(b"methods")
    if b"respmod" in methods:
        method = b"RESPMOD"
    elif b"reqmod" in methods:
        method = b"REQMOD"
    else:
        said = printable(head.get(b"methods"))
        raise Defer(f"this service scans nothing: its methods are {said!r}", CONFIG)
    if b"echo" in head.get(b"service").lower():  # c-icap's, for tests
        raise Defer(f"this service scans nothing: {printable(head.get(b'service'))}", CONFIG)
    wish = _wish(head)
    if wish == IGNORE:
        raise Defer("this service scans no mail: it wants no *.eml (Transfer-Ignore)", CONFIG)
    preview = head.get(b"preview")
    wants = preview.isdigit() and len(preview) < 10 and wish != COMPLETE
    return Offer(
        method,
        int(preview) if wants else -1,
        b"204" in head.items(b"allow"),
        b"close" in head.items(b"connection"),
    )


def _wish(head: Head) -> bytes:
    """Which header wants a file with the ending of our name; none may (RFC 3507, 4.10.2)."""
    for ending in (b"eml", b"*"):
        for header in (IGNORE, COMPLETE, PREVIEW):
            if ending in head.items(header):
                return header
    return b""


def service_of(host: bytes, path: bytes) -> bytes:
    """The address of the service, with nothing in it that would end the request line."""
    quoted = [b"%c" % byte if 0x20 < byte < 0x7F else b"%%%02X" % byte for byte in path]
    return b"icap://" + host + b"".join(quoted)


def request(offer: Offer, service: bytes, host: bytes, size: int, preview: int) -> bytes:
    """Everything before the body."""
    content = _CONTENT % size
    if offer.method == b"RESPMOD":
        first, second = _REQUEST, _RESPONSE + content
        parts = b"req-hdr=0, res-hdr=%d, res-body=%d" % (len(first), len(first) + len(second))
    else:
        first, second = _UPLOAD + content, b""
        parts = b"req-hdr=0, req-body=%d" % len(first)
    return b"".join(
        [
            b"%b %b ICAP/1.0\r\nHost: %b\r\n" % (offer.method, service, host),
            b"X-Client-IP: 127.0.0.1\r\n",  # Kaspersky Web Traffic Security wants one
            b"Allow: 204\r\n" if offer.allow_204 else b"",
            b"Preview: %d\r\n" % preview if preview >= 0 else b"",
            b"Encapsulated: %b\r\n\r\n" % parts,
            first,
            second,
        ]
    )
