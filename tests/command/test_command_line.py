"""Command lines, right ones and wrong ones."""

from __future__ import annotations

import email.utils
import re
import subprocess
import time
from collections.abc import Callable

import pytest

import avcheck
from avcheck.exits import Usage
from avcheck.options import arguments
from avcheck.seen import FRONT
from tests.command.test_pipe import FOUND, wire
from tests.support.mta import MAIL, RECIPIENT, SENDER, TEMPFAIL, Ended, Site

# Command lines.

RIGHT = ["-f", "a@b", "c@d"]
WRONG = {
    "no recipient": (["-f", "a@b"], "recipient"),
    "an empty recipient": (["-f", "a@b", ""], "recipient"),
    "no sender": (["c@d"], "-f"),
    "a recipient with CR": (["-f", "a@b", "c\r@d"], "line break"),
    "a recipient with LF": (["-f", "a@b", "c@d\nBcc: e@f"], "line break"),
    "a sender with CR": (["-f", "a\r@b", "c@d"], "-f"),
    "a sender with LF": (["-f", "a@b\n", "c@d"], "-f"),
    "a header text with LF": (["-h", "one\nTwo: x", *RIGHT], "-h"),
    "a header text with CR": (["-h", "one\r", *RIGHT], "-h"),
    "a header text not in ASCII": (["-h", "caf\u00e9", *RIGHT], "-h"),
    "a header text too long": (["-h", "x" * 901, *RIGHT], "-h"),
    "no such short option": (["-x", *RIGHT], "-x"),
    "no such long option": (["--nonsense", *RIGHT], "--nonsense"),
    "an argument too many": (["--verbose=1", *RIGHT], "--verbose"),
    "an argument missing": (["-f"], "--from"),
    "no number of seconds": (["-t", "soon", *RIGHT], "-t"),
    "no exit status": (["-g", "256", *RIGHT], "-g"),
    "an unknown scanner": (["-s", "nonesuch:/x", *RIGHT], "clamd"),
    "an unknown way": (["-s", "clamd+magic:/x", *RIGHT], "stream"),
    "a descriptor over TCP": (
        ["-s", "clamd+descriptor::3310", "-f", "a@b", "c@d"],
        "clamd+descriptor",
    ),
    "a relative spool": (["-d", "spool", *RIGHT], "absolute path"),
    "two mail servers": (["-S", "mx:25", *RIGHT], "-S"),
    "an empty waitfile": (["-w", "", *RIGHT], "-w"),
}


def wrong_words(site: Site, words: list[str]) -> list[str | bytes]:
    """A command line of the site with these words in place of sender and recipients."""
    return [*site.words()[: -len(["-f", SENDER, "--", RECIPIENT])], *words]


@pytest.mark.parametrize(("words", "named"), WRONG.values(), ids=WRONG)
def test_wrong_usage_by_an_mta_keeps_the_message(site: Site, words: list[str], named: str) -> None:
    ended = site.start(wrong_words(site, words)).end(MAIL)
    site.assert_kept(ended, "4.3.5", named)
    assert site.scanner.questions == []


@pytest.mark.parametrize(("words", "named"), WRONG.values(), ids=WRONG)
def test_wrong_usage_by_a_person_is_explained(site: Site, words: list[str], named: str) -> None:
    ended = site.at_a_terminal(wrong_words(site, words))
    assert ended.status == 64
    assert b"Usage: avcheck" in ended.output
    assert b"Error: " in ended.output
    assert site.scanner.questions == []


@pytest.mark.parametrize("without", ["-s", "-d"])
def test_a_required_option_that_is_missing_is_named(site: Site, without: str) -> None:
    words = site.words()
    at = words.index(without)
    ended = site.start([*words[:at], *words[at + 2 :]]).end(MAIL)
    site.assert_kept(ended, "4.3.5", without)


@pytest.mark.parametrize("read", [arguments.sender, arguments.recipient])
def test_an_address_with_nul_is_refused(read: Callable[[bytes], bytes]) -> None:
    """No command line can have one; who reads it does not rely on that."""
    with pytest.raises(Usage, match="NUL"):
        read(b"a\0@example.com")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_is_no_success_for_a_message(site: Site, option: str) -> None:
    """--help left in master.cf must not make every message disappear."""
    ended = site.deliver(option)
    assert ended.status == TEMPFAIL
    assert ended.output
    assert site.delivered == []


@pytest.mark.parametrize(
    ("option", "said"), [("--help", b"--spool"), ("--version", avcheck.__version__.encode())]
)
def test_help_is_shown_to_a_person(site: Site, option: str, said: bytes) -> None:
    ended = site.start([*site.command, option], stdin=subprocess.DEVNULL).end()
    assert ended.status == 0
    assert said in ended.output


def test_the_null_sender(site: Site) -> None:
    smtp = site.smtp()
    for sender in ("", "<>"):
        assert site.deliver(sender=sender).status == 0
    assert [letter.sender.partition(b" ")[0] for letter in smtp.messages] == [b"<>", b"<>"]
    assert site.scanner.questions[0].content == FRONT + MAIL


def test_an_address_that_begins_with_a_dash_is_an_address(site: Site) -> None:
    smtp = site.smtp()
    assert site.deliver(sender="-f@example.com", recipients=("-v@x", "--help@x")).status == 0
    assert smtp.messages[0].recipients == (b"-v@x", b"--help@x")


def test_n_delivers_nothing(site: Site) -> None:
    smtp = site.smtp()
    ended = site.deliver("-n")
    assert ended.status == 0
    assert ended.output.startswith(b"clean: ")
    assert smtp.commands == []
    assert len(site.scanner.questions) == 1


def test_g_is_the_status_of_good_mail_only(site: Site) -> None:
    assert site.deliver("-n", "-g", "99") == Ended(99, b"")
    assert site.deliver("-g", "99") == Ended(99, b"")
    assert len(site.delivered) == 1
    site.clamd(says=FOUND)
    site.handler()
    assert site.deliver("-g", "99").status == 0
    site.clamd(reply=b"")
    assert site.deliver("-g", "99").status == TEMPFAIL


@pytest.mark.parametrize("zone", ["UTC0", "XXX-5:30", "YYY+9"])
def test_h_prepends_one_header_line(site: Site, zone: str) -> None:
    began = int(time.time())
    words = site.words("-h", "mx.example (av)")
    ended = site.start(words, environment={"TZ": zone, "LC_ALL": "de_DE.UTF-8"}).end(MAIL)
    assert ended.status == 0
    header, _, rest = site.delivered[0].partition(b"\r\n")
    assert rest == wire(MAIL)
    day = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    line = rf"X-AV-Checked: ({day} \d{{4}} \d\d:\d\d:\d\d [+-]\d{{4}}) mx\.example \(av\)"
    told = re.fullmatch(line, header.decode())
    assert told, header
    when = email.utils.parsedate_to_datetime(told[1])
    assert began <= when.timestamp() <= time.time()
    assert when.strftime("%z") == {"UTC0": "+0000", "XXX-5:30": "+0530", "YYY+9": "-0900"}[zone]


def test_h_by_sendmail_has_the_line_ends_of_the_message(site: Site) -> None:
    sendmail = site.sendmail()
    for message in (MAIL, wire(MAIL)):
        assert site.deliver("-h", "here", message=message).status == 0
        header, _, rest = sendmail.stdin.partition(b"\n")
        assert header.startswith(b"X-AV-Checked: ")
        assert header.endswith(b"\r") == (message != MAIL)
        assert rest == message


def test_h_is_for_what_is_handed_back_only(site: Site) -> None:
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.deliver("-h", "here").status == 0
    assert handler.note("message") == MAIL


def test_verbose_steps_come_after_the_line_for_the_mta(site: Site) -> None:
    ended = site.deliver("-v")
    assert ended.status == 0
    first, *steps = ended.output.splitlines()
    assert first.startswith(b"clean: ")
    assert all(re.match(rb"avcheck: +\d+\.\d ms  ", step) for step in steps)
    assert any(b"saved %d bytes" % len(MAIL) in step for step in steps)
    site.clamd(reply=b"")
    kept = site.deliver("-v", message=b"")
    assert kept.status == TEMPFAIL
    assert kept.output.startswith(b"4.4.2 avcheck: clamd ")


def test_verbose_steps_are_seen_at_once_by_a_person(site: Site) -> None:
    ended = site.at_a_terminal(site.words("-v"))
    assert ended.status == 0
    assert b"saved 0 bytes" in ended.output
