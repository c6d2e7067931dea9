"""What a scanner must have said, all of it, for a message to be clean.

The parsers of avcheck.scanners are not asked, nor how they work: this is each protocol's
grammar of the one good answer, as a regular expression over everything that was said, greeting
and all.  What it does not match is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.campaigns.fuzz.letter import CONTENT, NAME, PATH

# A line's end, and what may be in a line.
END = rb"\r?\n"
WORDS = rb"[^\n]*"


def _escaped(text: bytes) -> bytes:
    """The text, with or without a backslash before each of its bytes."""
    return b"".join(rb"\\?" + re.escape(text[at : at + 1]) for at in range(len(text)))


CLAMD = {
    "descriptor": rb"fd\[\d+\]: OK\0",
    "stream": rb"stream: OK\0",
    # The path itself, or where it really is.
    "path": rb"/(?:(?:(?!: )[^\n\0])*/)?" + NAME + rb": OK\0",
}

AVAST = (
    rb"220[^\n]*\n"
    + rb"(?P<member>(?:SCAN )?"
    + _escaped(PATH)
    + rb"(?:\|>(?:[^\t\n\\]|\\[^\n])*)?"
    + rb"\t\[\+\][^\t\n]*\t*"
    + END
    + rb")*"
    + rb"210 SCAN DATA"
    + END
    + rb"(?P<after>(?:SCAN )?"
    + _escaped(PATH)
    + rb"(?:\|>(?:[^\t\n\\]|\\[^\n])*)?"
    + rb"\t\[\+\][^\t\n]*\t*"
    + END
    + rb")*"
    + rb"200 SCAN OK"
    + END
)

# What a daemon that does not hang up says after its answer: nothing, for some time.
_SILENCE = rb"(?:\xf5~)?"

AVESERVER = rb"2[^\n]*\n(?:3(?!22)[^\n]*\n)*220(?:[ -][^\n]*)?" + END
AVESERVER += rb"(?:200[^\n]*\n)?" + _SILENCE  # and its goodbye

DRWEB = rb"\0[\x10\x11]\0\0" + rb"\0\0\0\0"
DRWEB_ZERO = rb"\0[\0\1\x10\x11]\0\0" + rb"\0\0\0\0"

FPROTD = (
    rb"HTTP/1\.[^ \n]* 200(?: [^\n]*)?\r?\n(?:(?!\r?\n)[^\n]*\n)*\r?\n"
    rb"(?:(?!<detected|<name>|</fprot-results>|<summary )[\s\S])*"
    rb'<summary code="[79]">(?i:clean)</summary>'
    rb"(?:(?!<detected|<name>|</fprot-results>|<summary )[\s\S])*"
    rb"</fprot-results>\s*"
)


def _fpscand(about: bytes) -> bytes:
    member = rb"(?:0 <clean> " + about + rb"->[^\n]*" + END + rb")*"
    return member + rb"0 <clean> " + about + END + member + _SILENCE


FPSCAND = {"stream": _fpscand(b"avcheck"), "path": _fpscand(re.escape(PATH))}

_FSECURE_ASIDE = rb"(?:DBVERSION\t[^\n]*\n|PING(?:\t[^\n]*)?\n|PING\r\n)*"
FSECURE = (
    rb"(?:" + _FSECURE_ASIDE + rb"OK\t[^\n]*\n){4}"
    rb"(?:(?:CLEAN\t|OPEN_ARCHIVE|CLOSE_ARCHIVE|DBVERSION\t|PING)[^\n]*\n)*"
    rb"CLEAN\t(?:"
    + re.escape(PATH)
    + rb"(?:\t[^\n]*)?"
    + END
    + rb"|\["
    + re.escape(PATH)
    + rb"\][^\n]*\n)"
    rb"(?:(?:CLEAN|OPEN_ARCHIVE|CLOSE_ARCHIVE|DBVERSION|PING)(?:[\t\r][^\n]*)?\n)*"
    rb"OK\tScan ok\." + END
)

MKSD = rb"OK(?: [^\n]*)?" + END + _SILENCE

SAVAPI = (
    rb"100 SAVAPI:[^\n]*\n(?:100 [^\n]*\n){%d}"
    rb"(?:(?:401|420|421|430|440|450|499)(?: [^\n]*)?\r?\n)*"
    rb"2[01]0(?: [^\n]*)?\r?\n"
)

_ACCEPTED = rb"(?:\r?\n){0,3}ACC [^\n]*\n"
_SSSP_LINES = rb"(?:(?:OK 0000|EVENT(?! VIRUS )|TYPE|FILE)(?: [^\n]*)?\r?\n)*"
SSSP = (
    rb"OK SSSP/1\.[^\n]*\n"
    + _ACCEPTED
    + rb"%b"
    + _ACCEPTED
    + _SSSP_LINES
    + rb"DONE OK 0000(?: [^\n]*)?"
    + END
    + END
)
_SSSP_OPTIONS = _ACCEPTED + rb"(?:[^\n]*[^\r\n][^\n]*\n)*DONE OK 0000[^\n]*\n\r?\n"

# Silence is an end, too.
_SOPHIE = rb"0(?::[^\n\0]*)?\r?(?:\n|\0|\xf5~)" + _SILENCE
SOPHIE = {"path": _SOPHIE, "stream": rb"OK\r?\n" + _SOPHIE}

SOCK = [
    rb"(?:INFO[^\n]*\n)*OK(?: [^\n]*)?\r?\n",
    rb"(?:SCANNED [^\n\0]*[\n\0])*END 0\r?[\n\0](?:SCANNED [^\n\0]*[\n\0])*",
    rb"clean\r?\0",
    rb"(?:[^\n]*\n)*?220 [^\n]*\n200 ok\r?\n",
]


def avp(said: bytes) -> bool:
    said = said.removesuffix(b"\xf5~")
    if said == b"\x30\0":
        return True
    size = int.from_bytes(said[2:6], "little")
    lines = said[6:].splitlines()
    return (
        said[:2] == b"\x30\1"
        and len(said) == 6 + size
        and not any(b" infected: " in line or b" suspicion: " in line for line in lines)
    )


HTTP_HEADERS = rb"(?:(?!\r\n)(?:(?!\r\n)[\s\S])+\r\n)*\r\n"
KSE = re.compile(
    rb"HTTP/1\.[01] 200(?: (?:(?!\r\n)[\s\S])*)?\r\n(?P<headers>" + HTTP_HEADERS + rb")"
    rb"(?P<body>CLEAN[\r\n ]*)"
)


def kse(said: bytes) -> bool:
    found = KSE.fullmatch(said)
    if not found:
        return False
    sizes = re.findall(
        rb"(?im)^[ \t]*content-length[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", found["headers"]
    )
    return bool(sizes) and all(re.fullmatch(rb"0*%d" % len(found["body"]), size) for size in sizes)


_LINES = rb"(?:[^\r\n]+\r\n)*\r\n"
_OPTIONS = re.compile(rb"ICAP/1\.[0-9] 200(?: [^\r\n]*)?\r\n" + _LINES)
_CONTINUE = re.compile(rb"ICAP/1\.[0-9] 100(?: [^\r\n]*)?\r\n" + _LINES)
_UNMODIFIED = re.compile(rb"ICAP/1\.[0-9] 204(?: [^\r\n]*)?\r\n" + _LINES)
_RETURNED = re.compile(rb"ICAP/1\.[0-9] 200(?: [^\r\n]*)?\r\n" + _LINES)
_PAGE = re.compile(rb"(?:HTTP/1\.[0-9] 200(?: [^\r\n]*)?|(?!HTTP/|ICAP/)[^\r\n]+)\r\n" + _LINES)
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*?)?\r\n")
_TRAILERS = re.compile(rb"(?:[^\r\n]+\r\n)*\r\n")
# Headers that tell of something found, or of a block, and what they say where it is nothing.
_TELLING = {
    b"x-infection-found": rb"",
    b"x-violations-found": rb"",
    b"x-virus-name": rb"no threats|",
    b"x-virus-id": rb"no threats|",
    b"x-fsecure-infection-name": rb"\"*",
    b"x-fsecure-scan-result": rb"clean|",
    b"x-block-reason": rb"",
    b"x-mwg-block-reason": rb"",
    b"x-block-result": rb"0*",
    b"x-blocked": rb"",
    b"x-blocked-by": rb"",
    b"x-response-info": rb"passed|allowed|options|",
}
_HEADER = re.compile(rb"^[ \t]*([a-z0-9-]+)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.I | re.M)


def _tells(heads: bytes) -> bool:
    """Whether any header tells of something found."""
    return any(
        name.lower() in _TELLING and not re.fullmatch(_TELLING[name.lower()], value, re.I)
        for name, value in _HEADER.findall(heads)
    )


def icap(said: bytes) -> bool:
    offer = _OPTIONS.match(said)
    if not offer:
        return False
    at = offer.end()
    if b"opt-body" in offer[0]:
        at = _after_chunks(said, at)[1]
    if proof := _CONTINUE.match(said, at):
        at = proof.end()
    elif re.search(rb"(?im)^preview[ \t]*:[ \t]*[0-9]{1,9}[ \t]*\r$", offer[0]) and not re.search(
        rb"(?im)^transfer-complete", offer[0]
    ):
        return False  # it has not asked for the rest of the message
    heads = said[offer.end() : at]
    if head := _UNMODIFIED.match(said, at):
        return head.end() == len(said) and not _tells(heads + head[0])
    head = _RETURNED.match(said, at)
    if not head:
        return False
    at = head.end()
    heads += head[0]
    if page := _PAGE.match(said, at):
        at = page.end()
        heads += page[0]
    body, end = _after_chunks(said, at)
    return body == CONTENT and end == len(said) and not _tells(heads)


def _after_chunks(said: bytes, at: int) -> tuple[bytes, int]:
    """What the chunks from there hold, and where they end; -1 if they do not."""
    body = b""
    while chunk := _CHUNK.match(said, at):
        size = int(chunk[1], 16)
        at = chunk.end() + size
        body += said[chunk.end() : at]
        if not size:
            trailers = _TRAILERS.match(said, at)
            return body, trailers.end() if trailers else -1
        if said[at : at + 2] != b"\r\n":
            break
        at += 2
    return body, -1


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern)
    return lambda said: bool(compiled.fullmatch(said))


def avast(said: bytes) -> bool:
    found = _AVAST.fullmatch(said)
    return bool(found) and b"\t[+]" in said


_AVAST = re.compile(AVAST)
