"""Mail in which people see an attachment, and clamd 1.4.6 nothing: each with the test virus."""

from __future__ import annotations

import base64

from tests.support.letters import EICAR

TOP = b"From: a@b.org\nSubject: x\nMIME-Version: 1.0\n"
TEXT = b"--b\nContent-Type: text/plain\n\nHello.\n"
TYPE = b'Content-Type: application/octet-stream; name="a.com"\n'
CODED = b"Content-Transfer-Encoding: base64\n"
BODY = b"\n" + base64.encodebytes(EICAR)


def parts(
    header: bytes = TYPE + CODED,
    *,
    kind: bytes = b"mixed",
    padding: bytes = b"",
    more: bytes = b"",
    preamble: bytes = b"",
) -> bytes:
    """An entity with a text, and the virus in base64, with that header."""
    head = b"Content-Type: multipart/" + kind + b'; boundary="b"\n' + more
    mark = b"--b" + padding + b"\n"
    return head + b"\n" + preamble + TEXT + mark + header + BODY + b"--b--\n"


def within(entity: bytes, kind: bytes = b"multipart/mixed; boundary=outer") -> bytes:
    """A mail with the entity in another."""
    return TOP + b"Content-Type: " + kind + b"\n\n--outer\n" + entity + b"\n--outer--\n"


RFC822 = b"Content-Type: message/rfc822\n"
PARTIAL = b"Content-Type: message/partial; id=x; number=1; total=1\n"

PLACE = b'Content-Disposition: attachment; filename="a.com"\n'
BLANK_FOLDS = {
    f"a blank and {name} in a header": parts(TYPE.replace(b" name", b"\n %c\n name" % byte) + CODED)
    for name, byte in (("a vertical tab", 0x0B), ("a form feed", 0x0C), ("a NUL", 0))
}

# Where scanners are shown the same in other words.
SHOWN = {
    "a line of blanks in the header of a part": parts(b"X-A: b\n \n" + TYPE + CODED),
    "two bare CRs in the header of a part": parts(b"X-A: b\r\rc\n" + TYPE + CODED),
    "a tab after a boundary": parts(padding=b"\t"),
    "blanks and a tab after a boundary": parts(padding=b" \t "),
    "no empty line below the header of a part": parts().replace(BODY, BODY[1:]),
    "multipart/parallel": parts(kind=b"parallel"),
    "multipart/signed": parts(kind=b'signed; protocol="application/pgp-signature"'),
    "a last line with a semicolon": CODED + TYPE.replace(b"\n", b";\n") + BODY,
    "the same of a page": CODED + b"Content-Type: text/html; charset=utf-8;\n" + BODY,
    "the same of Content-Disposition": CODED
    + b"Content-Type: a/b\nContent-Disposition: attachment; filename=a.com;\n"
    + BODY,
    "an empty Content-Type": TYPE + CODED + b"Content-Type:\n" + BODY,
    "no closing quote": TYPE.replace(b'm"', b"m") + CODED + BODY,
    "no closing quote in the last line": CODED + TYPE.replace(b'm"', b"m") + BODY,
    "no closing quote of Content-Disposition": CODED
    + b'Content-Type: a/b\nContent-Disposition: attachment; filename="a.com\n'
    + BODY,
    "a second type, message/partial": parts(more=PARTIAL),
    "a second type, message/rfc822": TYPE + CODED + RFC822 + BODY,
    "a second type, message/external-body": TYPE
    + CODED
    + b"Content-Type: message/external-body; access-type=x\n"
    + BODY,
    "a semicolon above the last line": TYPE + PLACE.replace(b'm"', b'm";') + CODED + BODY,
    "two semicolons": CODED + TYPE.replace(b"\n", b";\n") + b"X-A: b;\n" + BODY,
    **BLANK_FOLDS,
    "a quote on a line of its own": CODED + TYPE.replace(b'"a.com"', b'\n "a.com') + BODY,
    "a quote without =": CODED + TYPE.replace(b'="a.com"', b' "a.com') + BODY,
    "a quote before the name": CODED + TYPE.replace(b'name="a.com"', b'"; name=a.com') + BODY,
    "a comment in multipart/parallel": parts(kind=b"(c)parallel"),
    "a comment in multipart/signed": parts(kind=b"(c)signed"),
    "a NUL below a semicolon": CODED + TYPE.replace(b"\n", b";\0\n") + BODY,
    "a NUL in multipart/parallel": parts(kind=b"\0parallel"),
    "a line begin 644 above its boundary": parts().replace(
        b"Hello.\n", b"Hello.\nbegin 644 x\n", 1
    ),
    "multipart/related": b"Content-Type: multipart/related; boundary=b\n\n--b\n"
    + TYPE
    + CODED
    + BODY
    + b"--b\nContent-Type: multipart/mixed; boundary=inner\n\n--inner\n\n\n--inner--\n--b--\n",
    "message/global": b"Content-Type: message/global\n\n" + TOP + TYPE + CODED + BODY,
    "message/partial in one part": PARTIAL + b"\n" + TOP + TYPE + CODED + BODY,
    "message/external-body": b"Content-Type: message/external-body; access-type=x\n\n"
    + TYPE
    + CODED
    + BODY,
}
# In the header of the mail itself.  libclamav ends the line there, and takes the rest for another.
LONG = {
    "a line of more than 999 bytes": TYPE + CODED + b"X-A: ".ljust(999, b"x") + PARTIAL + BODY,
}
# In a part.
NESTED = {
    "a second type, a text, of a part with parts": parts(more=b"Content-Type: text/plain\n"),
    "a preamble with a type": parts(preamble=b"Content-Type: text/html\n\n"),
    "a preamble with a type, further down": parts(preamble=b"\n\n" + PARTIAL + b"\n"),
    "a preamble with a NUL and a type": parts(preamble=b"\0Content-Type: text/html\n\n"),
}
