"""What avcheck tells an SMTP server by its extensions: SIZE, 8BITMIME, SMTPUTF8, DSN, XFORWARD."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeSmtp
from tests.support.mta import MAIL, TEMPFAIL, Site

WIRE = MAIL.replace(b"\n", b"\r\n")
THREE = ("one@example.net", "two@example.net", "three@example.net")


def command(server: FakeSmtp, verb: bytes) -> bytes:
    """The only command of that verb that the server was given."""
    (line,) = commands(server, verb)
    return line


def commands(server: FakeSmtp, verb: bytes) -> list[bytes]:
    return [line for line in server.commands if line.split(b" ")[0] == verb]


def verbs(server: FakeSmtp) -> list[bytes]:
    """What the server was told in one conversation, to its end."""
    server.arrived("QUIT")
    return [line.split()[0] for line in server.commands]


def parameters(server: FakeSmtp, verb: bytes) -> list[list[bytes]]:
    """The parameters of each MAIL or RCPT."""
    return [line.rpartition(b">")[2].split() for line in commands(server, verb)]


# SIZE (RFC 1870).

SIZES = {
    "lines end in LF": b"Subject: x\n\nHello.\n",
    "lines end in CRLF": b"Subject: x\r\n\r\nHello.\r\n",
    "no final line end": b"Subject: x\n\nHello.",
    "dots": b"Subject: x\n\n.\n..\n.x\n",
    "a line end in the first piece only": b"Subject: x\n" + b"y" * 200_000,
    "empty": b"",
}


@pytest.mark.parametrize("options", [[], ["-h", "here"]], ids=["as it is", "with a header"])
@pytest.mark.parametrize("message", SIZES.values(), ids=SIZES)
def test_the_size_is_that_of_the_data_on_the_wire(
    site: Site, message: bytes, options: list[str]
) -> None:
    """RFC 1870 3: with CRLF for each line end, without doubled dots and the final one."""
    smtp = site.smtp(offers=(b"PIPELINING", b"8BITMIME", b"SIZE 1000000"))
    assert site.deliver(*options, message=message).status == 0
    (data,) = site.delivered
    assert parameters(smtp, b"MAIL") == [[b"SIZE=%d" % len(data)]]


def test_no_size_where_none_is_asked_for_or_known(site: Site) -> None:
    smtp = site.smtp(offers=(b"PIPELINING", b"8BITMIME"))
    assert site.deliver().status == 0
    assert parameters(smtp, b"MAIL") == [[]]
    smtp = site.smtp(offers=(b"SIZE 1000000",))
    assert site.deliver("-c").status == 0  # standard input has no end yet
    assert parameters(smtp, b"MAIL") == [[]]


def test_a_message_over_the_size_is_refused_before_it_is_sent(site: Site) -> None:
    smtp = site.smtp(offers=(b"PIPELINING", b"SIZE 10"), answers={"MAIL": b"552 5.3.4 too big\r\n"})
    site.assert_kept(site.deliver(), "4.3.4", "552 5.3.4 too big")
    assert b"DATA" not in smtp.commands


# 8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531).

SEVEN = (b"PIPELINING", b"SIZE")
EIGHT = (*SEVEN, b"8BITMIME")
BODIES = {
    "in the body": b"Subject: x\n\nGr\xc3\xbc\xc3\x9fe\n",
    "in the header": "Subject: Gr\u00fc\u00dfe\n\nHello.\n".encode(),
    "no UTF-8": b"Subject: x\n\n\xff\xfe\x80\n",
    "in the last byte": b"Subject: x\n\n" + b"seven\n" * 30_000 + b"\xe4",
}


@pytest.mark.parametrize("message", BODIES.values(), ids=BODIES)
def test_eight_bits_are_announced_and_never_converted(site: Site, message: bytes) -> None:
    smtp = site.smtp(offers=(*EIGHT, b"SMTPUTF8"))
    assert site.deliver(message=message).status == 0
    assert parameters(smtp, b"MAIL")[0][1:] == [b"BODY=8BITMIME"]
    assert site.delivered[0].startswith(message.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("options", [[], ["--refused", "bounce"]], ids=["", "bounce"])
@pytest.mark.parametrize("message", BODIES.values(), ids=BODIES)
def test_eight_bits_wait_for_a_server_that_takes_them(
    site: Site, message: bytes, options: list[str]
) -> None:
    smtp = site.smtp(offers=SEVEN)
    site.assert_kept(site.deliver(*options, message=message), "4.3.5", "8BITMIME")
    assert commands(smtp, b"MAIL") == commands(smtp, b"DATA") == []
    assert verbs(smtp) == [b"EHLO", b"QUIT"]


def test_eight_bits_wait_when_the_server_knows_no_ehlo(site: Site) -> None:
    site.smtp(answers={"EHLO": b"500 5.5.1 what?\r\n"})
    ended = site.deliver(message=BODIES["in the body"])
    site.assert_kept(ended, "4.3.5", "8BITMIME")


def test_seven_bits_need_nothing(site: Site) -> None:
    smtp = site.smtp(offers=(b"8BITMIME", b"SMTPUTF8"))
    assert site.deliver().status == 0
    assert parameters(smtp, b"MAIL") == [[]]


def test_utf8_in_the_header_alone_asks_for_no_smtputf8(site: Site) -> None:
    """It came without; to ask for it now would make it bounce at a next hop that has it not."""
    smtp = site.smtp(offers=(b"8BITMIME", b"SMTPUTF8"))
    message = "Subject: Gr\u00fc\u00dfe\nFrom: j\u00fcrgen@example.com\n\nx\n".encode()
    assert site.deliver(message=message).status == 0
    assert parameters(smtp, b"MAIL") == [[b"BODY=8BITMIME"]]


@pytest.mark.parametrize("whose", ["sender", "recipients"])
def test_smtputf8_is_asked_for_by_an_address(site: Site, whose: str) -> None:
    address = "j\u00fcrgen@b\u00fccher.example"
    line = {"sender": address} if whose == "sender" else {"recipients": (*THREE, address)}
    smtp = site.smtp(offers=(*EIGHT, b"SMTPUTF8"))
    assert site.deliver(**line).status == 0
    assert b"SMTPUTF8" in parameters(smtp, b"MAIL")[0]
    assert any(address.encode() in line for line in smtp.commands)
    smtp = site.smtp(offers=EIGHT)
    ended = site.deliver("--refused", "bounce", **line)
    assert ended.status == TEMPFAIL
    assert ended.output.startswith(b"4.3.5 ")
    assert b"SMTPUTF8" in ended.output
    assert commands(smtp, b"MAIL") == []


# Delivery status notifications (RFC 3461).

DSN = ["--envid", "Q=1+2 3", "--ret", "hdrs", "--notify", "success,failure"]


def test_dsn_parameters_are_passed_on(site: Site) -> None:
    smtp = site.smtp(offers=(b"PIPELINING", b"DSN"))
    original = ["--orcpt=a+b=c@x", "--orcpt=", "--orcpt=j\u00fcrgen@example.net"]
    assert site.deliver(*DSN, *original, recipients=THREE).status == 0
    assert parameters(smtp, b"MAIL") == [[b"RET=HDRS", b"ENVID=Q+3D1+2B2+203"]]
    notify = b"NOTIFY=SUCCESS,FAILURE"
    # What is empty or not in ASCII cannot be said in this type of address.
    assert parameters(smtp, b"RCPT") == [[notify, b"ORCPT=rfc822;a+2Bb+3Dc@x"], [notify], [notify]]


@pytest.mark.parametrize("offers", [(b"PIPELINING",), (b"DSNX", b"X DSN")])
def test_dsn_parameters_are_for_a_server_that_offers_it(
    site: Site, offers: tuple[bytes, ...]
) -> None:
    smtp = site.smtp(offers=offers)
    ended = site.deliver(*DSN, "--orcpt", "a@b", "--notify", "NEVER")
    assert ended.status == 0
    assert parameters(smtp, b"MAIL") == parameters(smtp, b"RCPT") == [[]]


def test_dsn_parameters_that_are_not_given_are_not_sent(site: Site) -> None:
    smtp = site.smtp(offers=(b"DSN",))
    assert site.deliver("--envid=", "--envid", "no\nline").status == 0
    assert parameters(smtp, b"MAIL") == parameters(smtp, b"RCPT") == [[]]
    assert site.deliver("--ret", "FULL", "--notify", "never").status == 0
    assert parameters(smtp, b"MAIL")[1] == [b"RET=FULL"]
    assert parameters(smtp, b"RCPT")[1] == [b"NOTIFY=NEVER"]


@pytest.mark.parametrize(
    "options",
    [
        ["--notify", "never,failure"],
        ["--notify", ""],
        ["--ret", "some"],
        ["--orcpt", "a@b", "--orcpt", "c@d"],
        ["--orcpt", "a@b\nDATA"],
    ],
)
def test_dsn_parameters_that_make_no_sense_are_wrong_usage(site: Site, options: list[str]) -> None:
    smtp = site.smtp(offers=(b"DSN",))
    site.assert_kept(site.deliver(*options), "4.3.5", options[0])
    assert smtp.commands == []


# XFORWARD (Postfix's XFORWARD_README).

ANNOUNCED = b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
CLIENT = {
    "NAME": "spike.example.net",
    "ADDR": "192.0.2.9",
    "PORT": "4711",
    "PROTO": "ESMTP",
    "HELO": "spike",
    "IDENT": "4XYZ",
    "SOURCE": "REMOTE",
}
OPTIONS = [word for pair in CLIENT.items() for word in ("--xforward", "=".join(pair))]


def forwarded(server: FakeSmtp) -> dict[bytes, bytes]:
    """The attributes that the server was told, each of them once."""
    pairs = [
        word.split(b"=", 1) for line in commands(server, b"XFORWARD") for word in line.split()[1:]
    ]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


PIPELINING = pytest.mark.parametrize(
    "more", [(b"PIPELINING",), (b"8BITMIME",)], ids=["pipelining", "one by one"]
)


@PIPELINING
def test_the_client_is_told_before_the_sender(site: Site, more: tuple[bytes, ...]) -> None:
    smtp = site.smtp(offers=(ANNOUNCED, *more))
    assert site.deliver(*OPTIONS).status == 0
    assert forwarded(smtp) == {name.encode(): value.encode() for name, value in CLIENT.items()}
    assert verbs(smtp) == [b"EHLO", b"XFORWARD", b"MAIL", b"RCPT", b"DATA", b"QUIT"]


def test_only_announced_attributes_are_told(site: Site) -> None:
    smtp = site.smtp(offers=(b"xforward port Addr", b"PIPELINING"))
    assert site.deliver(*OPTIONS).status == 0
    assert forwarded(smtp) == {b"ADDR": b"192.0.2.9", b"PORT": b"4711"}
    for offers in (
        (b"PIPELINING",),
        (b"XFORWARD", b"SIZE"),
        (b"XFORWARD IDENT",),
        (b"XCLIENT NAME",),
    ):
        smtp = site.smtp(offers=offers)
        assert site.deliver("--xforward", "NAME=a", "--xforward", "ADDR=b").status == 0
        assert commands(smtp, b"XFORWARD") == []


def test_nothing_is_told_unasked(site: Site) -> None:
    smtp = site.smtp(offers=(ANNOUNCED,))
    assert site.deliver().status == 0
    assert commands(smtp, b"XFORWARD") == []


VALUES = {
    "": b"[UNAVAILABLE]",
    "unknown": b"[UNAVAILABLE]",
    "2001:db8::7": b"IPV6:2001:db8::7",
    "IPv6:2001:db8::7": b"IPv6:2001:db8::7",
    "192.0.2.9": b"192.0.2.9",
}


@pytest.mark.parametrize(("given", "told"), VALUES.items(), ids=lambda value: str(value) or "empty")
def test_addresses_are_spelled_as_xforward_wants_them(site: Site, given: str, told: bytes) -> None:
    smtp = site.smtp(offers=(ANNOUNCED,))
    assert site.deliver("--xforward", f"ADDR={given}").status == 0
    assert forwarded(smtp) == {b"ADDR": told}


def test_a_value_is_xtext_so_it_can_add_no_command_or_attribute(site: Site) -> None:
    smtp = site.smtp(offers=(ANNOUNCED,))
    hostile = "a b+c=d\r\nMAIL FROM:<x> \u00fc\x7f"
    assert site.deliver("--xforward", f"HELO={hostile}").status == 0
    assert forwarded(smtp) == {b"HELO": b"a+20b+2Bc+3Dd+0D+0AMAIL+20FROM:<x>+20+C3+BC+7F"}
    assert verbs(smtp) == [b"EHLO", b"XFORWARD", b"MAIL", b"RCPT", b"DATA", b"QUIT"]


@PIPELINING
def test_long_values_make_several_short_commands(site: Site, more: tuple[bytes, ...]) -> None:
    """Postfix: a command has at most 512 bytes with its CRLF, a value at most 255."""
    smtp = site.smtp(offers=(ANNOUNCED, *more))
    long = [word for name in CLIENT for word in ("--xforward", name + "=" + "\u00fc" * 300)]
    assert site.deliver(*long).status == 0
    lines = commands(smtp, b"XFORWARD")
    assert len(lines) > 1
    assert all(len(line) + 2 <= 512 for line in lines)
    told = forwarded(smtp)
    assert set(told) == {name.encode() for name in CLIENT}
    # As much of it as there is room for, and not cut within a character of xtext.
    assert all(value == b"+C3+BC" * 42 + b"+C3" for value in told.values())


@PIPELINING
@pytest.mark.parametrize(
    "answer", [b"550 5.7.0 no\r\n", b"450 4.7.1 no\r\n", b"501 5.5.4 what?\r\n"]
)
@pytest.mark.parametrize("options", [[], ["--refused", "bounce"]], ids=["", "bounce"])
def test_a_refused_xforward_stops_no_mail(
    site: Site, answer: bytes, more: tuple[bytes, ...], options: list[str]
) -> None:
    smtp = site.smtp(offers=(ANNOUNCED, *more), answers={"XFOR": answer})
    assert site.deliver(*options, *OPTIONS, recipients=THREE).status == 0
    assert commands(smtp, b"XFORWARD")
    assert site.delivered == [WIRE]


@PIPELINING
def test_after_a_refused_xforward_the_others_are_matched_to_their_replies(
    site: Site, more: tuple[bytes, ...]
) -> None:
    answers = {"XFOR": b"550 5.7.0 no\r\n", "RCPT 2": b"550 5.1.1 nobody\r\n"}
    smtp = site.smtp(offers=(ANNOUNCED, *more), answers=answers)
    ended = site.deliver("--refused", "bounce", *OPTIONS, recipients=THREE)
    site.assert_kept(ended, "4.1.1", "two@example.net", "550 5.1.1 nobody")
    assert b"DATA" not in smtp.commands


def test_an_attribute_that_nobody_knows_is_wrong_usage(site: Site) -> None:
    for value in ("NAME", "LOGIN=me", "=x"):
        site.assert_kept(site.deliver("--xforward", value), "4.3.5", "--xforward", "NAME=VALUE")
