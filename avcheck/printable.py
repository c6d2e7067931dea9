"""The one door for words that are not ours.

Replies of daemons, addresses, file names and the output of programs pass here
before they reach a log, a header, an environment or a terminal.  What comes
out is printable ASCII on one line: nothing in it can end a line, colour a
terminal or start a second log record (compare Postfix's printable()).
"""

from __future__ import annotations

# Postfix logs the first 100 bytes of our output and keeps 4096 for the DSN
# (pipe_command.c); syslog lines of 1024 bytes pass everywhere (RFC 3164).
TEXT_MAX = 400

_SPACE = b"\t\n\v\f\r"
_TABLE = bytes(
    byte if 0x20 <= byte < 0x7F else 0x20 if byte in _SPACE else ord("?") for byte in range(256)
)


def printable(words: bytes | str, limit: int = TEXT_MAX) -> str:
    """The words as printable ASCII, at most limit characters (an ellipsis marks a cut).

    White space of any kind becomes a blank, every other byte outside 0x20..0x7e
    a question mark.  Never raises.
    """
    if isinstance(words, str):
        words = words.encode("utf-8", "replace")
    cut = len(words) > limit
    text = words[: limit - 3 if cut else limit].translate(_TABLE).decode("ascii").strip()
    return text + "..." if cut else text
