"""Handing on by SMTP: whatever goes wrong at whatever step, all recipients get it or none do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.fakes import HANG_UP
from tests.support.mta import MAIL, Site

WIRE = MAIL.replace(b"\n", b"\r\n")
THREE = ("one@example.net", "two@example.net", "three@example.net")

# Every step of a conversation, and what has to be answered before for it to be reached.
STEPS = {
    "greeting": {},
    "EHLO": {},
    "HELO": {"EHLO": b"502 5.5.1 what?\r\n"},
    "MAIL": {},
    "RCPT 1": {},
    "RCPT 2": {},
    "RCPT 3": {},
    "DATA": {},
    "body": {},
    "dot": {},
}

# With PIPELINING several commands arrive at once, without it one after the other.
PIPELINING = pytest.mark.parametrize(
    "offers", [(b"PIPELINING", b"SIZE"), (b"SIZE 0",)], ids=["pipelining", "one by one"]
)

ANSWERS = {
    "4xx": b"451 4.3.9 come back\r\n",
    "421": b"421 4.3.2 closing\r\n",
    "5xx": b"554 5.7.9 never\r\n",
    "5xx without enhanced code": b"550 never\r\n",
    "several lines": b"550-5.1.1 no\r\n550 5.1.1 never\r\n",
    "hung up": HANG_UP,
    "cut short": b"250 2.0.0 o",
    "an unexpected kind": b"199 what is this\r\n",
    "no code": b"ok, go on\r\n",
    "garbage": b"\0\xff\x1b[31m\r\n",
    "an empty line": b"\r\n",
    "codes that differ": b"250-yes\r\n550 no\r\n",
    "a long line": b"250 " + b"x" * 100_000 + b"\r\n",
    "no line end": b"250 " + b"x" * 100_000,
    "lines for ever": b"250-x\r\n" * 10_000,
}


# What is given up as it comes, and not when it ends.
TOO_MUCH = {
    ANSWERS["a long line"]: b"a line of more than 8192 bytes",
    ANSWERS["no line end"]: b"a line of more than 8192 bytes",
    ANSWERS["lines for ever"]: b"more than 128 lines",
}


@PIPELINING
@pytest.mark.parametrize(
    ("step", "answer"),
    [
        pytest.param(step, answer, id=f"{step}, {name}")
        for step in STEPS
        for name, answer in ANSWERS.items()
        if not (step == "EHLO" and answer.startswith(b"55"))  # HELO is tried after that
    ],
)
def test_no_at_any_step(site: Site, step: str, answer: bytes, offers: tuple[bytes, ...]) -> None:
    # What cuts an answer short hangs up after it; so does 421, and a server that is mad.
    quits = answer.endswith(b"\r\n") and len(answer) < 100
    site.smtp(answers={**STEPS[step], step: answer}, offers=offers, quits="" if quits else step)
    # Large enough for the server's answer to come before the end.
    message = MAIL + (b"x" * 70 + b"\n") * (100_000 if step == "body" else 1)
    ended = site.deliver(recipients=THREE, message=message)
    site.assert_deferred(ended, site.hop[1])
    assert site.delivered == [] or step == "dot"
    assert ended.output.startswith(code(answer)), ended
    assert (b"possible duplicate" in ended.output) == (step == "dot" and lost(answer)), ended
    assert ended.output.isascii()
    if answer in TOO_MUCH:
        assert TOO_MUCH[answer] in ended.output, ended
    if quits and answer[3:4] == b" " and answer[:1] in b"45":
        assert answer[4:].split()[-1] in ended.output, ended


def code(answer: bytes) -> bytes:
    """What the output begins with: the server's own code, with 4 for its class."""
    for own, ours in ((b"451 4.3.9", b"4.3.9"), (b"421 4", b"4.3.2"), (b"554 5", b"4.7.9")):
        if answer.startswith(own):
            return ours
    return b"4.1.1" if answer.startswith(b"550-5") else b"4."


def lost(answer: bytes) -> bool:
    """Whether it is no plain no: the message may have been taken."""
    return answer[:3] not in (b"421", b"451", b"554", b"550")


@PIPELINING
@pytest.mark.parametrize("refused", [1, 2, 3])
@pytest.mark.parametrize("answer", [b"450 4.2.1 later\r\n", b"550 5.1.1 nobody\r\n"])
def test_one_refused_recipient_keeps_the_message_for_all(
    site: Site, refused: int, answer: bytes, offers: tuple[bytes, ...]
) -> None:
    smtp = site.smtp(answers={f"RCPT {refused}": answer}, offers=offers)
    site.assert_kept(site.deliver(recipients=THREE), THREE[refused - 1], answer.decode().strip())
    smtp.stop()
    assert b"DATA" not in smtp.commands
    assert smtp.commands[-1] == b"QUIT"


@PIPELINING
def test_the_conversation(site: Site, offers: tuple[bytes, ...]) -> None:
    smtp = site.smtp(offers=offers)
    assert site.deliver(recipients=THREE).status == 0
    smtp.stop()
    hello, mail, *rest = smtp.commands
    assert hello.startswith(b"EHLO ")
    assert mail.startswith(b"MAIL FROM:<anna@example.com>")
    assert rest == [*(b"RCPT TO:<%b>" % each.encode() for each in THREE), b"DATA", b"QUIT"]
    assert site.delivered == [WIRE]
    at_once = ["MAIL", "RCPT 1", "RCPT 2"] if b"PIPELINING" in offers else []
    assert smtp.early == at_once


@pytest.mark.parametrize("refusal", [b"500 5.5.1 what?\r\n", b"502 no\r\n", b"554-a\r\n554 b\r\n"])
def test_helo_for_a_server_without_ehlo(site: Site, refusal: bytes) -> None:
    smtp = site.smtp(answers={"EHLO": refusal})
    assert site.deliver(recipients=THREE).status == 0
    assert smtp.commands[1].startswith(b"HELO ")
    assert smtp.commands[2] == b"MAIL FROM:<anna@example.com>"
    assert site.delivered == [WIRE]


def test_answers_of_several_lines_byte_by_byte(site: Site) -> None:
    site.smtp(
        one_by_one=True,
        answers={
            "greeting": b"220-hello\r\n220-\r\n220 mx\r\n",
            "EHLO": b"250-mx\r\n250-PIPELINING\r\n250-X-MANY words\r\n250 size 0\r\n",
            "MAIL": b"250-ok\r\n250\r\n",
            "RCPT 1": b"251 forwarding\r\n",
            "DATA": b"354-go\r\n354 ahead\r\n",
            "dot": b"250-taken\r\n250-and\r\n250 queued as 4XYZ\r\n",
        },
    )
    ended = site.deliver()
    assert ended.status == 0
    assert ended.output.endswith(b"250 taken and queued as 4XYZ\n")
    assert site.delivered == [WIRE]


def test_lines_that_end_in_lf_alone_are_read(site: Site) -> None:
    site.smtp(answers={"greeting": b"220 mx\n", "MAIL": b"250 ok\n", "dot": b"250 ok\n"})
    assert site.deliver().status == 0


def test_a_server_that_does_not_answer_quit_is_not_waited_for_long(site: Site) -> None:
    server = site.smtp(hold="QUIT")
    assert site.deliver().status == 0
    server.arrived()
    assert site.delivered == [WIRE]


def test_a_yes_before_the_final_dot_is_no_yes(site: Site) -> None:
    """A server out of step, or one that hangs up: it has not read the dot, so it has nothing."""
    site.smtp(answers={"DATA": b"354 go\r\n250 2.0.0 taken\r\n"}, quits="DATA")
    site.assert_kept(site.deliver(), site.hop[1])
    site.smtp(answers={"body": b"250 2.0.0 taken\r\n"}, quits="body")
    ended = site.deliver(message=MAIL + b"x" * 10_000_000)
    site.assert_kept(ended, site.hop[1])


@PIPELINING
@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT 1", "RCPT 2", "RCPT 3"])
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    site: Site, step: str, offers: tuple[bytes, ...]
) -> None:
    usual = b"220 mx\r\n" if step == "greeting" else b"250 ok\r\n"
    if step == "EHLO":
        usual = b"".join(b"250-%b\r\n" % word for word in (b"mx", *offers)) + usual
    # The next answers are noes, so each of these makes one of them a yes.
    noes = {each: b"554 5.7.1 no\r\n" for each in STEPS if each.startswith(("RCPT 3", "DATA"))}
    smtp = site.smtp(answers={**noes, step: usual + b"250 2.0.0 ok\r\n"}, offers=offers)
    site.assert_kept(site.deliver(recipients=THREE), str(site.hop[1]))
    smtp.stop()
    assert smtp.cut_short == []


def test_a_message_that_is_given_up_ends_with_the_connection(site: Site) -> None:
    """A QUIT would be a line of the message."""
    smtp = site.smtp(offers=())
    site.assert_kept(site.deliver("-c", message=b"seven\n" * 50_000 + b"\xe4\n"), "8BITMIME")
    smtp.stop()
    assert smtp.commands[-1] == b"DATA"
    (cut,) = smtp.cut_short
    assert cut.startswith(b"seven\r\nseven\r\n")
    assert b"QUIT" not in cut


def test_thirty_recipients(site: Site) -> None:
    recipients = tuple(f"user{number}@example.net" for number in range(30))
    smtp = site.smtp()
    assert site.deliver(recipients=recipients).status == 0
    assert [letter.recipients for letter in smtp.messages] == [
        tuple(each.encode() for each in recipients)
    ]


@PIPELINING
def test_many_recipients_do_not_fill_the_pipe(site: Site, offers: tuple[bytes, ...]) -> None:
    recipients = tuple(f"{'x' * 60}{number}@{'example.' * 20}net" for number in range(500))
    smtp = site.smtp(offers=offers)
    assert site.deliver(recipients=recipients).status == 0
    assert len(smtp.messages[0].recipients) == 500


# Servers that are not there.


def test_nobody_listens(site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        site.hop = ("-S", where)
        site.assert_kept(site.deliver(), "4.4.1", where, "refused")


def test_no_such_host(site: Site) -> None:
    site.hop = ("-S", "mx.invalid:no-such-service")
    site.assert_kept(site.deliver(), "4.4.1", "mx.invalid", "no such host")


@pytest.mark.parametrize("step", ["greeting", "MAIL", "dot"])
def test_a_silent_server_is_waited_for_until_the_deadline(site: Site, step: str) -> None:
    site.smtp(hold=step)
    ended = site.deliver("--deadline", "0.5")
    site.assert_kept(ended, "4.4.7")
    assert (b"possible duplicate" in ended.output) == (step == "dot"), ended


# Where it is, and what it is offered.


@pytest.mark.parametrize("spelling", ["127.0.0.1:{port}", ":{port}", "localhost:{port}"])
def test_spellings_of_the_server(site: Site, spelling: str) -> None:
    port = str(site.hop[1]).rpartition(":")[2]
    site.hop = ("-S", spelling.format(port=port))
    assert site.deliver().status == 0
    assert site.delivered == [WIRE]


def test_a_server_on_a_unix_socket(site: Site) -> None:
    site.smtp(unix=True)
    assert site.deliver().status == 0
    assert site.delivered == [WIRE]


def test_a_unix_socket_that_is_not_there(site: Site, tmp_path: Path) -> None:
    site.hop = ("-S", f"unix:{tmp_path}/none")
    site.assert_kept(site.deliver(), "4.4.1", f"{tmp_path}/none", "No such file")


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
def test_a_message_with_eight_bits_is_not_converted(site: Site, client: list[str]) -> None:
    eight = b"Subject: x\n\n" + b"seven\n" * 50_000 + b"\xe4\n"
    smtp = site.smtp(offers=(b"PIPELINING",))
    site.assert_kept(site.deliver(*client, message=eight), "4.3.5", "8BITMIME")
    assert site.deliver(*client).status == 0
    smtp = site.smtp()
    assert site.deliver(*client, message=eight).status == 0
    assert smtp.commands[1].endswith(b" BODY=8BITMIME")


def test_an_address_in_utf8_needs_smtputf8(site: Site) -> None:
    recipients = ("j\u00fcrgen@example.net",)
    site.assert_kept(site.deliver(recipients=recipients), "SMTPUTF8")
    smtp = site.smtp(offers=(b"8BITMIME", b"SMTPUTF8"))
    assert site.deliver(recipients=recipients).status == 0
    assert b" SMTPUTF8" in smtp.commands[1]
    assert smtp.messages[0].recipients == (recipients[0].encode(),)


ADDRESSES = {
    "two words@example.net": b'"two words"@example.net',
    '"two words"@example.net': b'"two words"@example.net',
    "a,b@example.net": b'"a,b"@example.net',
    "postmaster": b"postmaster",
    'say "hi"@example.net': b'"say \\"hi\\""@example.net',
    "user@[127.0.0.1]": b"user@[127.0.0.1]",
}


@pytest.mark.parametrize(("given", "sent"), ADDRESSES.items(), ids=ADDRESSES)
def test_addresses_are_quoted_where_they_have_to_be(site: Site, given: str, sent: bytes) -> None:
    smtp = site.smtp()
    assert site.deliver(recipients=(given,)).status == 0
    assert smtp.messages[0].recipients == (sent,)


ODD = ["a\x01b@example.net", "\x7f@example.net", "a\tb@example.net", "a@example.n\x1bet", "a@b:c,d"]


@pytest.mark.parametrize("address", ODD)
def test_of_an_odd_address_the_server_is_asked(site: Site, address: str) -> None:
    """One that Postfix takes and passes on would hold back the message for everybody else."""
    local, _, domain = address.partition("@")
    quoted = address if domain != "example.net" else f'"{local}"@{domain}'
    smtp = site.smtp()
    assert site.deliver(recipients=(address, "b@example.net"), sender=address).status == 0
    assert smtp.messages[0].recipients == (quoted.encode(), b"b@example.net")
    smtp = site.smtp(answers={"RCPT 1": b"501 5.1.3 no address\r\n"})
    ended = site.deliver(recipients=(address, "b@example.net"))
    site.assert_deferred(ended, "4.1.3", "501 5.1.3 no address")


@pytest.mark.parametrize("address", ["a@b> SIZE=1", "a@b c", "a@b\tc", "a@b>", 'a@b"', "a@b(c)"])
def test_an_address_that_is_none_is_not_sent(site: Site, address: str) -> None:
    smtp = site.smtp()
    site.assert_kept(site.deliver(recipients=(address,)), "4.1.3", "not a mail address")
    site.assert_kept(site.deliver(sender=address), "4.1.3")
    assert not [command for command in smtp.commands if command.startswith((b"MAIL", b"RCPT"))]
