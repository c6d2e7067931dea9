"""Lines become a reply, or what is no reply."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.deliver import smtp_replies
from avcheck.deliver.smtp_replies import Replies, Reply
from avcheck.exits import Defer

# Replies.


def gathered(*lines: bytes) -> Reply | None:
    replies = Replies()
    found = None
    for line in lines:
        assert found is None, "more after the end"
        found = replies.add(line)
    return found


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"250 ok\r"], "250 ok"),
        ([b"250 ok"], "250 ok"),
        ([b"250"], "250"),
        ([b"250 "], "250"),
        ([b"250-a\r", b"250-b\r", b"250 c\r"], "250 a b c"),
        ([b"250-a", b"250"], "250 a"),
        ([b"599 \x1b[31m"], "599 ?[31m"),
        ([b"200 \xc3\xbc"], "200 ??"),
    ],
)
def test_lines_become_a_reply(lines: list[bytes], shown: str) -> None:
    found = gathered(*lines)
    assert found is not None
    assert str(found) == shown


@pytest.mark.parametrize(
    "lines",
    [
        [b""],
        [b"25"],
        [b"+OK"],
        [b"250ok"],
        [b"2500 ok"],
        [b"199 ok"],
        [b"600 ok"],
        [b" 250 ok"],
        [b"25\xb2 ok"],
        [b"-250 ok"],
        [b"250-a", b"251 b"],
        [b"250-a", b"ok"],
        [b"250_a"],
    ],
)
def test_what_is_no_reply_is_not_taken_for_one(lines: list[bytes]) -> None:
    with pytest.raises(Defer, match="not an SMTP reply"):
        gathered(*lines)


def test_a_reply_has_an_end_some_time() -> None:
    replies = Replies()
    with pytest.raises(Defer, match=f"more than {smtp_replies.REPLY_LINES_MAX} lines"):
        for _ in range(smtp_replies.REPLY_LINES_MAX + 1):
            assert replies.add(b"250-x") is None


def test_one_reply_leaves_nothing_to_the_next() -> None:
    replies = Replies()
    assert replies.add(b"250-a") is None
    first = replies.add(b"250 b")
    second = replies.add(b"354 c")
    assert first is not None
    assert second is not None
    assert (first.lines, second.lines) == ((b"a", b"b"), (b"c",))


@hypothesis.given(st.lists(st.binary(max_size=12), max_size=5))
def test_any_lines_are_replies_or_deferred(lines: list[bytes]) -> None:
    replies = Replies()
    try:
        for line in lines:
            found = replies.add(line)
            assert found is None or 200 <= found.code < 600
    except Defer:
        return


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5.1.1 no", "4.1.1"),
        ("5.1.1", "4.1.1"),
        ("4.7.1 later", "4.7.1"),
        ("5.7.123 x", "4.7.123"),
        ("2.1.1 x", "4.5.0"),
        ("5.1 x", "4.5.0"),
        ("5.1.1.1 x", "4.5.0"),
        ("5.1234.1 x", "4.5.0"),
        ("5..1 x", "4.5.0"),
        ("x5.1.1 x", "4.5.0"),
        (" 5.1.1", "4.5.0"),
        ("", "4.5.0"),
        ("no 5.1.1", "4.5.0"),
    ],
)
def test_the_server_s_code_is_passed_on_as_a_temporary_one(text: str, code: str) -> None:
    with pytest.raises(Defer) as why:
        smtp_replies.want(2, b"RCPT", [Reply(550, (text.encode(),))])
    assert why.value.code == code
