"""The Subject of a stored message, for whoever has to tell one from another.

It is a stranger's, and so are the names of character sets in it (RFC 2047): only those
of mail are decoded, for Python has others, and some that are none.
"""

from __future__ import annotations

import binascii
import codecs
import re
import unicodedata

# Bytes of a message, and of its Subject, that are looked at.
HEAD_MAX = 64 * 1024
SUBJECT_MAX = 2000

FIELD = re.compile(rb"^subject[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)

# An encoded word: character set, language (RFC 2231 5), encoding, text.
WORD = re.compile(r"=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([!-~]*?)\?=")

# White space between two encoded words is not shown (RFC 2047 6.2).
BETWEEN = re.compile(r"(?<=\?=)[ \t]+(?==\?)")

CHARSETS = frozenset(
    [
        *("utf-8", "utf8", "us-ascii", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5"),
        *("euc-jp", "euc-kr", "shift_jis", "iso-2022-jp"),
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),  # there is no 12
        *(f"{maker}125{page}" for maker in ("windows-", "cp") for page in range(9)),
    ]
)

# Now, because later it is done as the owner of the quarantine, who may not be able to read
# Python's files.
for charset_ in CHARSETS:
    codecs.lookup(charset_)


def of(head: bytes) -> str:
    """The Subject in the beginning of a message, decoded; empty if there is none."""
    header = re.split(rb"\n\r?\n", b"\n" + head, maxsplit=1)[0]
    found = FIELD.search(header)
    if found is None:
        return ""
    raw = found[1].replace(b"\r", b"").replace(b"\n", b"").strip()[:SUBJECT_MAX]
    try:
        text = raw.decode("utf-8")  # RFC 6532
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return WORD.sub(_decoded, BETWEEN.sub("", text))


def _decoded(word: re.Match[str]) -> str:
    """What the encoded word stands for; it stays as it is where that is not known."""
    charset, encoding, text = word.groups()
    if charset.lower() not in CHARSETS:
        return word[0]
    try:
        if encoding in "Bb":
            content = binascii.a2b_base64(text)
        else:
            content = binascii.a2b_qp(text, header=True)
        return content.decode(charset, "replace")
    except (ValueError, LookupError):
        return word[0]


def plain(text: str) -> str:
    """The text for a terminal that may have no other letters than ASCII, a mark for each other.

    An accent goes, its letter stays.
    """
    bare = "".join(
        each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)
    )
    return bare.encode("ascii", "replace").decode("ascii")
