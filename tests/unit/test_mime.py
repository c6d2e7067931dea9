"""What mail programs read in a header, however it is written."""

from __future__ import annotations

import pytest

from avcheck.mime import FIELD_MAX, NAME_MAX, NOTHING, Header


def header(*lines: bytes, default: bytes = b"text/plain") -> Header:
    made = Header()
    for line in lines:
        assert made.add(line)
    made.end(default)
    return made


@pytest.mark.parametrize(
    "line", [b"X: y", b"X-A:", b"X \t: y", b"!~: y", b" x", b"\tx: y", b" ", b"--b: x"]
)
def test_a_line_of_a_header(line: bytes) -> None:
    assert Header().add(line)


@pytest.mark.parametrize(
    "line", [b"", b"x", b": y", b" : y".strip(), b"X Y: z", b"\xff: y", b"\0: y", b"\x0b: y", b"\r"]
)
def test_a_line_that_is_below_a_header(line: bytes) -> None:
    assert not Header().add(line)


@pytest.mark.parametrize(
    ("value", "kind", "sub"),
    [
        (b" text/html", b"text", b"html"),
        (b"MULTIPART/Mixed; x=y", b"multipart", b"mixed"),
        (b" multipart/(c)parallel", b"multipart", b"parallel"),
        (b" (c (d) \\( ))multipart/ signed", b"multipart", b"signed"),
        (b" (a;b)multipart/mixed;", b"multipart", b"mixed"),
        (b" multipart/\0parallel", b"multipart", b"parallel"),
        (b' "multipart"/"mixed"', b"multipart", b"mixed"),
        (b"\x0cmultipart\x0b/mixed", b"multipart", b"mixed"),
        (b" multipart\r/mixed", b"multipart", b"mixed"),
        (b" message/partial; id=x", b"message", b"partial"),
        (b"", b"", b""),
        (b" multipart", b"", b""),
        (b" ;", b"", b""),
    ],
)
def test_the_type(value: bytes, kind: bytes, sub: bytes) -> None:
    made = header(b"Content-Type:" + value)
    assert (made.kind, made.sub) == (kind, sub)


def test_of_several_fields_the_first_counts() -> None:
    made = header(
        b"content-TYPE : multipart/mixed;",
        b" boundary=b",
        b"Content-Type: message/partial",
        b" ; boundary=c",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: 7bit",
    )
    assert (made.kind, made.boundaries, made.coding) == (b"multipart", [b"b"], b"base64")
    assert header(default=b"message/rfc822").kind == b"message"
    assert header(b"Content-Type: text/plain", default=b"message/rfc822").kind == b"text"


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (b"base64", b"base64"),
        (b" BASE64 \t", b"base64"),
        (b"base64;", b"base64"),
        (b" base64; x=y", b"base64"),
        (b'"base64"', b"base64"),
        (b"(c) base64 (d)", b"base64"),
        (b"base64, 7bit", b"base64"),
        (b"base64\0", b"base64"),
        (b"\x0bquoted-printable", b"quoted-printable"),
        (b"x-uuencode", b"x-uuencode"),
        (b"uue", b"x-uuencode"),
        (b"7bit", b""),
        (b"x-base64", b""),
        (b"", b""),
        (b"()", b""),
    ],
)
def test_how_the_body_is_encoded(value: bytes, coding: bytes) -> None:
    assert header(b"Content-Transfer-Encoding:" + value).coding == coding


@pytest.mark.parametrize(
    ("value", "boundaries"),
    [
        (b"boundary=b", [b"b"]),
        (b'BOUNDARY = "b c"', [b"b c", b'"b c"', b'"b']),
        (b"boundary=b (c)", [b"b (c)", b"b"]),
        (b'boundary="b', [b'"b', b"b"]),
        (b'boundary="b; x=y', [b'"b; x=y', b"b; x=y", b"b", b'"b;']),
        (b'boundary="b"c', [b'"b"c', b"b"]),
        (b'boundary="a\\"b"', [b'a"b', b'"a\\"b"', b"a\\"]),
        (b"boundary*0=a; boundary*1=b", [b"ab"]),
        (b"boundary*=us-ascii''a%62", [b"ab"]),
        (b"boundary*0*=us-ascii''a%62; boundary*1=c", [b"abc"]),
        (b"boundary*=''a%zz", [b"a%zz"]),
        (b"boundary=a; boundary=b", [b"a", b"b"]),
        (b"x=y;; boundary=b;", [b"b"]),
        (b'x="; boundary=a"; boundary=b', [b"b"]),
        (b"boundary=", []),
        (b"boundary", []),
        (b"x=y", []),
    ],
)
def test_what_the_boundary_may_be(value: bytes, boundaries: list[bytes]) -> None:
    found = header(b"Content-Type: multipart/mixed; " + value).boundaries
    assert found == boundaries
    assert header(b"Content-Type: text/plain; " + value).boundaries == []


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([b"Content-Type: a/b; name=a.com"], b"a.com"),
        ([b'Content-Type: a/b; name="x"', b"Content-Disposition: x; filename=a.com"], b"a.com"),
        ([b"Content-Disposition: x;", b"\tfilename*0=a;", b" filename*1*=%2Ecom"], b"a.com"),
        ([b'Content-Disposition: x; filename="a\\"; b=.com'], b"a b.com"),
        ([b'Content-Disposition: x; filename="../\xff\0a.com'], b".. a.com"),
        ([b"Content-Disposition: x; filename==?utf-8?q?a=22?="], b"utf-8qa22"),
        ([b"Content-Type: a/b; name=" + b"x" * 1000 + b".com"], b"x" * (NAME_MAX - 4) + b".com"),
        ([b"Content-Type: a/b"], b""),
        ([b'Content-Type: a/b; name=""'], b""),
    ],
)
def test_scanners_see_the_name_of_a_file(lines: list[bytes], name: bytes) -> None:
    type_, *more = header(*lines).as_attachment().splitlines()
    assert type_ == b"Content-Type: application/octet-stream" + (
        b'; name="%b"' % name if name else b""
    )
    place = b'Content-Disposition: attachment; filename="%b"' % name
    assert more == [*([place] if name else []), NOTHING]


def test_scanners_see_how_it_is_encoded() -> None:
    made = header(b"Subject: x;", b"Content-Transfer-Encoding: base64")
    assert made.as_attachment() == (
        b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
        + NOTHING
        + b"\n"
    )


def test_so_much_of_a_field_is_kept_and_no_more() -> None:
    made = Header()
    assert made.add(b"Content-Type: multipart/mixed;")
    for _ in range(3):
        assert made.add(b" " * FIELD_MAX)
    assert made.add(b" boundary=b")
    made.end()
    assert (made.kind, made.boundaries) == (b"multipart", [])
    made = header(b"Content-Type: " + b" " * 70_000 + b"multipart/signed;", b" boundary=b")
    assert made.boundaries == [b"b"]


def test_whether_there_is_any_field() -> None:
    assert not header().any
    assert not header(b" x").any
    assert header(b"X: y").any
