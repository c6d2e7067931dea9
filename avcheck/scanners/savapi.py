r"""SAVAPI 3 and 4, the scanner that Avira sells to makers of other products.

    S: 100 SAVAPI:4.0\n
    C: SET PRODUCT 10776\n                the number that the licence is for
    S: 100 PRODUCT:10776\n
    C: SET ARCHIVE_SCAN 1\n               and so on, see below
    S: 100 ARCHIVE_SCAN:1\n
    C: SCAN /the/path\n
    S: 310 /the/path --> a.com <<< Eicar-Test-Signature ; virus ; Contains ...\n   for each
    S: 319 \n

The code is the first word of a line.  200 (no archive) and 210 (an archive) end a scan
that found nothing, 319 one that did.  Codes from 400 on report something in passing, except
422 and 423, documents with macros.
Source: a SAVAPI client in Python, one in Go, rspamd, amavisd-new.

Decided: in some versions a line that ends the scan follows 350 (an error), in others not, so
we wait for one, but not long.  Of the text after 350 nothing public
is known; encryption and limits are told by it, everything else is the daemon's trouble.
Decided: names class themselves by Avira's prefixes (HEUR/, SPR/, ...).
Decided: ARCHIVE_SCAN and MAILBOX_SCAN are set, because a message is a mailbox in its
terms; the parameter set=NAME%20VALUE;NAME%20VALUE replaces them.
"""

from __future__ import annotations

from avcheck.exits import CONFIG, Defer, unexpected
from avcheck.printable import printable
from avcheck.scanners import class_of_name, class_of_text, lines_of
from avcheck.verdict import (
    ALERTS,
    CLEAN,
    ENCRYPTED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
    worst,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message
    from avcheck.verdict import Verdict

SETTINGS = b"ARCHIVE_SCAN 1;MAILBOX_SCAN 1"

NOTHING = (b"200", b"210")
ALERT = b"310"
ALERTS_END = b"319"
MACROS = (b"422", b"423")
ERROR = b"350"
# Reported in passing: repairable, a document, an address, a frame, low-level information.
ASIDE = (b"401", b"420", b"421", b"430", b"440", b"450", b"499")

BAD = (ALERT, ALERTS_END, *MACROS)

# Seconds for the line that ends the scan after a 350.
GRACE = 1.0

CLASSES: tuple[tuple[bytes, Verdict], ...] = (
    (b"HEUR/", SUSPICIOUS),
    (b"PHISH/", SUSPICIOUS),
    (b"ADSPY/", POLICY),
    (b"ADWARE/", POLICY),
    (b"APPL/", POLICY),
    (b"DIAL/", POLICY),
    (b"GAME/", POLICY),
    (b"JOKE/", POLICY),
    (b"PCK/", POLICY),  # packed in an unusual way
    (b"PUA/", POLICY),
    (b"SPR/", POLICY),  # a risk for security or privacy
)

# Phrases in an error.  The first that fits decides; None is the daemon's trouble.
ERRORS: tuple[tuple[bytes, Verdict | None], ...] = (
    (b"licen", None),
    (b"encrypt", ENCRYPTED),
    (b"password", ENCRYPTED),
    (b"limit", UNSCANNABLE),
    (b"recursion", UNSCANNABLE),
    (b"ratio", UNSCANNABLE),
    (b"bomb", UNSCANNABLE),
    (b"corrupt", UNSCANNABLE),
    (b"unsupported", UNSCANNABLE),
)


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask SAVAPI about the message."""
    check(target)
    product = target.parameters["product"]
    greeting = conn.line()
    if not greeting.startswith(b"100 SAVAPI:"):
        raise unexpected(greeting)
    settings = target.parameters.get("set", SETTINGS).split(b";")
    for setting in (b"PRODUCT " + product, *(each.strip() for each in settings if each.strip())):
        conn.send(b"SET " + setting + b"\n")
        answer = conn.line()
        # It repeats the setting; another value than ours means that it was not made.
        name, _, value = setting.partition(b" ")
        said, _, set_to = answer.removeprefix(b"100 ").partition(b":")
        other = said == name and set_to.strip() != value.strip()
        if not answer.startswith(b"100 ") or other:
            raise Defer(f"SET {printable(setting)}: {printable(answer)}", CONFIG)
    conn.send(b"SCAN " + message.path + b"\n")
    return parse(_reply(conn))


def check(target: Target) -> None:
    """Raise Defer without the number of a product, or with a setting that is no line."""
    if not target.parameters.get("product", b"").isdigit():
        raise Defer("which product? write savapi:WHERE?product=NUMBER", CONFIG)
    settings = target.parameters.get("set", b"")
    if b"\n" in settings or b"\r" in settings:
        raise Defer("set=NAME%20VALUE;...: a line end in it", CONFIG)


def parse(lines: Iterable[bytes]) -> Finding:
    """The finding that the lines of a whole reply mean; Defer for any others."""
    names = []
    kinds: list[Verdict] = []
    trouble: list[bytes] = []
    said = b""
    for line in lines:
        code, said = line[:3], said or line
        if line[3:4] not in (b" ", b""):
            trouble.append(line)
        elif code in NOTHING:
            kinds.append(CLEAN)
            break
        elif code == ALERTS_END:
            if not any(verdict in ALERTS for verdict in kinds):
                kinds.append(INFECTED)
            break
        elif code == ALERT:
            names.append(_name(line[4:]))
            kinds.append(class_of_name(names[-1], CLASSES))
        elif code in MACROS:
            kinds.append(POLICY)
        elif code == ERROR:
            error = class_of_text(line, ERRORS, None)
            if error is None:
                trouble.append(line)
            else:
                kinds.append(error)
        elif code not in ASIDE:
            trouble.append(line)
    verdict = worst(kinds)
    if verdict is None or (trouble and verdict not in ALERTS):
        raise unexpected(trouble[0] if trouble else said)
    return Finding(verdict, tuple(names), said)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    return parse(line for line in lines_of(reply) if line.partition(b" ")[0] in BAD)


def _reply(conn: Conn) -> Iterator[bytes]:
    """The lines up to the one that ends a scan."""
    for line in conn.lines():
        yield line
        # As amavisd-new: a code of 3xx or 4xx goes on, but for 300 and 319.
        if line[:1] not in (b"3", b"4") or line[:3] in (b"300", ALERTS_END):
            return
        if line.startswith(ERROR) and not conn.has_more(GRACE):
            return


def _name(alert: bytes) -> bytes:
    _, _, name = alert.rpartition(b"<<< ")
    return name.partition(b" ;")[0]
