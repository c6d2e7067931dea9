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
scanned it.  Where the server wants no preview, that it answers before the end says so.

The other way to pass is the whole page, unchanged.  It is compared with what we sent:
with a mode other than "simple" c-icap begins to return a large file before it has
scanned it, and all that tells of a virus then is that the end is missing.

Which header tells of what is found differs by product; the order is that of _headers(),
the ICAP head comes before that of the page, and the first that speaks decides.

Sources: RFC 3507; draft-stecher-icap-subid (X-Infection-Found, X-Violations-Found);
observed with c-icap 0.5.10 and its virus_scan 0.5.5 (the source of which has the rules
above: must_scanned, virus_scan_check_preview_handler), the online help of Kaspersky Scan
Engine 2.1 ("Response headers", ICAP mode), rspamd's and Nextcloud's clients for the rest.

decided: RESPMOD if the server has it, else REQMOD, because scanners that take uploads
only exist (Nextcloud's default).  Both heads are always sent, which all but one
product in the field is known to take, and the name and type are those of a mail.
decided: OPTIONS is asked each time: it costs one answer of the server, a process that
lives for one message has nowhere to keep it, and it says what 4 MB sent to the wrong
service would.  "Connection: close" after it is followed by a second connection.
decided: 403 is a block without a name.  A page with status 500 or more is the server's
trouble and not a verdict.
decided: the problem id in X-Violations-Found is no class: Kaspersky and Symantec put the
number of a virus there.
"""

from __future__ import annotations

import os

from avcheck.exits import BROKEN, CONFIG, REFUSED, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Lines of a head, c-icap takes 64 itself, and bytes of the head of a page: the page is
# ours or a small one, whose head has a few lines.
LINES_MAX = 200
PAGE_HEAD_MAX = 64 * 1024

# Bytes of the body that a reply to OPTIONS may have; none is known that has one.
OPTIONS_BODY_MAX = 64 * 1024

# What is compared of a page at once.
PIECE = 64 * 1024

_REQUEST = b"GET http://mail.invalid/message.eml HTTP/1.1\r\nHost: mail.invalid\r\n\r\n"
_UPLOAD = b"POST http://mail.invalid/message.eml HTTP/1.1\r\nHost: mail.invalid\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\n"
_CONTENT = b"Content-Type: message/rfc822\r\nContent-Length: %d\r\n\r\n"

_HEX = b"0123456789abcdefABCDEF"

# Words of a reason (a sentence, never a name) and what it is a reason for.
_REASONS: tuple[tuple[bytes, Verdict], ...] = (
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
    (b"macro", POLICY),
    (b"adware", POLICY),
    (b"riskware", POLICY),
    (b"legitimate software", POLICY),
    (b"media type", POLICY),
    (b"phishing", SUSPICIOUS),
    (b"suspicious", SUSPICIOUS),
    (b"not supported", UNSCANNABLE),  # McAfee: "Archive not supported"
    (b"corrupt", UNSCANNABLE),
)


class Head:
    """Status line and headers of a reply, or of a page; no head at all is false.

    status is 0 for the head of a request.
    """

    __slots__ = ("first", "headers", "status")

    def __init__(self, first: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        version, _, rest = first.partition(b" ")
        code = rest[:3]
        known = version.startswith((b"ICAP/1.", b"HTTP/1.")) and len(version) == 8
        self.first = first
        self.status = int(code) if known and code.isdigit() and rest[3:4] in (b"", b" ") else 0
        self.headers = headers

    def __bool__(self) -> bool:
        return bool(self.first)

    def every(self, name: bytes) -> list[bytes]:
        """The values of a header, their continuation lines after LF."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: bytes) -> bytes:
        """The value of a header, empty if it is not there."""
        return b", ".join(self.every(name))

    def words(self, name: bytes) -> list[bytes]:
        """The value as a list, in lower case."""
        return [word.strip().lower() for word in self.get(name).split(b",") if word.strip()]


NO_HEAD = Head(b"", [])


class Offer:
    """What the service says of itself: how to ask it.  preview is -1 if it wants none."""

    __slots__ = ("allow_204", "closes", "method", "preview")

    def __init__(self, method: bytes, preview: int, allow_204: bool, closes: bool) -> None:
        self.method = method
        self.preview = preview
        self.allow_204 = allow_204
        self.closes = closes


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask the server about the message, its first line (Return-Path) included."""
    size = message.start + message.size
    host = b"localhost" if conn.address.path else conn.address.spelled()
    # After the path of a Unix-domain socket there is no place for that of a service.
    service = b"icap://" + host + _path(target.path or b"/avscan")
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
    whole = True
    if preview >= 0:
        _send_chunk(conn, message, 0, preview)
        conn.send(b"0\r\n\r\n")
        head = _head(conn)
        whole = head.status == 100
    if whole:
        _send_chunk(conn, message, max(preview, 0), size)
        early = conn.pending()
        conn.send(b"0\r\n\r\n")
        head = _head(conn)
        # Who has asked for the rest may begin to return the page while he scans it,
        # and keeps its end back until he has.
        whole = not early or (preview >= 0 and head.status == 200)

    finding = parse_found(head, NO_HEAD, offer.method)
    unchanged = False
    if finding is None and head.status == 200:
        sections = parse_sections(head)
        page = parse_head(conn.exactly(sections.page_head))
        finding = parse_found(head, page, offer.method)
        if finding is None:
            unchanged = sections.body and _comes_back(conn, message, size)
    if finding is None:
        finding = parse_passed(head, whole, unchanged, target.path)
    if finding.verdict is CLEAN and (conn.pending() or conn.gone):
        raise Defer("said more, or hung up, where its answer should have ended", BROKEN)
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
        conn.exactly(size + 2)
    _end_of_chunks(conn)


def _end_of_chunks(conn: Conn) -> None:
    """Trailers, if there are any, and the empty line."""
    for _ in range(LINES_MAX):
        if not conn.line(b"\r\n"):
            return
    raise Defer(f"more than {LINES_MAX} trailers", BROKEN)


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
            raise Defer("a chunk that does not end where it says", BROKEN)
    _end_of_chunks(conn)
    return at == size


# From here on everything is pure.


def parse_head(words: bytes) -> Head:
    """The head in the bytes, which end in its empty line; Defer for any others."""
    if not words:
        return NO_HEAD
    lines = words.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if not words.endswith(b"\r\n\r\n") or not all(lines):
        raise Defer(f"unexpected reply {printable(words, 200)!r}", BROKEN)
    headers: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):  # belongs to the line before
            if not headers:
                raise Defer(f"unexpected reply {printable(words, 200)!r}", BROKEN)
            name, value = headers[-1]
            headers[-1] = (name, value + b"\n" + line.strip())
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise Defer(f"unexpected reply {printable(words, 200)!r}", BROKEN)
        headers.append((name.strip().lower(), value.strip()))
    return Head(lines[0], headers)


def parse_size(line: bytes) -> int:
    """The size in the line before a chunk; Defer for any other line."""
    digits = line.partition(b";")[0].strip()
    if digits and len(digits) <= 16 and not digits.strip(_HEX):
        return int(digits, 16)
    raise Defer(f"unexpected reply {printable(line, 80)!r} for the size of a chunk", BROKEN)


def parse_options(head: Head) -> Offer:
    """How to ask the service; Defer if it cannot be asked."""
    _refused(head)
    if not head.first.startswith(b"ICAP/") or head.status != 200:
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
    preview = head.get(b"preview")
    wants = preview.isdigit() and len(preview) < 10
    # Files that it wants to have at once, by the ending of their names.
    if {b"*", b"eml"}.intersection(head.words(b"transfer-complete")):
        wants = False
    return Offer(
        method,
        int(preview) if wants else -1,
        b"204" in head.words(b"allow"),
        b"close" in head.words(b"connection"),
    )


class Sections:
    """What a reply encapsulates: the size of a page's head, and whether a body follows it."""

    __slots__ = ("body", "page_head")

    def __init__(self, page_head: int, body: bool) -> None:
        self.page_head = page_head
        self.body = body


def parse_sections(head: Head) -> Sections:
    """What the header Encapsulated lists; Defer for what it cannot be."""
    body = False
    at = 0
    value = head.get(b"encapsulated")
    for word in value.split(b",") if value else []:
        name, equals, offset = word.strip().partition(b"=")
        if not equals or not offset.isdigit() or len(offset) > 9 or int(offset) < at or body:
            raise Defer(f"unexpected reply {printable(value, 200)!r} in Encapsulated", BROKEN)
        at = int(offset)
        body = name.lower().endswith(b"-body") and name.lower() != b"null-body"
    if at > PAGE_HEAD_MAX:
        raise Defer(f"a page whose head has more than {PAGE_HEAD_MAX} bytes", BROKEN)
    return Sections(at, body)


def _refused(head: Head) -> None:
    """Raise Defer, with what to do, for a status that says no."""
    said = printable(head.first, 200)
    if head.status in (404, 405):
        raise Defer(f"{said}; is the service in WHERE the right one?", CONFIG)
    if head.status in (539, 551, 558):  # Symantec
        raise Defer(f"{said}; a matter of its licence?", CONFIG)
    if head.status >= 400:
        raise Defer(said, REFUSED)


def parse_found(head: Head, page: Head, method: bytes) -> Finding | None:
    """What the server has found, or None if no word says that it has found something.

    Raises Defer if it says that it could not look.
    """
    for reply in (head, page):
        finding = _headers(reply)
        if finding:
            return finding
    if head.status in (201, 403):  # 201 of Symantec: repaired
        return _blocked(head.first)
    _refused(head)
    if head.status == 200 and page.status:
        # REQMOD is answered with a page only if the upload is not to be.
        if 300 <= page.status < 500 or (method == b"REQMOD" and page.status < 500):
            return _blocked(page.first)
        if page.status != 200:
            raise Defer(f"returned a page with {printable(page.first, 200)!r}", REFUSED)
    return None


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


def _headers(reply: Head) -> Finding | None:
    """What the headers of one head say; None if they say nothing of the kind."""
    for read in (_infection, _virus, _fsecure, _block, _blocked_by, _info):
        finding = read(reply)
        if finding:
            return finding
    return None


def _infection(reply: Head) -> Finding | None:
    """X-Infection-Found: Type=0; Resolution=2; Threat=NAME; and X-Violations-Found.

    The latter lists them all: a count, and for each its file, description, problem and
    resolution, on lines of their own.
    """
    said = reply.every(b"x-infection-found")
    found = [*map(_threat, said), *_violations(reply)]
    if not found:
        return None
    # Only where the first header is missing, a class is guessed from the second.
    verdict = min([kind for kind, _ in found[: len(said)] or found], key=lambda each: each.rank)
    names = tuple([name for _, every in found for name in every])
    if not names:  # McAfee Web Gateway 9 has a text of its own in place of the three words
        others = (reply.get(b"x-virus-name"), reply.get(b"x-virus-id"), *said)
        names = next(filter(None, map(_names, others)), ())
    return Finding(verdict, names, b" ".join(said) or b"X-Violations-Found")


def _threat(infection: bytes) -> tuple[Verdict, tuple[bytes, ...]]:
    """Class and names in an X-Infection-Found."""
    parts: dict[bytes, bytes] = {}
    for part in infection.split(b";"):
        key, _, value = part.partition(b"=")
        parts[key.strip().lower()] = value.strip()
    names = _names(parts.get(b"threat", b""))
    if parts.get(b"type") == b"1":  # against a policy for mail
        return POLICY, names
    if parts.get(b"type") == b"2":  # a container that cannot be opened
        return (ENCRYPTED if _reason(infection) is ENCRYPTED else UNSCANNABLE), names
    return INFECTED, names


def _violations(reply: Head) -> list[tuple[Verdict, tuple[bytes, ...]]]:
    """Class and name of each violation; Symantec appends what is no virus."""
    _, *lines = reply.get(b"x-violations-found").split(b"\n")
    found: list[tuple[Verdict, tuple[bytes, ...]]] = []
    for description in lines[1::4]:
        name, no_virus, _ = description.partition(b"|NonViralThreat=")
        found.append((POLICY if no_virus else INFECTED, (name,)))
    return found


def _virus(reply: Head) -> Finding | None:
    for header in (b"x-virus-name", b"x-virus-id"):
        value = reply.get(header)
        if value and value.lower() != b"no threats":  # Kaspersky Web Traffic Security
            return Finding(INFECTED, _names(value), value)
    return None


def _fsecure(reply: Head) -> Finding | None:
    result = reply.get(b"x-fsecure-scan-result").lower()
    name = reply.get(b"x-fsecure-infection-name").strip(b'"')
    if result in (b"", b"clean") and not name:
        return None
    verdict = {b"suspected": SUSPICIOUS, b"suspicious": SUSPICIOUS, b"riskware": POLICY}
    if result not in verdict and not name and result not in (b"infected", b"disinfected"):
        raise Defer(f"unexpected X-FSecure-Scan-Result {printable(result, 80)!r}", BROKEN)
    return Finding(verdict.get(result, INFECTED), (name,) if name else (), result)


def _block(reply: Head) -> Finding | None:
    """McAfee, Trellix, Skyhigh; only where the administrator has made such rules."""
    for header in (b"x-block-reason", b"x-mwg-block-reason"):
        if reason := reply.get(header):
            return _blocked(reason)
    result = reply.get(b"x-block-result")
    return _blocked(b"X-Block-Result: " + result) if result.strip(b"0") else None


def _blocked_by(reply: Head) -> Finding | None:
    """Sophos."""
    for header in (b"x-blocked", b"x-blocked-by"):
        if reason := reply.get(header):
            return _blocked(reason)
    return None


def _info(reply: Head) -> Finding | None:
    """Kaspersky, OPSWAT, ESET."""
    info = reply.get(b"x-response-info").lower()
    reason = reply.get(b"x-blocked-reason") or reply.get(b"x-response-desc")
    if info == b"blocked":
        return _blocked(reason or info)
    if info not in (b"", b"passed", b"allowed", b"options"):
        raise Defer(f"unexpected X-Response-Info {printable(info, 80)!r}", BROKEN)
    return None


def _names(value: bytes) -> tuple[bytes, ...]:
    return tuple([name.strip() for name in value.split(b",") if name.strip()])


def _blocked(reason: bytes) -> Finding:
    """Blocked, with a reason and no name."""
    return Finding(_reason(reason), (), b"blocked: " + reason)


def _reason(words: bytes) -> Verdict:
    words = words.lower()
    for word, verdict in _REASONS:
        if word in words:
            return verdict
    return INFECTED
