r"""sock, any daemon that is told a path and answers with text.

    C: what send= says, with the path for {path}
    S: text, up to the end that end= says

    -s 'sock:/run/oav.sock?send=SCAN%20{path}%0A&clean=OK.*&infected=FOUND:.*&name=FOUND:%20(.*)'

The parameters are percent-encoded, as in an address, because & and comma and ? have a
meaning there.  Patterns are regular expressions of Python, for bytes, and match a whole
line or nothing:

    send      what to send; {path} and a line feed, unless given
    greeting  lines are read and forgotten until one that matches
    end       what the answer ends with: lf (the default), nul, or eof: the daemon hangs up
    clean     a line that means CLEAN; required
    infected, suspicious, policy, encrypted, unscannable     the same for these verdicts
    more      a line that means nothing; another one follows it
    name      what a name is, in a line that means something bad; its first group if it has one

A line that matches two patterns means the worse; one that matches none defers.  With end=lf
(nul) the answer is one line, and the more before it.  With end=eof it is all lines, and each
has to match.  CLEAN is one clean line, the last, after nothing but more: so match the line
that ends an answer, not one about a part of it.  A line always has an end (CR LF, LF or NUL),
so that an answer that is cut short is not taken for a complete one.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, Defer, unexpected
from avcheck.patterns import MEANINGS, expression
from avcheck.printable import printable
from avcheck.scanners import lines_of
from avcheck.verdict import ALERTS, CLEAN, Finding, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Mapping

    from avcheck.conn import Conn
    from avcheck.settings import Target
    from avcheck.spool import Message

MORE = "more"

LINE_ENDS = (b"\r", b"\n", b"\0")

ENDS = {b"lf": b"\n", b"nul": b"\0", b"eof": b"\n"}

# What send and end are unless given.
SEND = b"{path}\n"
LF = b"lf"

# Lines of a greeting, and of an answer: a line for each object in a message.
GREETING_MAX = 100
LINES_MAX = 10_000
REPLY_MAX = 1 << 20


def scan(conn: Conn, message: Message, target: Target) -> Finding:
    """Ask the daemon about the message."""
    check(target)
    parameters = target.parameters
    patterns = compiled(parameters)
    end = parameters.get("end", LF)
    template = parameters.get("send", SEND)
    if greeting := patterns.get("greeting"):
        _skip(conn, ENDS[end], greeting)
    conn.send(template.replace(b"{path}", message.path))
    if end == b"eof":
        return parse(_to_the_end(conn.rest(REPLY_MAX)), patterns, True)
    return parse(_lines(conn, ENDS[end]), patterns, False)


def check(target: Target) -> None:
    """Raise Defer where the daemon cannot be asked, or not be understood, like this."""
    if target.parameters.get("end", LF) not in ENDS:
        raise Defer("end is one of lf, nul, eof", CONFIG)
    if b"{path}" not in target.parameters.get("send", SEND):
        raise Defer("send has no {path}", CONFIG)
    compiled(target.parameters)


def compiled(parameters: Mapping[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    """The patterns among the parameters; raises Defer where one cannot be used."""
    import re

    if "clean" not in parameters:
        raise Defer("the parameter clean is required: the line that means it", CONFIG)
    return {
        name: expression(name, parameters[name], re.DOTALL)
        for name in (*MEANINGS, MORE, "greeting", "name")
        if name in parameters
    }


def parse(
    lines: Iterable[bytes], patterns: Mapping[str, re.Pattern[bytes]], every: bool
) -> Finding:
    """The finding that the lines of an answer, without their ends, mean by these patterns.

    With every all lines count, else the first that is not more.  Raises Defer for lines
    that mean nothing.
    """
    names = []
    kinds = []
    strange: list[bytes] = []
    said = b""
    for line in lines:
        kind = _kind(line, patterns)
        if kind == MORE and not (every and CLEAN in kinds):
            continue
        said = said or line
        if kind not in MEANINGS or CLEAN in kinds:  # after a clean line nothing may come
            strange.append(line)
        else:
            kinds.append(MEANINGS[kind])
            names += _names(line, patterns) if kind != "clean" else []
        if not every:
            break
    verdict = worst(kinds)
    if verdict is None or (strange and verdict not in ALERTS):
        raise unexpected(strange[0] if strange else said)
    return Finding(verdict, tuple(names), said)


def found(reply: bytes, message: Message, target: Target) -> Finding:
    """What an incomplete or malformed reply found."""
    patterns = compiled(target.parameters)
    for bad in ("infected", "suspicious", "policy"):
        for line in lines_of(reply):
            if bad in patterns and patterns[bad].fullmatch(line):
                return Finding(MEANINGS[bad], tuple(_names(line, patterns)), line)
    raise unexpected(reply)


def _kind(line: bytes, patterns: Mapping[str, re.Pattern[bytes]]) -> str:
    """The name of the first pattern that matches the whole line, or nothing.

    A line in which other lines end (a CR, say, or an LF where NUL is the end) is no clean one,
    nor one to skip: in a pattern such as OK.* the dot would match what another of them says.
    """
    several = any(end in line for end in LINE_ENDS)
    for kind in (*MEANINGS, MORE):
        if several and kind in ("clean", MORE):
            continue
        if kind in patterns and patterns[kind].fullmatch(line):
            return kind
    return ""


def _names(line: bytes, patterns: Mapping[str, re.Pattern[bytes]]) -> list[bytes]:
    name = patterns.get("name")
    if not name:
        return []
    found = (each[1] if name.groups else each[0] for each in name.finditer(line))
    return [each for each in found if each]


def _skip(conn: Conn, end: bytes, greeting: re.Pattern[bytes]) -> None:
    for number, line in enumerate(_lines(conn, end)):
        if greeting.fullmatch(line):
            return
        if number > GREETING_MAX:
            raise Defer(f"unexpected greeting {printable(line, 200)!r}", BROKEN)


def _lines(conn: Conn, end: bytes) -> Iterator[bytes]:
    for _ in range(LINES_MAX):
        yield conn.line(end).removesuffix(b"\r")


def _to_the_end(reply: bytes) -> list[bytes]:
    """The lines of the reply, each of which has to be ended."""
    *lines, rest = reply.replace(b"\0", b"\n").split(b"\n")
    if rest:
        raise Defer(f"hung up in the middle of {printable(rest, 200)!r}", BROKEN)
    return [line.removesuffix(b"\r") for line in lines]
