"""What a server refuses for good bounces if that is wanted, and nothing else does."""

from __future__ import annotations

import pytest

from tests.command.test_smtp_extensions import ANNOUNCED, OPTIONS, PIPELINING, THREE
from tests.support.fakes import HANG_UP
from tests.support.mta import MAIL, TEMPFAIL, Ended, Site

BOUNCED = 77

# Refused for good.

FOR_ALL = {
    "MAIL": "MAIL FROM:<anna@example.com>",
    "DATA": "DATA",
    "body": "the content",
    "dot": "the message",
}
LARGE = MAIL + (b"x" * 70 + b"\n") * 100_000


def bounced(ended: Ended, begins: bytes, *words: str) -> None:
    """The MTA bounces the message, and the server's code and words are what it says."""
    assert ended.status == BOUNCED, ended
    assert ended.output.startswith(begins + b" avcheck: "), ended
    for word in words:
        assert word.encode() in ended.output, ended


@PIPELINING
@pytest.mark.parametrize("step", FOR_ALL)
def test_a_message_refused_for_good_bounces_if_wanted(
    site: Site, step: str, more: tuple[bytes, ...]
) -> None:
    answers = {step: b"554-5.7.9 against\r\n554 5.7.9 our policy\r\n"}
    offers = (b"SIZE", *more)
    message = LARGE if step == "body" else MAIL
    site.smtp(answers=answers, offers=offers)
    ended = site.deliver("--refused", "bounce", message=message, recipients=THREE)
    bounced(ended, b"5.7.9", FOR_ALL[step], site.hop[1], "554 5.7.9 against 5.7.9 our policy")
    assert site.left == []
    for options in ([], ["--refused", "defer"]):
        site.smtp(answers=answers, offers=offers)
        ended = site.deliver(*options, message=message, recipients=THREE)
        site.assert_kept(ended, "4.7.9", "554 5.7.9 against")


@PIPELINING
def test_recipients_refused_for_good_bounce_only_together(
    site: Site, more: tuple[bytes, ...]
) -> None:
    never, later = b"550 5.1.1 nobody\r\n", b"450 4.2.1 later\r\n"
    site.smtp(offers=(b"SIZE", *more), answers={f"RCPT {n}": never for n in (1, 2, 3)})
    ended = site.deliver("--refused", "bounce", recipients=THREE)
    bounced(ended, b"5.1.1", "RCPT TO:<one@example.net>", "550 5.1.1 nobody")
    mixed: list[dict[str, bytes]] = [
        {"RCPT 1": never},
        {"RCPT 3": never},
        {"RCPT 1": never, "RCPT 2": never},
        {"RCPT 1": never, "RCPT 2": later, "RCPT 3": never},
        {"RCPT 1": later, "RCPT 2": never, "RCPT 3": never},
        {"RCPT 1": later, "RCPT 2": later, "RCPT 3": later},
        {"RCPT 1": never, "RCPT 2": never, "RCPT 3": b"421 4.3.2 closing\r\n"},
    ]
    for answers in mixed:
        smtp = site.smtp(offers=(b"SIZE", *more), answers=answers)
        site.assert_kept(
            site.deliver("--refused", "bounce", recipients=THREE),
            "refused: ",
        )
        assert b"DATA" not in smtp.commands


CODES = {
    b"550 5.1.1 nobody": b"5.1.1",
    b"550 nobody": b"5.5.0",
    b"550": b"5.5.0",
    b"550 5.1 no": b"5.5.0",
    b"550 5.1.1.1 no": b"5.5.0",
    b"550 5.1234.1 no": b"5.5.0",
    b"550 5.7.1": b"5.7.1",
    b"559 5.999.999 no": b"5.999.999",
}


@pytest.mark.parametrize(("answer", "code"), CODES.items(), ids=lambda value: value.decode())
def test_the_servers_enhanced_code_is_passed_on(site: Site, answer: bytes, code: bytes) -> None:
    site.smtp(answers={"RCPT 1": answer + b"\r\n"})
    bounced(site.deliver("--refused", "bounce"), code)
    site.assert_kept(site.deliver(), "4" + code[1:].decode() + " avcheck: ")
    site.smtp(answers={"RCPT 1": b"4" + answer[1:] + b"\r\n"})
    site.assert_kept(site.deliver("--refused", "bounce"), "4" + code[1:].decode() + " avcheck: ")


NOT_ABOUT_THE_MESSAGE = [
    ("greeting", b"554 5.3.2 no service\r\n"),
    ("EHLO", b"421 4.3.2 no\r\n"),
    ("HELO", b"550 5.7.1 you\r\n"),
    ("STAR", b"554 5.7.3 no\r\n"),
    ("MAIL", b"451 4.3.0 later\r\n"),
    ("DATA", b"250 2.0.0 what?\r\n"),
    ("dot", b"354 go on\r\n"),
    ("body", b"450 4.3.0 later\r\n"),
    ("RCPT 1", b"354 what?\r\n"),
    ("RCPT 1", b"550 4.1.8 a temporary one\r\n"),
    ("RCPT 1", b"550 2.1.5 yes\r\n"),
    ("RCPT 1", b"550-5.1.1 nobody\r\n550 4.2.0 later\r\n"),
    # We are not as the server wants us (RFC 3207 4, RFC 4954 6), or it is confused.
    *((step, b"530 5.7.0 Must issue a STARTTLS command first\r\n") for step in FOR_ALL),
    *((step, b"503 5.5.1 Error: bad sequence of commands\r\n") for step in FOR_ALL),
]


@pytest.mark.parametrize(("step", "answer"), NOT_ABOUT_THE_MESSAGE)
def test_what_is_not_a_no_for_good_about_the_message_never_bounces(
    site: Site, step: str, answer: bytes
) -> None:
    answers = {step: answer}
    options = ["--refused", "bounce"]
    if step == "HELO":
        answers["EHLO"] = b"502 5.5.1 what?\r\n"
    if step == "STAR":
        options += ["--tls", "require"]
    site.smtp(answers=answers, offers=(b"STARTTLS",), quits=step if step == "body" else "")
    ended = site.deliver(*options, message=LARGE if step == "body" else MAIL)
    assert ended.status == TEMPFAIL, ended
    assert ended.output.startswith(b"4."), ended


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT 1", "DATA", "body", "dot"])
@pytest.mark.parametrize("answer", [HANG_UP, b"554 5.7.9 ne", b"nonsense\r\n"])
def test_a_lost_server_never_bounces(site: Site, step: str, answer: bytes) -> None:
    site.smtp(answers={step: answer}, quits=step)
    ended = site.deliver("--refused", "bounce", message=LARGE if step == "body" else MAIL)
    assert ended.status == TEMPFAIL, ended
    assert ended.output.startswith(b"4."), ended


@pytest.mark.parametrize(
    "step", ["greeting", "EHLO", "XFOR", "MAIL", "RCPT 2", "DATA", "body", "dot"]
)
@pytest.mark.parametrize("options", [[], ["--refused", "bounce"]], ids=["", "bounce"])
def test_421_at_any_time_defers(site: Site, step: str, options: list[str]) -> None:
    site.smtp(
        offers=(ANNOUNCED, b"PIPELINING"),
        answers={step: b"421 4.3.2 closing\r\n"},
        quits=step,
    )
    message = LARGE if step == "body" else MAIL
    ended = site.deliver(*options, *OPTIONS, recipients=THREE, message=message)
    site.assert_kept(ended, "4.3.2", "421 4.3.2 closing")
    assert b"possible duplicate" not in ended.output  # to the dot it is a plain no
