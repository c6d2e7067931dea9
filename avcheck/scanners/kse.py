r"""Kaspersky Scan Engine in HTTP mode (the daemon is called kavhttpd).

    C: POST /scanmemory HTTP/1.0\r\n       the bytes; /scanfile for the path of a file
    C: Host: av.example:9999\r\n
    C: Connection: close\r\n
    C: Content-Length: 4096\r\n            it has to be there
    C: X-KAV-ProtocolVersion: 1\r\n
    C: X-KAV-Timeout: 30000\r\n            from timeout=30; milliseconds
    C: X-KAV-ObjectURL: [from:a@example.org]\r\n
    C: Authorization: SldYQT...\r\n        from token-file=/etc/avcheck/kse-token
    C: \r\n<4096 bytes>

    S: HTTP/1.0 200 OK\r\n
    S: Server: KAVHTTPD/1.0\r\n
    S: Content-Length: 22\r\n
    S: \r\n
    S: DETECT EICAR-Test-File              found
    S: CLEAN                               nothing found
    S: CLEAN AND CONTAINS OFFICE MACRO
    S: NON_SCANNED (PASSWORD PROTECTED)    also CORRUPTED, SKIPPED, CANCELED, ACCESS DENIED
    S: SERVER_ERROR

Sources: the online help of Kaspersky Scan Engine 1.0 and 2.1 ("Making requests in HTTP
mode via KAV protocol versions 1 and 2", "Scan results for the HTTP client", "API token
authorization"), and rspamd's client kaspersky_se.  1.0 says DETECTED and NOT_SCANNED
where 2.1 says DETECT and NON_SCANNED.

Decided: version 1 of the protocol.  Version 3 could tell all the names in an archive, but
wants the message in base64 in a JSON document, which has to be in memory on both sides.
Decided: HTTP/1.0, as in the vendor's examples, so that no reply comes in chunks; and a
reply without Content-Length is none, because CLEAN is also the beginning of another.
Decided: NON_SCANNED is about the object (the vendor's statistics count it so) and will be
said again, but CANCELED and ACCESS DENIED are the daemon's, as SERVER_ERROR is.
Decided: the token is read from a file, because everybody can see the arguments of a process.
Decided: no default place.  The vendor's sample has its socket in /tmp, where anybody can
listen while the daemon does not.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, REFUSED, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners import class_of_name
from avcheck.scanners.rows import PATH
from avcheck.verdict import CLEAN, ENCRYPTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Headers of a reply (eight have been seen), and its bytes: a word and a name.
HEADERS_MAX = 100
REPLY_MAX = 8192

# The seconds that X-KAV-Timeout can hold, in milliseconds in an unsigned 32-bit integer.
TIMEOUT_MAX = 4294967

# What the vendor suggests when the sender is unknown.
NOBODY = b"test@relay.example"

_MACRO = b" AND CONTAINS OFFICE MACRO"
_DETECTED = (b"DETECT", b"DETECTED", b"DISINFECTED", b"DELETED")

# Names that are not (certainly) a virus; the first that a name begins with decides.
CLASSES: tuple[tuple[bytes, Verdict], ...] = (
    (b"not-a-virus:", POLICY),
    (b"ADWARE_URL", POLICY),
    (b"RISKWARE_URL", POLICY),
    (b"PHISHING_URL", SUSPICIOUS),
    (b"HEUR:not-a-virus:", POLICY),
    (b"HEUR:Phish", SUSPICIOUS),
    (b"UDS:Phish", SUSPICIOUS),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask the daemon about the message."""
    check(target)
    path = message.path if target.way == PATH else b""
    size = message.seen
    host = b"localhost" if conn.address.path else conn.address.spelled()
    conn.send(request(host, path, size, message.sender, target.parameters))
    if path:
        conn.send(path)
    else:
        conn.send_file(message.fd, 0, size)

    status = conn.line(b"\r\n")
    headers = []
    while header := conn.line(b"\r\n"):
        headers.append(header)
        if len(headers) > HEADERS_MAX:
            raise Defer(f"a reply with more than {HEADERS_MAX} headers", BROKEN)
    return parse(status, conn.exactly(parse_length(status, headers)))


def check(target: Target) -> None:
    """Raise Defer where the parameters cannot be sent."""
    seconds = target.parameters.get("timeout", b"0")
    if not seconds.isdigit() or int(seconds) > TIMEOUT_MAX:
        raise Defer(f"timeout={printable(seconds)}: a whole number of seconds", CONFIG)
    header = target.parameters.get("token-header", b"")
    if not all(0x20 < byte < 0x7F and byte != ord(":") for byte in header):
        raise Defer(f"token-header={printable(header)}: the name of a header", CONFIG)


def request(
    host: bytes, path: bytes, size: int, sender: bytes, parameters: Mapping[str, bytes]
) -> bytes:
    """Everything before the body, which is the path, or the message (path is empty)."""
    lines = [
        b"POST %b HTTP/1.0" % (b"/scanfile" if path else b"/scanmemory"),
        b"Host: " + host,
        b"Connection: close",
        b"Content-Type: application/octet-stream",
        b"Content-Length: %d" % (len(path) if path else size),
        b"X-KAV-ProtocolVersion: 1",
    ]
    if seconds := parameters.get("timeout"):
        lines.append(b"X-KAV-Timeout: %d000" % int(seconds))
    lines.append(b"X-KAV-ObjectURL: [from:%b]" % _told(sender))
    if file := parameters.get("token-file"):
        name = parameters.get("token-header", b"Authorization")
        lines.append(name + b": " + _token(file))
    return b"\r\n".join([*lines, b"", b""])


def _told(sender: bytes) -> bytes:
    """The sender, if that can stand in a header and in brackets."""
    fits = sender and all(0x20 < byte < 0x7F and byte not in b"[]" for byte in sender)
    return sender if fits else NOBODY


def _token(file: bytes) -> bytes:
    try:
        with open(file, "rb") as opened:
            token = opened.read(REPLY_MAX).strip()
    except OSError as why:
        raise Defer(f"token-file {printable(file)}: {why.strerror}", CONFIG) from why
    if not token or not all(0x20 <= byte < 0x7F for byte in token):
        raise Defer(f"token-file {printable(file)}: one line, the token, and no more", CONFIG)
    return token


def parse_length(status: bytes, headers: list[bytes]) -> int:
    """How long the body of the reply is; Defer if that is not said, or too long."""
    lengths = set()
    for header in headers:
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length":
            lengths.add(value.strip(b" \t"))
    length = lengths.pop() if len(lengths) == 1 else b""
    if not length.isdigit():
        _refused(status)
        raise Defer(f"unexpected reply {printable(status, 200)!r} without its length", BROKEN)
    if len(length) > 10 or int(length) > REPLY_MAX:
        raise Defer(f"a reply of more than {REPLY_MAX} bytes", BROKEN)
    return int(length)


def _refused(status: bytes, body: bytes = b"") -> None:
    """Raise Defer, with the text of the reply, unless its status is 200."""
    version, _, rest = status.partition(b" ")
    code = rest[:3]
    if version in (b"HTTP/1.0", b"HTTP/1.1") and code == b"200" and rest[3:4] in (b"", b" "):
        return
    said = printable(status + b" " + body, 200)
    if code in (b"401", b"403"):
        raise Defer(f"{said}; is the token in token-file?", CONFIG)
    raise Defer(f"unexpected reply {said!r}", REFUSED if code.isdigit() else BROKEN)


def parse(status: bytes, body: bytes) -> Finding:
    """The finding that a whole reply means: its status line and its body; Defer for any other."""
    _refused(status, body)
    answer = body.rstrip(b"\r\n ")
    bare = answer.removesuffix(_MACRO)
    macro = answer != bare
    result, _, name = bare.partition(b" ")
    if result in _DETECTED:
        return Finding(class_of_name(name, CLASSES), (name,) if name else (), answer)
    if result in (b"NON_SCANNED", b"NOT_SCANNED"):
        return Finding(POLICY if macro else _unscanned(name, answer), (), answer)
    if answer == b"CLEAN" + _MACRO:
        return Finding(POLICY, (), answer)
    if answer == b"CLEAN":
        return Finding(CLEAN, (), answer)
    raise unexpected(answer)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    head, _, body = reply.replace(b"\r\n", b"\n").partition(b"\n\n")
    return parse(head.partition(b"\n")[0], body)


def _unscanned(reason: bytes, answer: bytes) -> Verdict:
    if reason == b"(PASSWORD PROTECTED)":
        return ENCRYPTED
    if reason == b"(ACCESS DENIED)":
        raise Defer(f"{printable(answer)}: may the daemon read the spool file?", CONFIG)
    if reason == b"(CANCELED)":
        raise Defer(answer, REFUSED)
    return UNSCANNABLE
