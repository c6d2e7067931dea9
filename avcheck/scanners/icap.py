r"""ICAP, the protocol between web proxies and content scanners (RFC 3507).

The message goes to the server as the body of a web page that we made up, and comes back
as it was, or not at all (204) if it may pass.

    C: OPTIONS icap://av.example:1344/avscan ICAP/1.0\r\n
    C: Host: av.example:1344\r\nEncapsulated: null-body=0\r\n\r\n

    S: ICAP/1.0 200 OK\r\n
    S: Methods: RESPMOD, REQMOD\r\nAllow: 204\r\nPreview: 1024\r\n
    S: Encapsulated: null-body=0\r\n\r\n

    C: RESPMOD icap://av.example:1344/avscan ICAP/1.0\r\n
    C: Host: av.example:1344\r\nX-Client-IP: 127.0.0.1\r\n
    C: Allow: 204\r\n                     if OPTIONS allowed it
    C: Preview: 1024\r\n                  if OPTIONS asked for one
    C: Encapsulated: req-hdr=0, res-hdr=68, res-body=139\r\n\r\n
    C: GET http://mail.invalid/message.eml HTTP/1.1\r\nHost: mail.invalid\r\n\r\n
    C: HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: 4096\r\n\r\n
    C: 400\r\n<1024 bytes>\r\n0\r\n\r\n

    S: ICAP/1.0 100 Continue\r\n\r\n      or what follows, at once

    C: c00\r\n<the other 3072 bytes>\r\n0\r\n\r\n

    S: ICAP/1.0 204 Unmodified\r\nServer: C-ICAP/0.5.10\r\n\r\n       it may pass
    S: ICAP/1.0 200 OK\r\n                                          found
    S: X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\n
    S: Encapsulated: res-hdr=0, res-body=51\r\n\r\n
    S: HTTP/1.1 403 Forbidden\r\n...      a page for the user, which we do not read

A 204 is what a proxy wants to hear, and it is also what it hears when the server has not
looked: c-icap passes files over MaxObjectSize, of other types than ScanFileTypes, and all
files if no engine is loaded (Debian's virus_scan.conf loads none) with the words that it
has for a clean one.  But it does so when it has seen the preview, before it has the
message.  So the preview, which is for speed, is used as a proof: it is always shorter
than the message, and a server that lets the rest pass without asking for it has not
scanned it.  Where the server wants no preview, that it answers before the end says so, for
which the last byte is kept back for a moment.

The other way to pass is the whole page, unchanged.  It is compared with what we sent:
with a mode other than "simple" c-icap begins to return a large file before it has
scanned it, and all that tells of a virus then is that the end is missing.

Which header tells of what is found differs by product: icap_found.py.

Sources: RFC 3507; observed with c-icap 0.5.10 and its virus_scan 0.5.5 (the source of which
has the rules above: must_scanned, virus_scan_check_preview_handler).

decided: RESPMOD if the server has it, else REQMOD, because scanners that take uploads
only exist (Nextcloud's default).  Both heads are always sent, which all but one
product in the field is known to take, and the name and type are those of a mail.
decided: OPTIONS is asked each time: it costs one answer of the server, a process that
lives for one message has nowhere to keep it, and it says what 4 MB sent to the wrong
service would.  "Connection: close" after it is followed by a second connection.
"""

from __future__ import annotations

import os

from avcheck.exits import BROKEN, CONFIG, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners.icap_found import found_for_sure, parse_found, refused
from avcheck.scanners.icap_head import (
    NO_HEAD,
    Head,
    parse_cut_head,
    parse_head,
    parse_sections,
    parse_size,
)
from avcheck.verdict import CLEAN, INFECTED, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message

# Lines of a head; c-icap takes 64 itself.
LINES_MAX = 200

# Bytes of the body that a reply to OPTIONS may have; none is known that has one.
OPTIONS_BODY_MAX = 64 * 1024

# Seconds for which a server that wants no preview does not get the last byte (Conn.quiet).  Who
# passes the message by its head alone says so at once (c-icap); who scans it waits for all of it.
GRACE = 0.1

# What is compared of a page at once.
PIECE = 64 * 1024

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


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask the server about the message, with what is ours before it."""
    size = message.seen
    host = b"localhost" if conn.address.path else conn.address.spelled()
    service = b"icap://" + host + _path(target.path)
    conn.send(
        b"OPTIONS %b ICAP/1.0\r\nHost: %b\r\nEncapsulated: null-body=0\r\n\r\n" % (service, host)
    )
    head = _head(conn)
    offer = parse_options(head)
    if b"opt-body" in head.get(b"encapsulated"):
        _skip_body(conn)
    if offer.closes:
        conn.again()

    # Always less than the message, so that the server has to ask for the rest.
    preview = min(offer.preview, size - 1)
    conn.send(request(offer, service, host, size, preview))
    whole, begun = True, False
    if preview >= 0:
        _send_chunk(conn, message, 0, preview)
        conn.send(b"0\r\n\r\n")
        head = _head(conn)
        whole = head.status == 100 and not head.odd
    if whole:
        if preview < 0:
            conn.quiet = max(conn.quiet, GRACE)
        _send_chunk(conn, message, max(preview, 0), size)
        conn.send(b"0\r\n\r\n")
        head = _head(conn)
        # Who has asked for the rest may begin to return the page while he scans it,
        # and keeps its end back until he has.
        begun = preview >= 0 and head.status == 200
        whole = begun or not conn.early

    page = NO_HEAD
    finding = parse_found(head, page, offer.method)
    unchanged = False
    if finding is None and head.status == 200:
        sections = parse_sections(head)
        page = parse_head(conn.exactly(sections.page_head))
        finding = parse_found(head, page, offer.method)
        if finding is None:
            unchanged = sections.body and _comes_back(conn, message, size)
            # The end of what has come back is the end of what we sent last.
            conn.early = conn.early and not (begun and unchanged)
    if finding is None:
        finding = parse_passed(head, whole, unchanged, target.path)
    if finding.verdict is CLEAN and (head.odd or page.odd):
        raise Defer(f"a line end of its own in the head {printable(head.first, 200)!r}", BROKEN)
    return finding


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What a reply that is not as it should be has found all the same."""
    words, _, rest = reply.partition(b"\r\n\r\n")
    head = parse_cut_head(words)
    has_page = b"-hdr" in head.get(b"encapsulated")
    page = parse_cut_head(rest.partition(b"\r\n\r\n")[0]) if has_page else NO_HEAD
    _, end, after = rest.rpartition(b"\r\n0\r\n")
    trailers = parse_cut_head(b"\r\n" + after) if end else NO_HEAD
    finding = found_for_sure(head, page) or found_for_sure(trailers, NO_HEAD)
    if finding is None:
        raise unexpected(words)
    return finding


def _path(path: bytes) -> bytes:
    """The path and the query, with nothing in it that would end the request line."""
    return b"".join([b"%c" % byte if 0x20 < byte < 0x7F else b"%%%02X" % byte for byte in path])


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


def _send_chunk(conn: Conn, message: Message, start: int, end: int) -> None:
    """That part of the file as one chunk: the size of a chunk has no limit in HTTP/1.1."""
    if end > start:
        conn.send(b"%x\r\n" % (end - start))
        conn.send_file(message.fd, start, end - start)
        conn.send(b"\r\n")


def _head(conn: Conn) -> Head:
    """The next head of a reply, up to its empty line."""
    lines = []
    while line := conn.line(b"\r\n"):
        lines.append(line)
        if len(lines) > LINES_MAX:
            raise Defer(f"a head of more than {LINES_MAX} lines", BROKEN)
    return parse_head(b"\r\n".join([*lines, b"", b""]))


def _skip_body(conn: Conn) -> None:
    left = OPTIONS_BODY_MAX
    while size := parse_size(conn.line(b"\r\n")):
        left -= size
        if left < 0:
            raise Defer(f"a reply to OPTIONS of more than {OPTIONS_BODY_MAX} bytes", BROKEN)
        if not conn.exactly(size + 2).endswith(b"\r\n"):
            raise Defer(_UNENDED, BROKEN)
    _end_of_chunks(conn)


_UNENDED = "a chunk that does not end where it says"


def _end_of_chunks(conn: Conn) -> None:
    """The trailers, if there are any, and the empty line; raises Defer if one tells of a find."""
    trailers = [b""]
    while line := conn.line(b"\r\n"):
        trailers.append(line)
        if len(trailers) > LINES_MAX:
            raise Defer(f"more than {LINES_MAX} trailers", BROKEN)
    if found_for_sure(parse_cut_head(b"\r\n".join(trailers)), NO_HEAD):
        raise unexpected(b" ".join(trailers))


def _comes_back(conn: Conn, message: Message, size: int) -> bool:
    """Whether the body of the reply is the message, byte by byte; reads no further than that."""
    at = 0
    while chunk := parse_size(conn.line(b"\r\n")):
        if at + chunk > size:
            return False
        while chunk:
            piece = conn.exactly(min(chunk, PIECE))
            if piece != os.pread(message.fd, len(piece), at):
                return False
            at += len(piece)
            chunk -= len(piece)
        if conn.exactly(2) != b"\r\n":
            raise Defer(_UNENDED, BROKEN)
    _end_of_chunks(conn)
    return at == size


# From here on everything is pure.


def parse_options(head: Head) -> Offer:
    """How to ask the service; Defer if it cannot be asked."""
    refused(head)
    if not head.first.startswith(b"ICAP/") or head.status != 200 or head.odd:
        raise Defer(f"unexpected reply to OPTIONS {printable(head.first, 200)!r}", BROKEN)
    methods = head.words(b"methods")
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
        b"204" in head.words(b"allow"),
        b"close" in head.words(b"connection"),
    )


def _wish(head: Head) -> bytes:
    """Which header wants a file with the ending of our name; none may (RFC 3507, 4.10.2)."""
    for ending in (b"eml", b"*"):
        for header in (IGNORE, COMPLETE, PREVIEW):
            if ending in head.words(header):
                return header
    return b""


def parse_passed(head: Head, whole: bool, unchanged: bool, path: bytes) -> Finding:
    """CLEAN if the server lets the message pass, and had all of it when it said so.

    unchanged tells whether the page came back as it went, for a reply that has one.
    """
    icap = head.first.startswith(b"ICAP/")
    if icap and head.status == 200 and not unchanged:
        return Finding(INFECTED, (), "the message came back changed or cut short")
    if icap and head.status in (200, 204):
        if whole:
            return Finding(CLEAN, (), head.first)
        if b"force=on" in path and b"sizelimit=off" in path:
            raise Defer(_UNSEEN + "; has the server an engine to scan with?", CONFIG)
        return Finding(UNSCANNABLE, (), _UNSEEN + ": a filter by type or size?")
    raise Defer(f"unexpected reply {printable(head.first, 200)!r}", BROKEN)


_UNSEEN = "let the message pass without having seen all of it"
