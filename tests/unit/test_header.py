"""Which headers everybody reads alike, and what their fields of MIME say."""

from __future__ import annotations

import pytest

from avcheck.header import LINE_MAX, content_of, mime_fields, parameters
from avcheck.seen import is_from_line

ORDINARY = [
    b"",
    b"Subject: x\n",
    b"Subject:\nX_a.b: y\n",
    b"Received: from a by b;\n\tThu, 1 Jan 2026 00:00:00 +0000 (UTC)\n",
    b'From: "Last, First" <a@b.org>\nTo: a@b,\n c@d\n',
    b"Subject: \xc3\xbc\n",
    b"X: " + b"y" * (LINE_MAX - 3) + b"\n " + b"z" * (LINE_MAX - 1) + b"\n",
    b'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: Quoted-Printable\n',
    b'Content-Type: application/pdf;\n\tname="a (1).pdf"\nContent-ID: <a@b>\n',
    b"Content-Disposition: attachment; filename*0*=utf-8''%C3%BC; filename*1=.pdf\n",
    b'Content-Type: image/png; name="=?utf-8?q?=C3=BC?="\ncontent-transfer-encoding: BASE64\n',
]

STRANGE = [
    b"no field\n",
    b": x\n",
    b" x\n",
    b"Subject : x\n",
    b"Content(c)-Type: text/plain\n",
    b"\xff: x\n",
    b"Subject: x\n \n",
    b"Subject: x\n \t\n y\n",
    b"Subject: x;\n",
    b"Subject: x; \t\n",
    b"Subject: x\n y;\nTo: z\n",
    b"Subject: x,\n",
    b"Subject: x\\\n",
    b'Subject: 5" disk\n',
    b"X: " + b"y" * LINE_MAX + b"\n",
    b"X: y\n " + b"z" * LINE_MAX + b"\n",
    *[b"Subject: x%cy\n" % byte for byte in (0, 1, 0x0B, 0x0C, 0x0D, 0x1F, 0x7F)],
    b"Content-Type: text/plain\nContent-type: text/plain\n",
    b'Content-Type: text/plain; name="a\n b"\n',
    b"Content-Disposition: inline\nSubject: x\nContent-Disposition: inline\n",
]

# As fields of MIME alone.
NOT_PLAIN = [
    b"Content-Type:",
    b"Content-Type: text",
    b"Content-Type: text/plain/x",
    b"Content-Type: text /plain",
    b"Content-Type: x-foo/bar",
    b"Content-Type: text/plain (c)",
    b"Content-Type: (c)text/plain",
    b"Content-Type: text/plain; name = x",
    b"Content-Type: text/plain; name",
    b"Content-Type: text/plain; name=",
    b'Content-Type: text/plain; name="a;b"',
    b'Content-Type: text/plain; name="a\\b"',
    b'Content-Type: text/plain; name="a"b',
    b'Content-Type: text/plain; name"="a',
    b'Content-Type: text/plain; "name"=a',
    b'Content-Type: "text"/plain; name=a',
    b"Content-Type: text/plain; name=a; NAME=b",
    b"Content-Type: text/plain;; name=a",
    b"Content-Type: text/plain; boundary=b",
    b"Content-Type: multipart/mixed",
    b'Content-Type: multipart/mixed; boundary=""',
    b"Content-Type: multipart/mixed; boundary=a*0; boundary*0=b",
    b"Content-Type: multipart/mixed; boundary*=us-ascii''b",
    b'Content-Type: multipart/mixed; boundary="a b"',
    b'Content-Type: multipart/mixed; boundary="a(b"',
    b"Content-Type: multipart/mixed; boundary=b--",
    b"Content-Type: multipart/mixed; boundary=---",
    b"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64",
    b'Content-Type: multipart/mixed; boundary=b; x="=?a?q?b?="',
    b"Content-Type: multipart/parallel; boundary=b",
    b"Content-Type: multipart/signed; boundary=b",
    b"Content-Type: multipart/related; boundary=b",
    b"Content-Type: multipart/digest; boundary=b",
    b"Content-Type: multipart/(c)mixed; boundary=b",
    b"Content-Type: message/partial; id=x; number=1; total=1",
    b"Content-Type: message/external-body; access-type=x",
    b"Content-Type: message/global",
    b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding:",
    b"Content-Transfer-Encoding: base64 (c)",
    b"Content-Transfer-Encoding: x-uuencode",
    b"Content-Disposition:",
    b"Content-Disposition: attachment; filename",
    b'Content-Disposition: attachment; filename="a";x',
    b"Content-Disposition: (c)attachment",
]

PLAIN = [
    (b"", b"", b""),
    (b"Content-Type: TEXT/plain; charset=utf-8", b"", b""),
    (b"Content-Transfer-Encoding: 8bit", b"", b""),
    (b"Content-Transfer-Encoding: base64", b"coded", b""),
    (b"Content-Type: message/rfc822", b"message", b""),
    (b"Content-Type: message/delivery-status", b"report", b""),
    (b'Content-Type: multipart/mixed; boundary="--=_a/b:c?,"', b"multipart", b"--=_a/b:c?,"),
    (b"Content-Type: Multipart/Alternative; Boundary=aB", b"multipart", b"aB"),
    (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n"
        b"Content-Transfer-Encoding: 7BIT\nContent-Disposition: inline",
        b"multipart",
        b"b",
    ),
]


@pytest.mark.parametrize("header", ORDINARY)
def test_an_ordinary_header_is_plain(header: bytes) -> None:
    fields = mime_fields(header)
    assert fields is not None
    assert content_of(fields) is not None


@pytest.mark.parametrize("header", STRANGE)
def test_a_header_that_anybody_may_read_otherwise_is_not(header: bytes) -> None:
    assert mime_fields(header) is None
    assert mime_fields(b"X: y\n" + header + b"Z: y\n") is None or header.startswith(b" x")


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_a_field_of_mime_that_anybody_may_read_otherwise_is_not_plain(text: bytes) -> None:
    fields = mime_fields(text + b"\n")
    assert fields is not None
    assert content_of(fields) is None


@pytest.mark.parametrize(("text", "kind", "mark"), PLAIN)
def test_what_is_below_a_plain_header(text: bytes, kind: bytes, mark: bytes) -> None:
    fields = mime_fields(text + b"\n" if text else b"")
    assert fields is not None
    assert content_of(fields) == (kind, mark)


def test_the_lines_of_an_mbox_are_above_a_header() -> None:
    header = b"From a@b Thu Jan  1\n>From c@d\nContent-Type: a/b\n"
    assert mime_fields(header, is_from_line) == {b"content-type": b"a/b"}
    assert mime_fields(header) is None
    assert mime_fields(b"From a\rContent-Type: x\n", is_from_line) is None
    assert mime_fields(b"From a", is_from_line) == {}


def test_parameters_are_taken_as_they_stand_there() -> None:
    assert parameters(b'a/b ; x=1;\tY="2 3" ; z=4') == (
        b"a/b",
        {b"x": b"1", b"y": b"2 3", b"z": b"4"},
    )
    assert parameters(b"a/b") == (b"a/b", {})
    assert parameters(b"a/b;") is None
    assert parameters(b'"a"/b') is None
