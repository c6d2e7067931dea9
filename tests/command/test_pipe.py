"""The command as a mail system runs it: messages go in, and come out or stay."""

from __future__ import annotations

import os
import re

import pytest

from avcheck.seen import FRONT
from tests.support.mta import CLOSING, MAIL, Ended, Site, until

FOUND = b"Eicar-Test-Signature FOUND"


def wire(message: bytes) -> bytes:
    """A message with LF line ends as a mail server has to get it."""
    return message.replace(b"\n", b"\r\n")


# Messages.


def test_a_clean_message_is_delivered_unchanged(site: Site) -> None:
    ended = site.deliver()
    assert ended.status == 0
    assert re.fullmatch(rb"clean: clamd \d+ms; 127\.0\.0\.1:\d+ 250 2\.0\.0 taken\n", ended.output)
    assert site.delivered == [wire(MAIL)]
    assert site.left == []
    (question,) = site.scanner.questions
    assert question.content == FRONT + MAIL


MESSAGES = {
    "no bytes at all": b"",
    "one line end": b"\n",
    "one dot": b".\n",
    "NUL bytes": b"Subject: \0\n\n\0\0\0\n\0",
    "every byte": b"Subject: all\n\n" + bytes(range(256)) + b"\n",
    "a line of 10 MB": b"Subject: long\n\n" + b"0123456789" * 1_000_000 + b"\n",
    "no last line end": b"Subject: cut\n\nbody",
    "no header": b"\n\njust a body\n",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_any_bytes_are_a_message(site: Site, message: bytes) -> None:
    assert site.deliver(message=message).status == 0
    expected = wire(message)
    assert site.delivered == [
        expected if expected.endswith(b"\r\n") or not expected else expected + b"\r\n"
    ]
    sendmail = site.sendmail()
    assert site.deliver(message=message).status == 0
    assert sendmail.stdin == message
    # There may be a second reading of each, in other words.
    seen = [question.content.endswith(message) for question in site.scanner.questions]
    assert seen.count(True) >= 2
    assert site.left == []


def test_an_infected_message_goes_to_the_handler(site: Site) -> None:
    site.clamd(says=FOUND)
    handler = site.handler()
    ended = site.deliver()
    assert ended == Ended(
        0, b"infected: Eicar-Test-Signature; %b\n" % os.fsencode(handler.path.name)
    )
    assert handler.note("message") == MAIL
    assert site.delivered == []
    assert site.left == []


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
def test_a_closed_standard_input_is_no_message(site: Site, client: list[str]) -> None:
    ended = site.start([*CLOSING["0"], *site.words(*client)]).end()
    site.assert_kept(ended, "standard input is closed")


def test_a_standard_input_that_cannot_be_read_is_no_message(site: Site) -> None:
    with open(os.devnull, "wb") as writable:
        ended = site.start(site.words(), stdin=writable.fileno()).end()
    site.assert_kept(ended, "standard input", "Bad file descriptor")


def test_a_standard_input_that_does_not_block_is_waited_for(site: Site) -> None:
    theirs, mine = os.pipe()
    os.set_blocking(theirs, False)
    running = site.start(site.words(), stdin=theirs)
    os.close(theirs)
    with os.fdopen(mine, "wb") as pipe:
        until(lambda: running.process.poll() is not None or running.is_in("poll_schedule"))
        pipe.write(MAIL)
    assert running.end().status == 0
    assert site.delivered == [wire(MAIL)]


# -c, injection only.


def test_c_injects_unchecked_by_smtp(site: Site) -> None:
    words = [*site.command, "-c", "-S", site.hop[1], "-f", "", "postmaster@example.com"]
    ended = site.start(words).end(MAIL)
    assert ended.status == 0
    assert ended.output.startswith(b"injected: 127.0.0.1:")
    assert site.delivered == [wire(MAIL)]
    assert site.scanner.questions == []


def test_c_injects_unchecked_by_sendmail(site: Site) -> None:
    sendmail = site.sendmail("echo queued as 4XYZ")
    words = [*site.command, "-c", "-S", str(sendmail.path), "-f", "", "postmaster@example.com"]
    ended = site.start(words).end(MAIL)
    assert ended == Ended(0, b"injected: %b queued as 4XYZ\n" % os.fsencode(sendmail.path))
    assert sendmail.stdin == MAIL


def test_c_ignores_every_other_option(site: Site) -> None:
    (site.directory / "wait").touch()
    ignored = [
        "-s",
        "nonsense",
        "-d",
        "nowhere",
        "-h",
        "\n",
        "-g",
        "999",
        "-t",
        "x",
        "-n",
        "-i",
        "",
    ]
    words = ["-w", str(site.directory / "wait"), *ignored, "--deadline", "x", "--queue-id", "1"]
    ended = site.start([*site.command, "-c", *site.hop, *words, "-f", "", "c@d"]).end(MAIL)
    assert ended.status == 0
    assert site.delivered == [wire(MAIL)]


def test_c_defers_what_the_server_refuses(site: Site) -> None:
    site.smtp(answers={"RCPT 1": b"550 5.1.1 nobody here\r\n"})
    site.assert_kept(site.deliver("-c"), "4.1.1", "nobody here")
