"""Makes outside text printable.

Replies of daemons, addresses, file names and the output of programs come through here
before they reach a log, a header, an environment or a terminal.  The result is printable
ASCII on one line: nothing in it can end a line, colour a terminal or forge a second log
record (compare Postfix's printable()).
"""

from __future__ import annotations

# Postfix logs the first 100 bytes of our output and keeps 4096 for the DSN
# (pipe_command.c); every syslog takes lines of 1024 bytes (RFC 3164).
TEXT_MAX = 400

_SPACE = b"\t\n\v\f\r"
_TABLE = bytes(
    byte if 0x20 <= byte < 0x7F else 0x20 if byte in _SPACE else ord("?") for byte in range(256)
)


def printable(text: bytes | str, limit: int = TEXT_MAX) -> str:
    """The text as printable ASCII, at most limit characters long; three dots mark a cut.

    White space of any kind becomes a blank, every other byte outside 0x20..0x7e
    a question mark.  Never raises.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    cut = len(text) > limit
    shown = text[: limit - 3 if cut else limit].translate(_TABLE).decode("ascii").strip()
    return shown + "..." if cut else shown
