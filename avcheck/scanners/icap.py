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

A 204 alone proves no scan: c-icap sends it, with the same words, for files over MaxObjectSize,
for types that are not in ScanFileTypes, and for all files if no engine is loaded (Debian's
virus_scan.conf loads none).  But that one comes after the preview, before the server has the
message.  So the preview, which is meant to save time, serves as a proof: it is always shorter
than the message, and a server that does not ask for the rest has not scanned it.  A server
that wants no preview shows by answering before the end that it has not; to see that, the last
byte is kept back for a moment.

The other way to pass is the whole page, unchanged.  It is compared with what we sent: with a
mode other than "simple" c-icap begins to return a large file before it has scanned it, and
the only sign of a virus is then that the end is missing.

Sources: RFC 3507; observed with c-icap 0.5.10 and its virus_scan 0.5.5 (the source of which
has the rules above: must_scanned, virus_scan_check_preview_handler).

Decided: RESPMOD if the server has it, else REQMOD, because some scanners take uploads
only (Nextcloud's default).  Both heads are always sent, which all products but one are
known to take, and the name and type are those of a mail message.
Decided: OPTIONS is sent each time: it costs one round trip, a process that lives for one
message has nowhere to keep the answer, and it finds out about a wrong service before 4 MB
are sent there.  "Connection: close" after it is followed by a second connection.
"""

from __future__ import annotations

from avcheck import unix
from avcheck.exits import BROKEN, CONFIG, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners.icap_found import found_for_sure, parse_found
from avcheck.scanners.icap_head import (
    NO_HEAD,
    Head,
    parse_cut_head,
    parse_head,
    parse_sections,
    parse_size,
)
from avcheck.scanners.icap_offer import Offer, parse_options, request, service_of
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

# Seconds for which a server that wants no preview does not get the last byte (Conn.quiet).  One
# that lets the message pass by its head alone says so at once (c-icap); one that scans it waits
# for all of it.
GRACE = 0.1

# What is compared of a page at once.
PIECE = 64 * 1024

_UNENDED = "a chunk that does not end where it says"
_UNSEEN = "let the message pass without having seen all of it"


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask the server about the message."""
    size = message.seen
    host = b"localhost" if conn.address.path else conn.address.spelled()
    service = service_of(host, target.path)
    offer = _offer(conn, service, host)
    if offer.closes:
        conn.again()

    # Always less than the message, so that the server has to ask for the rest.
    preview = min(offer.preview, size - 1)
    conn.send(request(offer, service, host, size, preview))
    head, whole, begun = _send_body(conn, message, size, preview)

    page, unchanged = NO_HEAD, False
    finding = parse_found(head, page, offer.method)
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
    """What an incomplete or malformed reply found."""
    first, _, rest = reply.partition(b"\r\n\r\n")
    head = parse_cut_head(first)
    has_page = b"-hdr" in head.get(b"encapsulated")
    page = parse_cut_head(rest.partition(b"\r\n\r\n")[0]) if has_page else NO_HEAD
    _, end, after = rest.rpartition(b"\r\n0\r\n")
    trailers = parse_cut_head(b"\r\n" + after) if end else NO_HEAD
    finding = found_for_sure(head, page) or found_for_sure(trailers, NO_HEAD)
    if finding is None:
        raise unexpected(first)
    return finding


def _offer(conn: Conn, service: bytes, host: bytes) -> Offer:
    """What the service says to OPTIONS."""
    conn.send(
        b"OPTIONS %b ICAP/1.0\r\nHost: %b\r\nEncapsulated: null-body=0\r\n\r\n" % (service, host)
    )
    head = _head(conn)
    offer = parse_options(head)
    if b"opt-body" in head.get(b"encapsulated"):
        _skip_body(conn)
    return offer


def _send_body(conn: Conn, message: Message, size: int, preview: int) -> tuple[Head, bool, bool]:
    """Send the message, the preview first (-1: none), and read the head of the reply.

    The second value tells whether the server had the whole message when it replied, the third
    whether it may have begun to return the page before that.
    """
    if preview >= 0:
        _send_chunk(conn, message, 0, preview)
        conn.send(b"0\r\n\r\n")
        head = _head(conn)
        if head.status != 100 or head.odd:
            return head, False, False
    else:
        conn.quiet = max(conn.quiet, GRACE)
    _send_chunk(conn, message, max(preview, 0), size)
    conn.send(b"0\r\n\r\n")
    head = _head(conn)
    # A server that has asked for the rest may begin to return the page while it scans it,
    # and keeps the end of it back until it has.
    begun = preview >= 0 and head.status == 200
    return head, begun or not conn.early, begun


def _send_chunk(conn: Conn, message: Message, start: int, end: int) -> None:
    """That part of the file as one chunk: the size of a chunk has no limit in HTTP/1.1."""
    if end > start:
        conn.send(b"%x\r\n" % (end - start))
        conn.send_file(message.fd, start, end - start)
        conn.send(b"\r\n")


def _head(conn: Conn) -> Head:
    """The next head of a reply, up to its empty line."""
    return parse_head(b"\r\n".join([*_lines(conn, "a head"), b"", b""]))


def _lines(conn: Conn, what: str) -> list[bytes]:
    """The lines up to the empty one."""
    lines = []
    while line := conn.line(b"\r\n"):
        lines.append(line)
        if len(lines) > LINES_MAX:
            raise Defer(f"{what} of more than {LINES_MAX} lines", BROKEN)
    return lines


def _skip_body(conn: Conn) -> None:
    left = OPTIONS_BODY_MAX
    while size := parse_size(conn.line(b"\r\n")):
        left -= size
        if left < 0:
            raise Defer(f"a reply to OPTIONS of more than {OPTIONS_BODY_MAX} bytes", BROKEN)
        if not conn.exactly(size + 2).endswith(b"\r\n"):
            raise Defer(_UNENDED, BROKEN)
    _end_of_chunks(conn)


def _end_of_chunks(conn: Conn) -> None:
    """The trailers, if there are any, and the empty line; raises Defer if one tells of a find."""
    trailers = [b"", *_lines(conn, "trailers")]
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
            if piece != unix.pread(message.fd, len(piece), at):
                return False
            at += len(piece)
            chunk -= len(piece)
        if conn.exactly(2) != b"\r\n":
            raise Defer(_UNENDED, BROKEN)
    _end_of_chunks(conn)
    return at == size


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
    raise unexpected(head.first)
