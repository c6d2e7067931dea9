r"""f-protd, the daemon of F-Prot 3 and 4.

    C: GET /the/path?-dumb%20-archive%20-packed HTTP/1.0\r\n\r\n
    S: HTTP/1.0 200 OK\r\nServer: fprotd\r\nContent-Type: text/xml\r\n\r\n
    S: <?xml version="1.0"?>\n
    S: <fprot-results version="1.0">\n
    S: <filename>/the/path</filename>\n
    S: <detected type="virus"><name>EICAR_Test_File</name>...</detected>\n   for each
    S: <summary code="11">infected</summary>\n
    S: </fprot-results>\n                 and the end of the stream

CLEAN is one summary, of code 7 or 9 and the word clean in any case, nothing detected, and
the end of the root element.  A daemon that is updated moves to the next port, so five are tried.
Source: the clients of Exim, HAVP and MIMEDefang.

The path is part of a URL, so it cannot have blanks, percent signs or question marks.
"""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer, unexpected
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, UNSCANNABLE, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

# Look at every file (dumb), into archives, and into packed programs.
OPTIONS = b"-dumb%20-archive%20-packed"

CLASSES: dict[bytes, Verdict] = {
    b"3": UNSCANNABLE,  # of an unknown kind, or corrupt
    b"4": ENCRYPTED,
    b"7": CLEAN,
    b"9": CLEAN,
    b"11": INFECTED,
    b"13": INFECTED,  # and disinfected, which we do not ask for
}

# A reply has some hundred bytes for each thing found.
REPLY_MAX = 1 << 20

END = b"</fprot-results>"


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask f-protd about the message."""
    if any(byte <= 0x20 or byte in b"%?#\x7f" for byte in message.path):
        raise Defer("f-protd takes no blank, %, ? or # in the path of the spool directory", CONFIG)
    conn.send(b"GET " + message.path + b"?" + OPTIONS + b" HTTP/1.0\r\n\r\n")
    return parse(conn.rest(REPLY_MAX))


def parse(reply: bytes) -> Finding:
    """The finding that a whole reply means; Defer for any other."""
    head, _, body = reply.replace(b"\r\n", b"\n").partition(b"\n\n")
    version, _, status = head.partition(b"\n")[0].partition(b" ")
    names = _texts(body, b"<name>", b"</name>")
    summaries = _texts(body, b"<summary ", b"</summary>")
    said = summaries[0] if len(summaries) == 1 else b""
    code, _, word = said.removeprefix(b'code="').partition(b'">')
    verdict = CLASSES.get(code)
    if names or b"<detected" in body:
        verdict = INFECTED
    served = version.startswith(b"HTTP/1.") and status.partition(b" ")[0] == b"200"
    whole = served and body.rstrip().endswith(END)
    alone = body.count(END) == body.count(b"<summary ") == 1
    if verdict is CLEAN and not (word.lower() == b"clean" and alone):
        verdict = None
    if verdict is None or (verdict is not INFECTED and not whole):
        raise unexpected(said or reply)
    return Finding(verdict, tuple(names), word)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    for code, verdict in CLASSES.items():
        if verdict is INFECTED and b'<summary code="' + code + b'"' in reply:
            return Finding(INFECTED, tuple(_texts(reply, b"<name>", b"</name>")), b"infected")
    return parse(reply)


def _texts(body: bytes, begin: bytes, end: bytes) -> list[bytes]:
    """What stands between begin and end, each time."""
    return [part.partition(end)[0].strip() for part in body.split(begin)[1:] if end in part]
