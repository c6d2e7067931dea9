"""What scanners see of the fields of a header, where clamd 1.4.6 makes something else of them."""

from __future__ import annotations

import pytest

from avcheck.seen import NOTHING
from tests.unit.test_seen import seen

TOP = b"Subject: x\n"
PART = b"\n--b\n"

# | is where scanners see the field that means nothing, and ^ where they see a quote closed.
ENDS = [
    b"Content-Type: text/html;\n|\nx\n",
    b"Content-Type: text/html; \t\n|\nx\n",
    b"Content-Disposition: attachment; filename=a;\n|\nx\n",
    b"content-type:\n|\nx\n",
    b"Content-Type: text/html;\n name=x;\n|\nx\n",
    b"Content-Type: text/html;\nX-A: b\n\nx\n",
    b"X-A: b;\n\nx\n",
    b"Content-Type: a/b\n\nx;\n\ny:\n",
    b'Content-Type: a/b; name="a\n^\nx\n',
    b'Content-Type: a/b; name="a\n^Content-Transfer-Encoding: base64\n\nx\n',
    b'Content-Disposition: attachment;\n filename="a\n^X: y\n\nx\n',
    b'Content-Type: a/b; name="a\n b"\n\nx\n',
    b'Content-Type: a/b; name="a\\"b"\n^\nx\n',  # libclamav counts
    b'Content-Type: a/b; name="a\\"\n\nx\n',
    b'Content-Description: 5" disk\n\nx\n',
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("before", [TOP, PART])
@pytest.mark.parametrize("fields", ENDS)
def test_a_field_has_no_effect_on_what_is_below(before: bytes, fields: bytes, end: bytes) -> None:
    message = before + fields.replace(b"|", b"").replace(b"^", b"")
    shown = before + fields.replace(b"|", NOTHING + b"\n").replace(b"^", b' "\n')
    for size in (1, 5, 1000):
        assert seen(message.replace(b"\n", end), size) == shown.replace(b"\n", end)


def test_it_ends_before_a_boundary_and_a_line_that_is_no_field_too() -> None:
    message = b"\n--b\nContent-Type: a/b;\n--b\n"
    assert seen(message) == message.replace(b";\n", b";\n" + NOTHING + b"\n")
    message = b"Content-Type: a/b;\nno field\n"
    assert seen(message) == message.replace(b";\n", b";\n" + NOTHING + b"\n\n")


@pytest.mark.parametrize("padding", [b"\t", b" \t", b"\t  "])
def test_a_boundary_has_no_tab_after_it(padding: bytes) -> None:
    for end in (b"\n", b"\r\n"):
        message = b"Subject: x\n\n--b%b\n\nx\n--b%b\n\n--b--%b\n" % ((padding,) * 3)
        shown = b"Subject: x\n\n--b\n\nx\n--b\n\n--b--%b\n" % padding
        assert seen(message.replace(b"\n", end), 7) == shown.replace(b"\n", end)


@pytest.mark.parametrize("line", [b"-- \n", b"--b \n", b"x\t\n", b"--\n"])
def test_another_line_is_as_it_came(line: bytes) -> None:
    message = b"Subject: x\n\n" + line + b"Anna\n"
    assert seen(message, 3) == message


@pytest.mark.parametrize("kind", [b"parallel", b"signed", b"SIGNED"])
@pytest.mark.parametrize("blank", [b" ", b"\n ", b""])
def test_there_is_more_than_one_part_in_it(kind: bytes, blank: bytes) -> None:
    for before in (TOP, PART):
        message = before + b"Content-Type:" + blank + b"multipart/%b; boundary=b\n\nx\n"
        assert seen(message % kind, 3) == message % b"mixed"


@pytest.mark.parametrize("kind", [b"message/partial;x", b"text/plain", b"", b"\n multipart/mixed"])
def test_a_header_has_its_first_type(kind: bytes) -> None:
    """As received it has its last: scanners are asked about both."""
    first = b"content-type: multipart/mixed; boundary=b\n"
    message = TOP + first + b"%bContent-Type: " + kind + b"\n\n"
    assert seen(message % b"", 3) == message % b"X-"
    alone = PART + first + b"\nx\n--b\n" + first + b"\nx\n"
    assert seen(alone) == alone


def test_the_header_of_a_part_ends_above_a_line_that_is_no_field() -> None:
    for name in (b"Content-Type", b"Content-ID", b"content-transfer-encoding"):
        message = PART + name + b": x\nX: y\nno field\n"
        assert seen(message, 3) == message.replace(b"no", b"\nno")
    signature = b"Subject: x\n\n-- \nAnna\nPhone: 1\nMail: a@b.org\nAnna\n"
    assert seen(signature, 3) == signature


@pytest.mark.parametrize("empty", [b"", b"\n", b"\n\n"])
def test_a_preamble_has_no_fields(empty: bytes) -> None:
    header = b"\n--a\nContent-Type: multipart/mixed; boundary=b\n\n" + empty
    rest = b"Content-Type: text/html\n\n--b\n\nx\n"
    assert seen(header + rest, 3) == header + NOTHING + b"\n" + rest
    text = header + b"This is a multi-part message in MIME format.\n" + rest
    assert seen(text, 3) == text
    inner = b"\n--a\nContent-Type: message/rfc822\n\n" + rest
    assert seen(inner, 3) == inner
