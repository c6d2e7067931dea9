"""The header of a message or of a part, if it is plain: what its fields of MIME (RFC 2045) say.

A header is plain if it is written so strictly that nobody can take it for another one.  What is
said of libclamav here was observed with 1.4.6.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 5322 2.1.1.  libclamav takes what is behind so much of a line for another line.
LINE_MAX = 990

_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n")
# RFC 2045 5.1.  Names of fields could have more (RFC 5322 2.2).
_TOKEN = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'()<>@,;:\\"/[]?=')
_MARK = _TOKEN + b"?=/:,"

TYPE = b"content-type"
CODING = b"content-transfer-encoding"
PLACE = b"content-disposition"
MIME = (TYPE, CODING, PLACE)

_KINDS = (b"text", b"application", b"image", b"audio", b"video", b"font", b"model")
# libclamav looks into one part only of some parallel, signed and related.
_PARTS = (b"mixed", b"alternative", b"report", b"form-data")
_REPORTS = (b"delivery-status", b"disposition-notification")
_AS_IT_IS = (b"7bit", b"8bit", b"binary")
_CODED = (b"base64", b"quoted-printable")


def mime_fields(
    header: bytes, is_above: Callable[[bytes], bool] | None = None
) -> dict[bytes, bytes] | None:
    """The fields of MIME of a plain header, by their names in lower case; None of another one.

    Lines end in LF.  is_above tells whether the first line does not belong to the header.
    """
    if len(header.translate(None, _CONTROLS)) != len(header):
        return None
    while is_above and is_above(header):
        header = header.partition(b"\n")[2]
    found: dict[bytes, bytes] = {}
    if not header:
        return found
    # A CR, of which there is none, stands for the end of a line that goes on.
    folded = header.replace(b"\n ", b"\r ").replace(b"\n\t", b"\r\t")
    for field in folded[:-1].split(b"\n"):
        name, colon, value = field.partition(b":")
        if not name or not colon or name.translate(None, _TOKEN):
            return None
        if field.rstrip(b" \t").endswith((b";", b",", b"\\")) or field.count(b'"') % 2:
            return None
        if b"\r" in field or len(field) > LINE_MAX:
            lines = field.split(b"\r")
            if not all(line.strip(b" \t") and len(line) <= LINE_MAX for line in lines):
                return None
        if name[:1] in b"Cc" and (name := name.lower()) in MIME:
            if name in found or any(line.count(b'"') % 2 for line in value.split(b"\r")):
                return None
            found[name] = value.replace(b"\r", b"").strip(b" \t")
    return found


def content_of(fields: dict[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """What is below the header with these fields, and its boundary; None if it is not plain.

    multipart; message, for another header; report; coded, for what is encoded; or nothing
    in particular.
    """
    coding = fields.get(CODING, b"7bit").lower()
    place = parameters(fields.get(PLACE, b"inline"))
    said = parameters(fields.get(TYPE, b"text/plain"))
    if coding not in _AS_IT_IS + _CODED or not place or not said or not _is_token(place[0]):
        return None
    kind, _, sub = said[0].lower().partition(b"/")
    marks = [value for name, value in said[1].items() if name.startswith(b"boundary")]
    if kind in _KINDS and _is_token(sub) and not marks:
        return b"coded" if coding in _CODED else b"", b""
    if coding in _CODED or b"=?" in fields[TYPE]:
        return None
    if kind == b"message" and not marks:
        if sub == b"rfc822":
            return b"message", b""
        return (b"report", b"") if sub in _REPORTS else None
    if kind != b"multipart" or sub not in _PARTS or len(marks) != 1:
        return None
    (mark,) = marks
    if mark.translate(None, _MARK) or mark.endswith(b"--") or not mark.strip(b"-"):
        return None
    return (kind, mark) if b"boundary" in said[1] else None


def parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """What stands first in the field, and its parameters, by their names in lower case.

    None if it is not written as in RFC 2045 5.1, with blanks around semicolons only.
    """
    pieces = value.split(b'"')
    quoted = pieces[1::2]
    first, *rest = b'"'.join(pieces[::2]).split(b";")
    if any(b"\\" in each or b";" in each for each in quoted):
        return None
    named: dict[bytes, bytes] = {}
    for each in rest:
        name, _, said = each.strip(b" \t").partition(b"=")
        if said == b'"':
            said = quoted.pop(0)
        elif not _is_token(said):
            return None
        name = name.lower()
        if not _is_token(name) or name in named:
            return None
        named[name] = said
    return None if quoted else (first.rstrip(b" \t"), named)


def _is_token(word: bytes) -> bool:
    return bool(word) and not word.translate(None, _TOKEN)
